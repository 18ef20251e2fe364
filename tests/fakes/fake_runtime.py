"""A Runtime in memory that does at once what it is asked, fails when it is told to, and can be away."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from rookery.model import Assignment, Endpoint, ReplicaId, ReplicaStats, RuntimeKind
from rookery_agent.runtime.protocol import EngineAway, Instance, InstanceState, LogLine, RuntimeEvent, RuntimeFailure


class FakeRuntime:
    """`calls` are all calls that change something; `broken` maps a call's name to what it raises; `held` calls wait."""

    kind = RuntimeKind.PROCESS

    def __init__(self) -> None:
        self.instances: dict[ReplicaId, Instance] = {}
        self.calls: list[tuple[str, str]] = []
        self.broken: dict[str, RuntimeFailure] = {}
        self.held: dict[str, asyncio.Event] = {}
        self.away = ""
        self.endpoints: dict[ReplicaId, tuple[Endpoint, ...]] = {}
        self._starts = 0
        self._events: asyncio.Queue[RuntimeEvent | None] = asyncio.Queue(1000)

    def end(self, replica_id: str, exit_code: int) -> None:
        """The instance ends by itself."""
        key = ReplicaId(replica_id)
        before = self.instances[key]
        self.instances[key] = replace(
            before, state=InstanceState.EXITED, exit_code=exit_code, finished_at=before.started_at + 1.0, endpoints=()
        )
        self._events.put_nowait(RuntimeEvent(replica_id=key))

    def lose(self, replica_id: str) -> None:
        """The instance is removed by somebody else."""
        del self.instances[ReplicaId(replica_id)]
        self._events.put_nowait(RuntimeEvent(replica_id=ReplicaId(replica_id)))

    def go_away(self, why: str) -> None:
        self.away = why
        self._events.put_nowait(None)

    async def describe(self) -> str:
        self._here()
        return "fake"

    async def data_root(self) -> Path | None:
        return None

    async def list(self) -> tuple[Instance, ...]:
        self._here()
        return tuple(self.instances.values())

    async def inspect(self, replica_id: ReplicaId) -> Instance | None:
        self._here()
        return self.instances.get(replica_id)

    async def prepare(self, assignment: Assignment) -> None:
        await self._do("prepare", assignment.replica_id)

    async def start(self, assignment: Assignment) -> Instance:
        key = assignment.replica_id
        await self._do("start", key)
        self._starts += 1
        known = self.instances.get(key)
        identity = known.id if known else f"c-{key}"
        self.instances[key] = Instance(
            replica_id=key,
            id=identity,
            state=InstanceState.RUNNING,
            started_at=1_000_000.0 + self._starts,
            endpoints=self.endpoints.get(key, ()),
        )
        return self.instances[key]

    async def stop(self, replica_id: ReplicaId, *, grace_s: float) -> Instance | None:
        del grace_s
        await self._do("stop", replica_id)
        known = self.instances.get(replica_id)
        if known is not None:
            self.instances[replica_id] = replace(known, state=InstanceState.EXITED, exit_code=0)
        return self.instances.get(replica_id)

    async def remove(self, replica_id: ReplicaId) -> None:
        await self._do("remove", replica_id)
        self.instances.pop(replica_id, None)

    async def execute(self, replica_id: ReplicaId, args: tuple[str, ...], *, timeout_s: float) -> tuple[int, bytes]:
        del timeout_s
        await self._do(" ".join(args), replica_id)
        return 0, b""

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        self._here()
        yield RuntimeEvent(replica_id=None)
        while (event := await self._events.get()) is not None:
            yield event
        raise EngineAway(self.away or "the stream ended")

    async def logs(self, replica_id: ReplicaId, *, follow: bool, tail: int, since_at: float) -> AsyncIterator[LogLine]:
        del replica_id, follow, tail, since_at
        yield LogLine(at=1.0, stderr=False, line=b"hello")

    async def stats(self) -> tuple[ReplicaStats, ...]:
        return ()

    async def close(self) -> None:
        return

    async def _do(self, name: str, replica_id: ReplicaId) -> None:
        self._here()
        self.calls.append((name, replica_id))
        if name in self.held:
            await self.held[name].wait()
        if name in self.broken:
            raise self.broken[name]

    def _here(self) -> None:
        if self.away:
            raise EngineAway(self.away)
