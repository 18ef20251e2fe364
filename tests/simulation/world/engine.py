"""The engine of a node: containers that pull, start, get ready late, crash, and are removed behind the agent's back.

It outlives the agent. A lost power supply ends every container; the engine itself can be away for a while. What an image does is
said by its name: `web:3` is good, `-missing` can't be pulled, `-crashes` ends soon after it began, `-deaf` never gets healthy.
"""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from rookery.model import Assignment, Endpoint, PortProtocol, ReplicaId, ReplicaStats, RuntimeKind, target_ports
from rookery_agent.runtime.protocol import EngineAway, ImageMissing, Instance, InstanceState, LogLine, RuntimeEvent

from world.machine import Machine, here


class Watcher(Protocol):
    """Who is told of what happens to containers; the invariants are checked there."""

    def started(self, engine: "Engine", box: "Box") -> None: ...

    def asked_to_stop(self, engine: "Engine", box: "Box") -> None: ...

    def ended(self, engine: "Engine", box: "Box", why: str) -> None: ...


@dataclass(eq=False, slots=True, kw_only=True)
class Box:
    """A container. `healthy_at` is an instant of the world's clock; `life` tells this run from others."""

    assignment: Assignment
    instance: Instance
    healthy_at: float = 0.0
    life: int = 0

    @property
    def runs(self) -> bool:
        return self.instance.state is InstanceState.RUNNING


