"""The replacement of the cluster's authority by a new one, from its beginning until the old one is dropped.

    begun     new certificates are of the new authority; both are trusted; parts are told, renew, and connect anew with that
    dropped   when everybody was seen with a certificate of the new one, or theirs of the old have ended, or an operator says so

What has to outlive the manager is in the authority's files; who has moved is seen anew after a restart, from what each shows.
Invariant: nobody who was seen with a certificate of the new authority is put out by the drop of the old.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from rookery.model import AuthorityStatus, MemberState, Mover, PartKind, Proxy
from rookery.v1 import types_pb2

from rookery_manager.clock import Clock
from rookery_manager.identity.authority import Authority
from rookery_manager.identity.guard import Guard
from rookery_manager.identity.keeping import drop, rotate
from rookery_manager.identity.upkeep import Upkeep
from rookery_manager.state import State
from rookery_manager.store import Commit, Put, Store, StoreError

log = logging.getLogger("rookery.manager")

KEY = "authority"  # in the store: which digests are trusted, so that the history tells who changed that and when
LOOK_S = 1.0
_COMING = (MemberState.CREATING, MemberState.JOINING)
PARTS_A_SECOND = 50  # renew, so that a large cluster does not do it all at once: each costs the manager a few milliseconds


class UnderWay(Exception):
    """It can't be done in the middle of a rotation, or outside of one; the message says why."""


