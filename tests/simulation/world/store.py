"""The manager's disk: a store that outlives the manager, and what one manager sees of it.

Commits are slow, fail, or are the last thing that a manager does.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from enum import StrEnum
from pathlib import Path

from rookery_manager.store import Chain, Change, Commit, Snapshot, StoreError
from rookery_manager.store.memory import MemoryStore

from world.machine import Process


class Death(StrEnum):
    BEFORE = "before"
    AFTER = "after"


class StoreView:
    """A Store, for as long as its process lives. `death` has the manager killed at its next commit."""

    def __init__(self, durable: MemoryStore, process: Process, rng: random.Random, kill: Callable[[], None]) -> None:
        self.death: Death | None = None
        self._durable = durable
        self._process = process
        self._random = rng
        self._kill = kill
        self._turn = asyncio.Lock()

    async def snapshot(self, prefix: str = "") -> Snapshot:
        self._refuse_dead()
        return await self._durable.snapshot(prefix)

    async def chain(self, after: int, limit: int) -> Chain:
        self._refuse_dead()
        return await self._durable.chain(after, limit)

    async def commit(self, commit: Commit) -> int:
        async with self._turn:
            await asyncio.sleep(self._process.machine.write_delay_s())
            self._refuse_dead()
            if self._process.machine.disk_broken:
                raise StoreError("store.db: the disk is full, nothing was written; make room there")
            if self.death is Death.BEFORE:
                self._kill()
                await asyncio.Event().wait()
            revision = await self.apply(commit)
            if self.death is Death.AFTER:
                self._kill()
                await asyncio.Event().wait()
        await asyncio.sleep(self._process.machine.write_delay_s() / 4)
        self._refuse_dead()
        return revision

    async def apply(self, commit: Commit) -> int:
        return await self._durable.commit(commit)

    async def watch(self, *, after: int, prefix: str = "") -> AsyncIterator[tuple[Change, ...]]:
        async for changes in self._durable.watch(after=after, prefix=prefix):
            if self._process.dead:
                return
            yield changes

    async def history(self, prefix: str = "", *, after: int = 0, limit: int = 100) -> tuple[Change, ...]:
        self._refuse_dead()
        return await self._durable.history(prefix, after=after, limit=limit)

    async def lease(self, name: str, holder: str, *, ttl_s: float, now: float) -> bool:
        self._refuse_dead()
        return await self._durable.lease(name, holder, ttl_s=ttl_s, now=now)

    async def backup(self, target: Path) -> None:
        raise StoreError(f"{target}: no backup is made of what lies in memory")

    async def close(self) -> None:
        """The file stays."""

    def _refuse_dead(self) -> None:
        if self._process.dead:
            raise StoreError("the manager is dead")


class DurableStore(MemoryStore):
    """What is on the disk. `told` is told of each commit in the moment in which it is durable."""

    def __init__(self) -> None:
        super().__init__()
        self.told: Callable[[tuple[Change, ...]], None] = lambda _changes: None

    async def commit(self, commit: Commit) -> int:
        revision = await super().commit(commit)
        self.told(self._changes[revision][1])
        return revision

    def value(self, key: str) -> bytes | None:
        entry = self._entries.get(key)
        return entry.value if entry is not None else None

    def keys(self, prefix: str) -> list[str]:
        return [key for key in self._entries if key.startswith(prefix)]