class Engine:
    kind = RuntimeKind.DOCKER

    def __init__(self, machine: Machine, address: str, rng: random.Random, watcher: Watcher) -> None:
        self.machine = machine
        self.address = address
        self.boxes: dict[ReplicaId, Box] = {}
        self.away = ""
        self.slowness = 1.0
        self._images: set[str] = set()
        self._random = rng
        self._watcher = watcher
        self._ports = itertools.count(20_000)
        self._lives = itertools.count(1)
        self._listeners: list[asyncio.Queue[RuntimeEvent | None]] = []
        self._tasks: dict[asyncio.Task[Any], None] = {}

    # ---- what happens by itself

    def box_at(self, port: int) -> Box | None:
        for box in self.boxes.values():
            if box.runs and any(endpoint.port == port for endpoint in box.instance.endpoints):
                return box
        return None

    def crash(self, box: Box, why: str, exit_code: int = 137) -> None:
        if box.runs:
            self._end(box, why, exit_code)
            self._tell(box.assignment.replica_id)

    def lose(self, box: Box) -> None:
        """Someone removes it with `docker rm -f`."""
        if box.runs:
            self._end(box, "removed behind the agent's back", 137)
        del self.boxes[box.assignment.replica_id]
        self._tell(box.assignment.replica_id)

    def lose_power(self) -> None:
        for box in self.boxes.values():
            if box.runs:
                self._end(box, "the power was lost", 137)
        self.away = "it is off"
        self._break_streams()

    def go_away(self, why: str) -> None:
        self.away = why
        self._break_streams()

    def come_back(self) -> None:
        self.away = ""

    # ---- what the agent asks

    async def data_root(self) -> Path | None:
        return None

    async def describe(self) -> str:
        self._check()
        return "model engine"

    async def list(self) -> tuple[Instance, ...]:
        await self._pause(0.005)
        return tuple(self._seen(box) for box in self.boxes.values())

    async def inspect(self, replica_id: ReplicaId) -> Instance | None:
        await self._pause(0.002)
        box = self.boxes.get(replica_id)
        return self._seen(box) if box is not None else None

    async def prepare(self, assignment: Assignment) -> None:
        await self._pause(0.01)
        image = assignment.spec.container.image
        if image in self._images:
            return
        await self._pause(self._random.choice([0.1, 0.5, 2.0, 2.0, 6.0]) * self.slowness)
        if "missing" in image:
            raise ImageMissing(f"{image}: manifest unknown; check the name")
        self._images.add(image)

    async def start(self, assignment: Assignment) -> Instance:
        return await self._do(self._start(assignment))

    async def stop(self, replica_id: ReplicaId, *, grace_s: float) -> Instance | None:
        return await self._do(self._stop(replica_id, grace_s))

    async def remove(self, replica_id: ReplicaId) -> None:
        await self._do(self._remove(replica_id))

    async def execute(self, replica_id: ReplicaId, args: tuple[str, ...], *, timeout_s: float) -> tuple[int, bytes]:
        del args, timeout_s
        await self._pause(0.01)
        box = self.boxes.get(replica_id)
        healthy = box is not None and box.runs and self._is_healthy(box)
        return (0, b"") if healthy else (1, b"not yet")

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        self._check()
        queue: asyncio.Queue[RuntimeEvent | None] = asyncio.Queue()
        self._listeners.append(queue)
        try:
            yield RuntimeEvent(replica_id=None)
            while (event := await queue.get()) is not None:
                yield event
        finally:
            if queue in self._listeners:
                self._listeners.remove(queue)
        raise EngineAway(self.away or "the stream ended")

    async def logs(self, replica_id: ReplicaId, *, follow: bool, tail: int, since_at: float) -> AsyncIterator[LogLine]:
        del replica_id, follow, tail, since_at
        yield LogLine(at=0.0, stderr=False, line=b"")

    async def stats(self) -> tuple[ReplicaStats, ...]:
        return ()

    async def close(self) -> None:
        """It goes on."""

    # ---- how it does it

    async def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The engine finishes what it began, whether or not the agent still waits."""
        if here().dead or self.away:
            work.close()
            self._check()
            await asyncio.Event().wait()
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.pop(task, None)
        if not task.cancelled():
            task.exception()

    async def _start(self, assignment: Assignment) -> Instance:
        await self._pause(self._random.uniform(0.05, 0.5) * self.slowness)
        replica_id = assignment.replica_id
        box = self.boxes.get(replica_id)
        if box is not None and box.runs:
            return self._seen(box)
        life = next(self._lives)
        instance = Instance(
            replica_id=replica_id,
            id=box.instance.id if box is not None else f"c{self._random.getrandbits(48):012x}",
            state=InstanceState.RUNNING,
            started_at=self.machine.clock.time() + life * 1e-6,
            endpoints=tuple(
                Endpoint(replica_id=replica_id, address=self.address, port=next(self._ports), target=target, protocol=protocol)
                for target, protocol in target_ports(assignment.spec)
                if protocol is PortProtocol.TCP
            ),
        )
        loop, image = asyncio.get_running_loop(), assignment.spec.container.image
        healthy_s = 1e9 if "deaf" in image else self._random.choice([0.0, 0.3, 1.0, 3.0]) * self.slowness
        box = Box(assignment=assignment, instance=instance, healthy_at=loop.time() + healthy_s, life=life)
        self.boxes[replica_id] = box
        self._watcher.started(self, box)
        self._tell(replica_id)
        if healthy_s < 1e6:
            loop.call_later(healthy_s + 0.001, self._tell_of, box)
        if "crashes" in image:
            loop.call_later(self._random.uniform(0.2, 3.0), self._crash_of, box)
        return self._seen(box)

    def _tell_of(self, box: Box) -> None:
        if self.boxes.get(box.assignment.replica_id) is box and box.runs:
            self._tell(box.assignment.replica_id)

    def _crash_of(self, box: Box) -> None:
        if self.boxes.get(box.assignment.replica_id) is box:
            self.crash(box, "its image crashes", 1)

    async def _stop(self, replica_id: ReplicaId, grace_s: float) -> Instance | None:
        box = self.boxes.get(replica_id)
        if box is None:
            return None
        if box.runs:
            self._watcher.asked_to_stop(self, box)
            wanted_s = self._random.choice([0.01, 0.1, 0.5, 100.0])  # some ignore the signal
            await self._pause(min(wanted_s, grace_s))
            if box.runs:
                self._end(box, "stopped", 0 if wanted_s <= grace_s else 137)
            self._tell(replica_id)
        return self._seen(box) if self.boxes.get(replica_id) is box else None

    async def _remove(self, replica_id: ReplicaId) -> None:
        await self._pause(0.02)
        box = self.boxes.get(replica_id)
        if box is None:
            return
        if box.runs:
            self._watcher.asked_to_stop(self, box)
            self._end(box, "removed", 137)
        self.boxes.pop(replica_id, None)
        self._tell(replica_id)

    def _end(self, box: Box, why: str, exit_code: int) -> None:
        now = self.machine.clock.time()
        box.instance = replace(
            box.instance, state=InstanceState.EXITED, exit_code=exit_code, finished_at=now, endpoints=(), health=""
        )
        self._watcher.ended(self, box, why)

    def _seen(self, box: Box) -> Instance:
        if not box.runs or ("deaf" not in box.assignment.spec.container.image and box.healthy_at == 0.0):
            return box.instance
        return replace(box.instance, health="healthy" if self._is_healthy(box) else "starting")

    def _is_healthy(self, box: Box) -> bool:
        return asyncio.get_running_loop().time() >= box.healthy_at

    async def _pause(self, seconds: float) -> None:
        self._check()
        await asyncio.sleep(seconds)
        self._check()

    def _check(self) -> None:
        if self.away:
            raise EngineAway(self.away)

    def _tell(self, replica_id: ReplicaId) -> None:
        for queue in self._listeners:
            queue.put_nowait(RuntimeEvent(replica_id=replica_id))

    def _break_streams(self) -> None:
        listeners, self._listeners = self._listeners, []
        for queue in listeners:
            queue.put_nowait(None)
