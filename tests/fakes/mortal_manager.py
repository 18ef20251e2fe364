"""A whole manager without a network, in virtual time, that is killed at a commit and followed by another on the same store.

All of it is the real thing but the connections: agents and proxies call the services, operators the API. What a manager had in
memory is gone with it; what was on its way to an agent or an operator may not have arrived.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from fake_agent import FakeAgent
from fake_proxy import FakeProxy
from google.protobuf.message import Message
from open_keyring import open_keyring
from rookery.refusals import Refusals
from rookery_manager.api import Api
from rookery_manager.backups import Backups
from rookery_manager.parts import Parts, assemble
from rookery_manager.planners.nodes import HoldOff
from rookery_manager.providers import Providers
from rookery_manager.state import State
from rookery_manager.store import Chain, Change, Commit, MemoryStore, Snapshot

T = TypeVar("T")
T0 = 1_800_000_000.0
RESTART_S = 0.1


class MortalStore:
    """Its manager dies at the commit of this number (0: never): before it is made, or after, when nobody has heard of it."""

    def __init__(self, inner: MemoryStore, *, at: int = 0, after: bool = False) -> None:
        self._inner = inner
        self._at = at
        self._after = after
        self.commits = 0
        self.dead = asyncio.Event()

    async def commit(self, commit: Commit) -> int:
        await asyncio.sleep(0)
        await self._end_if_dead()
        self.commits += 1
        if self.commits == self._at:
            if self._after:
                await self._inner.commit(commit)
            self.dead.set()
        await self._end_if_dead()
        revision = await self._inner.commit(commit)
        await asyncio.sleep(0)
        return revision

    async def watch(self, *, after: int, prefix: str = "") -> AsyncIterator[tuple[Change, ...]]:
        async for changes in self._inner.watch(after=after, prefix=prefix):
            await self._end_if_dead()
            yield changes

    async def snapshot(self, prefix: str = "") -> Snapshot:
        return await self._inner.snapshot(prefix)

    async def history(self, prefix: str = "", *, after: int = 0, limit: int = 100) -> tuple[Change, ...]:
        return await self._inner.history(prefix, after=after, limit=limit)

    async def chain(self, after: int, limit: int) -> Chain:
        return await self._inner.chain(after, limit)

    async def lease(self, name: str, holder: str, *, ttl_s: float, now: float) -> bool:
        return await self._inner.lease(name, holder, ttl_s=ttl_s, now=now)

    async def backup(self, target: Path) -> None:
        await self._inner.backup(target)

    async def close(self) -> None:
        """The store outlives its manager."""

    async def _end_if_dead(self) -> None:
        if self.dead.is_set():
            await asyncio.Event().wait()


class _NoBackups(Backups):
    """They are files, and copied by threads, for which virtual time does not wait."""

    def __init__(self) -> None:
        pass

    async def run(self) -> None:
        await asyncio.Event().wait()


class Gone(Exception):
    """The manager died, or ended the stream."""


class World:
    """One manager after the other; `parts` are those of the one there is."""

    def __init__(self, *, kill_at: int = 0, kill_after: bool = False) -> None:
        self.disk = MemoryStore()
        self.store = MortalStore(self.disk, at=kill_at, after=kill_after)
        self.parts: Parts | None = None
        self.deaths = 0
        self.commits = 0
        self.keyring = open_keyring()
        self._there = asyncio.Event()

    def clock(self) -> float:
        return T0 + asyncio.get_running_loop().time()

    async def run(self) -> None:
        while True:
            state = State()
            state.load(await self.store.snapshot())
            parts = assemble(
                store=self.store,
                state=state,
                clock=self.clock,
                backups=_NoBackups(),
                cluster_id="c1",
                heartbeat_s=0.1,
                lease_s=0.6,
                hold_off=HoldOff(),
                refusals=Refusals(logging.getLogger("rookery.manager")),
                keyring=self.keyring,
                providers=Providers(manager="", cluster="c1", data=Path("pools"), token_file=None),
            )
            loops = [asyncio.ensure_future(loop) for loop in parts.loops]
            self.parts = parts
            self._there.set()
            dying = asyncio.ensure_future(self.store.dead.wait())
            await asyncio.wait([dying, *loops], return_when=asyncio.FIRST_COMPLETED)
            self.parts = None
            self._there.clear()
            for task in (dying, *loops):
                task.cancel()
            for outcome in await asyncio.gather(*loops, return_exceptions=True):
                if isinstance(outcome, Exception):
                    raise outcome
            self.deaths += 1
            self.commits += self.store.commits
            self.store = MortalStore(self.disk)
            await asyncio.sleep(RESTART_S)

    async def through(self, call: Callable[[Parts], Awaitable[T]]) -> T:
        """The outcome of a call to the manager there is. Raises Gone where that dies before it answers."""
        await self._there.wait()
        store, parts = self.store, self.parts
        assert parts is not None
        calling = asyncio.ensure_future(call(parts))
        dying = asyncio.ensure_future(store.dead.wait())
        try:
            await asyncio.wait([calling, dying], return_when=asyncio.FIRST_COMPLETED)
            if store.dead.is_set():
                raise Gone
            return await calling
        finally:
            calling.cancel()
            dying.cancel()
            await asyncio.gather(calling, dying, return_exceptions=True)

    async def ask(self, handle: Callable[[Api, Any], Awaitable[T]], request: Message) -> T:
        """As an operator who tries again until a manager answers."""
        while True:
            try:
                return await self.through(lambda parts: handle(parts.api, request))
            except Gone:
                continue


class _Context:
    def __init__(self, take: Callable[[Any], None]) -> None:
        self._take = take

    async def write(self, message: Any) -> None:
        await asyncio.sleep(0)
        self._take(message)

    async def abort(self, _code: object, details: str) -> NoReturn:
        raise Gone(details)

    def peer(self) -> str:
        return "memory"


class NearAgent(FakeAgent):
    """A fake agent that needs no network."""

    def __init__(self, world: World, name: str, *, heartbeat_s: float = 0.1) -> None:
        super().__init__("", name, heartbeat_s=heartbeat_s)
        self._world = world
        self.given: dict[str, str] = {}  # replicas that it was ever given: names by id

    async def _run(self) -> None:
        while True:
            self.out = asyncio.Queue()
            try:
                await self._world.through(lambda parts: parts.dispatch.Connect(self._messages(), _Context(self._take)))  # type: ignore[arg-type]
            except Gone:
                await asyncio.sleep(0.05)

    def _take(self, message: Any) -> None:
        super()._take(message)
        self.given |= {id_: f"{a.name} of {a.revision}" for id_, a in self.assignments.items()}


class NearProxy(FakeProxy):
    """A fake proxy that needs no network."""

    def __init__(self, world: World) -> None:
        super().__init__("")
        self._world = world

    async def _run(self) -> None:
        while True:
            self._out = asyncio.Queue()
            try:
                await self._world.through(lambda parts: parts.routing.Follow(self._messages(), _Context(self._take)))  # type: ignore[arg-type]
            except Gone:
                await asyncio.sleep(0.05)