class Rotation:
    """`proxies` are those that are known; `reopen` has new connections meet the authority of now, `close` ends those from before,
    `tell` has every part told what is trusted. They are set before anything is begun."""

    def __init__(
        self, folder: Path, authority: Authority, guard: Guard, upkeep: Upkeep, state: State, store: Store, clock: Clock
    ) -> None:
        self.proxies: Callable[[], Iterable[Proxy]] = tuple
        self.reopen: Callable[[], Awaitable[None]] = _nothing
        self.close: Callable[[], Awaitable[None]] = _nothing
        self.tell: Callable[[], None] = lambda: None
        self._folder = folder
        self._authority = authority
        self._guard = guard
        self._upkeep = upkeep
        self._state = state
        self._store = store
        self._clock = clock
        self._changing = asyncio.Lock()
        self._to_reopen = False
        self._noted: tuple[str, ...] = ()  # what the store says is trusted

    def trust(self) -> types_pb2.Trust:
        """What parts are told."""
        parts = len(self._state.nodes) + sum(1 for _ in self.proxies())
        return types_pb2.Trust(authorities=self._authority.digests, within_s=parts / PARTS_A_SECOND)

    def status(self) -> AuthorityStatus:
        authority = self._authority
        made, before = authority.certificate, authority.before
        movers = tuple(self._movers())
        return AuthorityStatus(
            digest=authority.digest,
            made_at=before.began_at if before else made.not_valid_before_utc.timestamp() + 86_400.0,
            ends_at=made.not_valid_after_utc.timestamp(),
            old_digest=authority.digests[1] if before else "",
            began_at=before.began_at if before else 0.0,
            done_by=max((mover.ends_at for mover in movers if not mover.moved), default=before.began_at) if before else 0.0,
            movers=movers,
        )

    def _movers(self) -> Iterable[Mover]:
        before = self._authority.before
        if before is None:
            return
        known: list[tuple[PartKind, str, str]] = [(PartKind.AGENT, node.id, node.name) for node in self._state.nodes.values()]
        known += [(PartKind.PROXY, proxy.info.id, proxy.info.hostname) for proxy in self.proxies()]
        known += [(PartKind.PERSON, name, name) for name in self._state.people]
        for kind, id, name in sorted(known):
            moved = self._guard.seen_with(kind, id) == self._authority.digest
            yield Mover(kind=kind, id=id, name=name, moved=moved, ends_at=before.ends_at(kind))
        for pool in self._state.pools.values():  # machines that are being made, with a token that pins the old one
            for member in pool.members:
                if member.state in _COMING and member.created_at < before.began_at:
                    ends_at = member.created_at + pool.spec.call_timeout_s + pool.spec.join_timeout_s
                    yield Mover(kind=PartKind.AGENT, id=member.name, name=member.name, ends_at=ends_at)

    async def begin(self, actor: str) -> AuthorityStatus:
        """Raises UnderWay or OSError."""
        async with self._changing:
            if self._authority.before is not None:
                raise UnderWay("the authority is being replaced already; 'rookery ca status' tells how far that is")
            self._authority.take(*await asyncio.to_thread(rotate, self._folder, self._authority, self._clock()))
            await self._follow()
            await self.note(actor)
        return self.status()

    async def finish(self, actor: str, *, force: bool) -> AuthorityStatus:
        """Drops the old one now. Raises UnderWay or OSError."""
        async with self._changing:
            if self._authority.before is None:
                raise UnderWay("no authority is being replaced; 'rookery ca rotate' begins that")
            waiting = self._waiting()
            if waiting and not force:
                raise UnderWay(f"not moved yet: {_named(waiting)}; with --force they have to join, or log in, again")
            await self._drop(actor)
        return self.status()

    async def run(self) -> None:
        """Drops the old one as soon as nobody needs it."""
        while True:
            await asyncio.sleep(LOOK_S)
            async with self._changing:
                if self._authority.before is not None and not self._waiting():
                    try:
                        await self._drop("manager")
                    except OSError as error:
                        log.error("the old authority was not dropped, it is tried again: %s", error)
                await self._maybe_reopen()
                if self._noted != self._authority.digests:
                    await self.note("manager")

    def _waiting(self) -> list[Mover]:
        now = self._clock()
        return [mover for mover in self._movers() if not mover.moved and mover.ends_at > now]

    async def _drop(self, actor: str) -> None:
        await asyncio.to_thread(drop, self._folder)
        self._authority.take(self._authority.key, self._authority.certificate, None)
        await self._follow()
        await self.close()
        await self.note(actor)

    async def note(self, actor: str = "manager") -> None:
        """Where it can't be written now, it is written later: what was done is done."""
        try:
            await self._write(actor)
        except StoreError as error:
            log.error("that the authority changed is not written down, it is tried again: %s", error)

    async def _follow(self) -> None:
        """Everybody goes by the authority of now."""
        self._to_reopen = self._authority.before is not None
        await self._maybe_reopen()  # first: the old server knows nothing of the new authority's certificates
        try:
            await asyncio.to_thread(self._upkeep.follow)
        except OSError as error:
            log.error("%s: %s; what is in it is of the authority of before", error.filename, error.strerror)
        self._guard.authority_changed(self._authority.digests)
        self.tell()

    async def _maybe_reopen(self) -> None:
        if self._to_reopen:
            try:
                await self.reopen()
                self._to_reopen = False
            except OSError as error:
                log.error("the new authority's certificate can't be shown yet, it is tried again: %s", error)

    async def _write(self, actor: str) -> None:
        """Writes down what is trusted, where that is something else than what is written. Raises StoreError."""
        digests = self._authority.digests
        value = ",".join(digests).encode()
        entry = (await self._store.snapshot(KEY)).entries.get(KEY)
        if entry is not None and entry.value == value:
            self._noted = digests
            return
        why = _why(self._authority, entry.value.decode(errors="replace") if entry is not None else "")
        log.info("%s", why)
        writes = (Put(key=KEY, value=value, why=why),)
        await self._store.commit(Commit(writes=writes, actor=actor, at=self._clock()))
        self._noted = digests


def _why(authority: Authority, known: str) -> str:
    new = authority.digest[:8]
    if authority.before is not None:
        return f"the authority {new} replaces {authority.digests[1][:8]}; both are trusted until everybody has moved"
    before = [digest for digest in known.split(",") if digest != authority.digest]
    if not known:
        return f"the authority of this cluster is {new}"
    return f"the authority {before[0][:8] if before else '?'} is trusted no more; that of this cluster is {new}"


def _named(movers: list[Mover]) -> str:
    names = [f"{mover.kind} {mover.name}" for mover in movers]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


async def _nothing() -> None:
    """Nobody listens yet."""
