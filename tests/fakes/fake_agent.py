"""An agent that runs nothing: it speaks the real protocol over a real connection, and its replicas run because it says so."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any

import grpc
from rookery import channel
from rookery.cancelled import cancellable
from rookery.identity import Identity
from rookery.model import Assignment, Desired, Endpoint, ReplicaId, ReplicaState, ReplicaStatus, RuntimeKind
from rookery.model.node import NodeCondition, NodeInfo
from rookery.v1 import dispatch_pb2, dispatch_pb2_grpc, types_pb2
from rookery.wire import decode, encode

BOTH = (RuntimeKind.DOCKER, RuntimeKind.PROCESS)


class FakeAgent:
    """Entered, it is connected and has its assignments.

    `paused` keeps it connected but silent; `refuses` keeps replicas from getting ready; those of the image `crashing` crash.
    """

    def __init__(
        self,
        address: str,
        name: str,
        *,
        heartbeat_s: float = 0.1,
        identity: Identity | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self.address = address
        self.name = name
        self.identity = identity
        self.refused = ""  # what its stream was last ended with
        self.heartbeat_s = heartbeat_s
        self.labels = dict(labels or {})
        self.assignments: dict[ReplicaId, Assignment] = {}
        self.generation = 0
        self.sets_received = 0
        self.ever: dict[ReplicaId, str] = {}  # all that it ever was to run, with the image
        self.connected = asyncio.Event()
        self.farewell = ""
        self.each_uses: dict[str, Any] = {}  # what it reports of each replica: cpu_percent, memory_bytes
        self.paused = False
        self.refuses = False
        self.crashing = ""
        self.conditions: tuple[NodeCondition, ...] = ()
        self.out: asyncio.Queue[dispatch_pb2.AgentMessage] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "FakeAgent":
        self.start()
        async with asyncio.timeout(60):
            await self.connected.wait()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.die()

    def start(self) -> None:
        self.connected.clear()
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._beat())]

    async def die(self) -> None:
        """As by SIGKILL: it says nothing more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def goodbye(self) -> None:
        self.out.put_nowait(dispatch_pb2.AgentMessage(goodbye=dispatch_pb2.Goodbye(why="the test says so")))

    def report(self, *statuses: ReplicaStatus) -> None:
        batch = dispatch_pb2.StatusBatch(replicas=[encode(status) for status in statuses])
        self.out.put_nowait(dispatch_pb2.AgentMessage(status=batch))

    def accept(self) -> None:
        """All that it kept from getting ready gets ready."""
        self.refuses = False
        self.report(*(self._running(a) for a in self.assignments.values() if a.desired is Desired.RUN))

    def running(self) -> list[str]:
        return sorted(a.name.rpartition(".")[0] for a in self.assignments.values() if a.desired is Desired.RUN)

    def pause_s(self) -> float:
        """Until its next heartbeat."""
        return self.heartbeat_s

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.pause_s())
            if not self.paused:
                conditions = [encode(condition) for condition in self.conditions]
                used = [types_pb2.ReplicaStats(replica_id=r, **self.each_uses) for r in self.assignments if self.each_uses]
                heartbeat = dispatch_pb2.Heartbeat(conditions=conditions, replicas=used)
                self.out.put_nowait(dispatch_pb2.AgentMessage(heartbeat=heartbeat))

    async def _run(self) -> None:
        while True:
            self.out = asyncio.Queue()
            try:
                await cancellable(self._attend())
            except grpc.aio.AioRpcError as error:
                self.refused = error.details() or ""
                await asyncio.sleep(0.05)

    async def _attend(self) -> None:
        async with channel.dial(self.address, self.identity) as connection:
            async for message in dispatch_pb2_grpc.DispatchServiceStub(connection).Connect(self._messages()):
                self._take(message)

    async def _messages(self) -> AsyncIterator[dispatch_pb2.AgentMessage]:
        info = NodeInfo(hostname=self.name, address="127.0.0.1", os="linux", arch="amd64", runtimes=BOTH, labels=self.labels)
        hello = dispatch_pb2.Hello(node_id=f"id-{self.name}", info=encode(info), generation=self.generation)
        yield dispatch_pb2.AgentMessage(hello=hello)
        while True:
            yield await self.out.get()

    def _take(self, message: dispatch_pb2.ManagerMessage) -> None:
        match message.WhichOneof("kind"):
            case "assignments":
                self.sets_received += 1
                self.connected.set()
                self.generation = message.assignments.generation
                self.assignments = {}
                self._put([decode(Assignment, a) for a in message.assignments.assignments])
            case "delta":
                assert message.delta.from_generation == self.generation, "a delta that does not fit"
                self.generation = message.delta.to_generation
                for replica_id in message.delta.removes:
                    self.assignments.pop(ReplicaId(replica_id), None)
                self._put([decode(Assignment, a) for a in message.delta.puts])
            case "farewell":
                self.farewell = message.farewell.why

    def _put(self, assignments: list[Assignment]) -> None:
        for assignment in assignments:
            self.assignments[assignment.replica_id] = assignment
            self.ever[assignment.replica_id] = assignment.spec.container.image
            if assignment.desired is Desired.STOP:
                self.report(ReplicaStatus(replica_id=assignment.replica_id, state=ReplicaState.STOPPED, exit_code=143))
            elif assignment.desired is Desired.PREPARE:
                self.report(ReplicaStatus(replica_id=assignment.replica_id, state=ReplicaState.STARTING, why="prepared"))
            else:
                self.report(self._running(assignment))

    def _running(self, assignment: Assignment) -> ReplicaStatus:
        endpoint = Endpoint(replica_id=assignment.replica_id, address="127.0.0.1", port=30000, target=80)
        crashes = assignment.spec.container.image == self.crashing
        return ReplicaStatus(
            replica_id=assignment.replica_id,
            state=ReplicaState.RUNNING,
            ready=not self.refuses and not crashes,
            why="exited with status 1" if crashes else "runs",
            restarts=int(crashes),
            endpoints=(endpoint,),
        )
