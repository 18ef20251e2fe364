"""An agent that runs nothing: it speaks the real protocol over a real connection, and its replicas run because it says so."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType

import grpc
from rookery import channel
from rookery.model import Assignment, Desired, Endpoint, ReplicaId, ReplicaState, ReplicaStatus, RuntimeKind
from rookery.model.node import NodeInfo
from rookery.v1 import dispatch_pb2, dispatch_pb2_grpc
from rookery.wire import decode, encode

BOTH = (RuntimeKind.DOCKER, RuntimeKind.PROCESS)


class FakeAgent:
    """Entered, it is connected and has its assignments.

    `paused` keeps it connected but silent; `refuses` keeps replicas from getting ready; those of the image `crashing` crash.
    """

    def __init__(self, address: str, name: str, *, heartbeat_s: float = 0.1) -> None:
        self.address = address
        self.name = name
        self.heartbeat_s = heartbeat_s
        self.assignments: dict[ReplicaId, Assignment] = {}
        self.generation = 0
        self.sets_received = 0
        self.connected = asyncio.Event()
        self.farewell = ""
        self.paused = False
        self.refuses = False
        self.crashing = ""
        self.out: asyncio.Queue[dispatch_pb2.AgentMessage] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "FakeAgent":
        self.start()
        async with asyncio.timeout(10):
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

    def running(self) -> list[str]:
        return sorted(a.name.rpartition(".")[0] for a in self.assignments.values() if a.desired is Desired.RUN)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.heartbeat_s)
            if not self.paused:
                self.out.put_nowait(dispatch_pb2.AgentMessage(heartbeat=dispatch_pb2.Heartbeat()))

    async def _run(self) -> None:
        while True:
            self.out = asyncio.Queue()
            try:
                async with channel.dial(self.address) as connection:
                    stub = dispatch_pb2_grpc.DispatchServiceStub(connection)
                    async for message in stub.Connect(self._messages()):
                        self._take(message)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.05)

    async def _messages(self) -> AsyncIterator[dispatch_pb2.AgentMessage]:
        info = NodeInfo(hostname=self.name, address="127.0.0.1", os="linux", arch="amd64", runtimes=BOTH)
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
            if assignment.desired is Desired.STOP:
                self.report(ReplicaStatus(replica_id=assignment.replica_id, state=ReplicaState.STOPPED, exit_code=143))
            else:
                endpoint = Endpoint(replica_id=assignment.replica_id, address="127.0.0.1", port=30000, target=80)
                crashes = assignment.spec.container.image == self.crashing
                ready = not self.refuses and not crashes
                self.report(
                    ReplicaStatus(
                        replica_id=assignment.replica_id,
                        state=ReplicaState.RUNNING,
                        ready=ready,
                        why="exited with status 1" if crashes else "runs",
                        restarts=int(crashes),
                        endpoints=(endpoint,),
                    )
                )
