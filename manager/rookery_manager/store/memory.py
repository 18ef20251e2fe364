"""The memory engine: for tests, and the measure of what every engine must do. Everything is lost with the process."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from rookery_manager.store.chain import BEGINNING, hash_of
from rookery_manager.store.protocol import (
    KEEP_S,
    Chain,
    Change,
    Commit,
    Compacted,
    Conflict,
    Entry,
    Link,
    Put,
    Snapshot,
    StoreError,
)


class MemoryStore:
    """A watch has no buffer: it reads the history that is there anyway, at its own pace."""

    def __init__(self, *, keep_s: float = KEEP_S) -> None:
        self._keep_s = keep_s
        self._revision = 0
        self._compacted = 0
        self._entries: dict[str, Entry] = {}
        self._changes: dict[int, tuple[float, tuple[Change, ...]]] = {}  # time and changes of each revision that is kept
        self._links: dict[int, Link] = {}
        self._anchor = Chain(anchor_revision=0, anchor_hash=BEGINNING)
        self._head = BEGINNING
        self._leases: dict[str, tuple[str, float]] = {}
        self._grown = asyncio.Event()
        self._closed = False

    async def snapshot(self, prefix: str = "") -> Snapshot:
        self._refuse_closed()
        entries = {key: self._entries[key] for key in sorted(self._entries) if key.startswith(prefix)}
        return Snapshot(revision=self._revision, entries=entries)

    async def commit(self, commit: Commit) -> int:
        self._refuse_closed()
        for condition in commit.conditions:
            entry = self._entries.get(condition.key)
            actual = entry.revision if entry else 0
            if actual != condition.revision:
                raise Conflict(condition.key, condition.revision, actual)
        revision = max(self._revision + 1, commit.at_least)
        changes = []
        for write in commit.writes:
            value = write.value if isinstance(write, Put) else None
            if value is not None:
                self._entries[write.key] = Entry(key=write.key, value=value, revision=revision)
            elif self._entries.pop(write.key, None) is None:
                continue
            changes.append(Change(revision=revision, at=commit.at, actor=commit.actor, key=write.key, value=value, why=write.why))
        self._revision = revision
        self._changes[revision] = commit.at, tuple(changes)
        self._head = hash_of(self._head, revision, commit.at, commit.actor, changes)
        self._links[revision] = Link(revision=revision, at=commit.at, actor=commit.actor, hash=self._head, changes=tuple(changes))
        self._compact(before=commit.at - self._keep_s)
        self._wake()
        return revision

    async def watch(self, *, after: int, prefix: str = "") -> AsyncIterator[tuple[Change, ...]]:
        while not self._closed:
            if after >= self._revision:
                await self._grown.wait()
                continue
            self._refuse_unknown(after)
            after = self._next(after)
            changes = tuple(change for change in self._changes[after][1] if change.key.startswith(prefix))
            if changes:
                yield changes

    async def history(self, prefix: str = "", *, after: int = 0, limit: int = 100) -> tuple[Change, ...]:
        self._refuse_closed()
        if after:
            self._refuse_unknown(after)
        kept = (changes for revision, (_, changes) in self._changes.items() if revision > after)
        found = [change for changes in kept for change in changes if change.key.startswith(prefix)]
        return tuple(found[max(0, len(found) - limit) :])

    async def chain(self, after: int, limit: int) -> Chain:
        self._refuse_closed()
        links = [link for revision, link in self._links.items() if revision > after]
        return replace(self._anchor, links=tuple(links[:limit]))

    async def lease(self, name: str, holder: str, *, ttl_s: float, now: float) -> bool:
        self._refuse_closed()
        current, until = self._leases.get(name, (holder, 0.0))
        if current != holder and until > now:
            return False
        self._leases[name] = (holder, now + ttl_s)
        return True

    async def backup(self, target: Path) -> None:
        raise StoreError(f"{target}: a store in memory can't be backed up")

    async def close(self) -> None:
        self._closed = True
        self._wake()

    def _next(self, after: int) -> int:
        """The revision that follows, which need not be the next number."""
        return after + 1 if after + 1 in self._changes else min(revision for revision in self._changes if revision > after)

    def _compact(self, before: float) -> None:
        while (oldest := next(iter(self._changes))) < self._revision and self._changes[oldest][0] < before:
            self._compacted = oldest
            del self._changes[oldest]
            dropped = self._links.pop(oldest)
            self._anchor = Chain(anchor_revision=oldest, anchor_hash=dropped.hash)

    def _refuse_unknown(self, after: int) -> None:
        if after < self._compacted:
            raise Compacted(f"the revisions from {after + 1} to {self._compacted} are no longer kept; begin with a snapshot")
        if self._compacted < after < self._revision and after not in self._changes:
            raise Compacted(f"there is no revision {after}; begin with a snapshot")

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreError("the store is closed: the manager is ending")

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()
