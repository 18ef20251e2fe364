"""Checks the chain of hashes over a store's history, and that what is in force is what the history wrote (0031).

What it can't tell: whether the end was cut off, or all of it was written anew, hashes and all. For that somebody has to keep a
head, `REVISION:HASH`, elsewhere; with one, everything up to it is proven.
"""

import hmac
import re
import struct
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field, replace

from rookery.model import AuditReport

from rookery_manager.store import Chain, Link, Snapshot, Store
from rookery_manager.store.chain import hash_of

PAGE = 256  # revisions
_HEAD = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")


def parse_head(text: str) -> tuple[int, str]:
    """The revision and the hash of `REVISION:HASH`. Raises ValueError."""
    found = _HEAD.fullmatch(text.strip())
    if found is None:
        raise ValueError("expected REVISION:HASH, as 'rookery audit verify' prints it")
    return int(found[1]), found[2]


async def head_of(store: Store) -> str:
    """The head of the chain now, as `REVISION:HASH`."""
    latest = (await store.history(limit=1))[-1:]
    chain = await store.chain(latest[0].revision - 1 if latest else 0, PAGE)
    if chain.links:
        return f"{chain.links[-1].revision}:{chain.links[-1].hash.hex()}"
    return f"{chain.anchor_revision}:{chain.anchor_hash.hex()}"


async def verify(
    snapshot: Snapshot, read: Callable[[int, int], Awaitable[Chain]], expected: tuple[int, str] | None = None
) -> AuditReport:
    """`read(after, limit)` gives the next links of the chain; what `snapshot` holds is compared with what they wrote."""
    pages = _pages(_Walk(until=snapshot.revision, expected=expected), snapshot)
    after = next(pages)
    while True:
        try:
            after = pages.send(await read(after, PAGE))
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


def verify_file(snapshot: Snapshot, read: Callable[[int, int], Chain]) -> AuditReport:
    """The same of a file that no manager has open."""
    pages = _pages(_Walk(until=snapshot.revision, expected=None), snapshot)
    after = next(pages)
    while True:
        try:
            after = pages.send(read(after, PAGE))
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


def _pages(walk: "_Walk", snapshot: Snapshot) -> Generator[int, Chain, AuditReport]:
    """Gives the revision after which it wants the next links, and at last the report."""
    chain = yield 0
    walk.begin(chain)
    while not walk.report.fault and chain.links and walk.report.head_revision < snapshot.revision:
        for link in chain.links:
            if not walk.report.fault and link.revision <= snapshot.revision:
                walk.take(link)
        chain = yield walk.report.head_revision
        if chain.anchor_revision > walk.report.head_revision:  # the oldest was dropped meanwhile
            walk.begin(chain)
    return walk.compared(snapshot)


@dataclass(slots=True)
class _Walk:
    until: int
    expected: tuple[int, str] | None
    report: AuditReport = field(default_factory=AuditReport)
    before: bytes = b""
    written: dict[str, tuple[int, bytes | None]] = field(default_factory=dict)  # by key: where last, and what
    met: bool = False  # the head that is expected

    def begin(self, chain: Chain) -> None:
        self.before = chain.anchor_hash
        self.report = replace(
            self.report,
            from_revision=chain.anchor_revision,
            head_revision=max(self.report.head_revision, chain.anchor_revision),
            head_hash=chain.anchor_hash.hex(),
        )
        self._meet(chain.anchor_revision, chain.anchor_hash)

    def take(self, link: Link) -> None:
        if not _is_right(self.before, link):
            who = f" (by {link.actor}: {next((c.why for c in link.changes if c.why), 'no reason')})"
            self._break(
                link.revision, f"revision {link.revision}{who} is not what was written, or what came before it was taken out"
            )
            return
        for change in link.changes:
            self.written[change.key] = link.revision, change.value
        self.before = link.hash
        self.report = replace(
            self.report, head_revision=link.revision, head_hash=link.hash.hex(), checked=self.report.checked + 1
        )
        self._meet(link.revision, link.hash)

    def compared(self, snapshot: Snapshot) -> AuditReport:
        """The report, when all links were taken."""
        if not self.report.fault and self.report.head_revision < snapshot.revision:
            self._break(
                snapshot.revision, f"the history ends at revision {self.report.head_revision}, and the store is at {self.until}"
            )
        if not self.report.fault:
            self._compare(snapshot)
        if not self.report.fault and self.expected is not None and not self.met:
            self._miss(*self.expected)
        return self.report

    def _compare(self, snapshot: Snapshot) -> None:
        for key, (revision, value) in self.written.items():
            entry = snapshot.entries.get(key)
            if (entry.value if entry is not None else None) != value:
                self._break(revision, f"{key} is not what revision {revision} wrote, and nothing later did")
                return
        for key, entry in snapshot.entries.items():
            if entry.revision > self.report.from_revision and key not in self.written:
                self._break(entry.revision, f"{key} is in force since revision {entry.revision}, which did not write it")
                return

    def _meet(self, revision: int, hash: bytes) -> None:
        if self.expected is not None and self.expected[0] == revision:
            self.met = True
            if hash.hex() != self.expected[1]:
                self._break(revision, f"revision {revision} has another hash than was expected: the history was written anew")

    def _miss(self, revision: int, _: str) -> None:
        report = self.report
        if revision > report.head_revision:
            why = f"the history ends at revision {report.head_revision}: what came after it, up to {revision}, was cut off"
        elif revision < report.from_revision:
            why = f"revision {revision} is no longer kept, so that it can't be compared; keep a later head"
        else:
            why = f"there is no revision {revision}"
        self._break(0, f"{why} (or a backup was restored)" if revision > report.from_revision else why)

    def _break(self, revision: int, fault: str) -> None:
        self.report = replace(self.report, broken_revision=revision, fault=fault)


def _is_right(before: bytes, link: Link) -> bool:
    try:
        return hmac.compare_digest(hash_of(before, link.revision, link.at, link.actor, link.changes), link.hash)
    except (struct.error, TypeError, AttributeError):  # not even of the kind that is written there
        return False
