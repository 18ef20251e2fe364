"""A manager of a few lines behind a real gRPC server on the loopback: takes down what agents say, says what it is told to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import grpc.aio
from ports import free_port
from rookery.channel import listen, server
from rookery.model import Assignment, ReplicaStatus
from rookery.v1 import dispatch_pb2, dispatch_pb2_grpc
from rookery.wire import decode, encode


class FakeManager(dispatch_pb2_grpc.DispatchServiceServicer):
    """`heard` are all messages in order, `statuses` the newest of each replica, `uploads` the log lines by request."""

    def __init__(self, *, heartbeat_s: float = 0.1, lease_s: float = 0.5) -> None:
        self.heard: list[dispatch_pb2.AgentMessage] = []
        self.statuses: dict[str, ReplicaStatus] = {}
        self.uploads: dict[str, list[dispatch_pb2.LogUpload]] = {}
        self.connections = 0
        self.leases = True
        self.greeting: Callable[[dispatch_pb2.Hello], Iterable[dispatch_pb2.ManagerMessage]] = lambda _: ()
        self._heartbeat_s = heartbeat_s
        self._lease_s = lease_s
        self._changed = asyncio.Event()
        self._streams: list[asyncio.Queue[dispatch_pb2.ManagerMessage | None]] = []
        self._server: grpc.aio.Server | None = None
        self.port = 0

    async def start(self, port: int = 0) -> str:
        self._server = server()
        dispatch_pb2_grpc.add_DispatchServiceServicer_to_server(self, self._server)
        self.port = listen(self._server, f"127.0.0.1:{port or free_port()}")
        await self._server.start()
        return f"127.0.0.1:{self.port}"

    async def stop(self) -> None:
        self.hang_up()
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    def say(self, message: dispatch_pb2.ManagerMessage) -> None:
        for stream in self._streams:
            stream.put_nowait(message)

    def hang_up(self) -> None:
        """Ends every stream."""
        for stream in self._streams:
            stream.put_nowait(None)

    async def until(self, condition: Callable[[], Any], timeout_s: float = 60.0) -> Any:
        """What `condition` returns, once that is something."""
        async with asyncio.timeout(timeout_s):
            while not (found := condition()):
                self._changed.clear()
                await self._changed.wait()
            return found

    def heard_of(self, kind: str) -> list[Any]:
        return [getattr(message, kind) for message in self.heard if message.WhichOneof("kind") == kind]

    async def Connect(self, request_iterator: Any, context: Any) -> AsyncIterator[dispatch_pb2.ManagerMessage]:  # noqa: ARG002
        outgoing: asyncio.Queue[dispatch_pb2.ManagerMessage | None] = asyncio.Queue(1000)
        hello = (await anext(aiter(request_iterator))).hello
        self._take(dispatch_pb2.AgentMessage(hello=hello))
        welcome = dispatch_pb2.Welcome(heartbeat_s=self._heartbeat_s, lease_s=self._lease_s, manager_version="fake")
        yield dispatch_pb2.ManagerMessage(welcome=welcome)
        for message in self.greeting(hello):
            yield message
        self._streams.append(outgoing)
        self.connections += 1
        self._changed.set()
        reader = asyncio.ensure_future(self._listen(request_iterator, outgoing))
        try:
            while (message := await outgoing.get()) is not None:
                yield message
        finally:
            self._streams.remove(outgoing)
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError, grpc.aio.UsageError):
                await reader

    async def SendLogs(self, request_iterator: Any, context: Any) -> dispatch_pb2.LogUploadResult:  # noqa: ARG002
        async for upload in request_iterator:
            self.uploads.setdefault(upload.request_id, []).append(upload)
            self._changed.set()
        return dispatch_pb2.LogUploadResult()

    async def _listen(self, incoming: Any, outgoing: "asyncio.Queue[dispatch_pb2.ManagerMessage | None]") -> None:
        async for message in incoming:
            self._take(message)
            if message.WhichOneof("kind") == "heartbeat" and self.leases:
                outgoing.put_nowait(dispatch_pb2.ManagerMessage(lease=dispatch_pb2.Lease(lease_s=self._lease_s)))
        outgoing.put_nowait(None)

    def _take(self, message: dispatch_pb2.AgentMessage) -> None:
        self.heard.append(message)
        for status in [*message.hello.replicas, *message.status.replicas]:
            self.statuses[status.replica_id] = decode(ReplicaStatus, status)
        self._changed.set()


def whole(generation: int, *assignments: Assignment) -> dispatch_pb2.ManagerMessage:
    """The whole set of assignments as a message."""
    made = dispatch_pb2.AssignmentSet(generation=generation, assignments=[encode(a) for a in assignments])
    return dispatch_pb2.ManagerMessage(assignments=made)


def delta(start: int, end: int, *puts: Assignment, removes: tuple[str, ...] = ()) -> dispatch_pb2.ManagerMessage:
    """Changes of the set as a message."""
    made = dispatch_pb2.AssignmentDelta(from_generation=start, to_generation=end, puts=[encode(a) for a in puts], removes=removes)
    return dispatch_pb2.ManagerMessage(delta=made)
