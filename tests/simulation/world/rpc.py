"""gRPC as the parts use it, over the simulated network: channels, streams, calls and the server, with the errors of the real one.

A stream breaks when its peer's process dies, when the network gives it up, or when either side ends it. The handler of a stream
that broke is cancelled, as grpc.aio does it.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import grpc
import grpc.aio

from world.machine import Machine, Process, here
from world.network import Network, Pipe

CONNECT_S = 20.0
SYN_S = 1.0
HALF_CLOSED = object()


def error(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=details)


class _Inbox:
    def __init__(self) -> None:
        self.items: deque[Any] = deque()
        self._waiting: asyncio.Future[None] | None = None

    def put(self, item: Any) -> None:
        self.items.append(item)
        self.wake()

    def wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def wait(self) -> None:
        self._waiting = asyncio.get_running_loop().create_future()
        await self._waiting


class Stream:
    """A call under way: its client's end and its server's."""

    def __init__(self, network: Network, client: Process, server: Process, method: str, handler: Any) -> None:
        self.client = ClientEnd(client)
        self.server = ServerEnd(server)
        ends = (self.client, self.server)
        self.up = Pipe(network, client.name, server.name, self.server.take, ends)
        self.down = Pipe(network, server.name, client.name, self.client.take, ends)
        self.client.stream = self.server.stream = self
        self.method = method
        self.handler = handler
        client.streams[self.client] = None
        self.up.put("begin", ("begin", None))

    def close(self) -> None:
        if self.client.status is not None and self.server.is_over:
            self.up.close()
            self.down.close()


class ClientEnd:
    stream: Stream

    def __init__(self, process: Process) -> None:
        self.process = process
        self.status: tuple[grpc.StatusCode, str] | None = None
        self.inbox = _Inbox()
        self._half_closed = False

    def take(self, item: tuple[str, Any]) -> None:
        kind, value = item
        if self.status is not None:
            return
        if kind == "message":
            self.inbox.put(value)
        else:
            self.finish(*value)

    def finish(self, code: grpc.StatusCode, details: str) -> None:
        if self.status is None:
            self.status = (code, details)
            self.process.streams.pop(self, None)
            self.inbox.wake()
            self.stream.close()

    def break_off(self) -> None:
        if self.status is None:
            self.stream.up.put("cancel", ("cancel", None))
        self.finish(grpc.StatusCode.UNAVAILABLE, "keepalive watchdog timeout")

    def die(self, *, told: bool) -> None:
        if told:
            self.cancel()
        self.status = self.status or (grpc.StatusCode.CANCELLED, "it died")
        self.inbox.wake()

    def cancel(self) -> None:
        if self.status is None:
            self.stream.up.put("cancel", ("cancel", None))
            self.finish(grpc.StatusCode.CANCELLED, "Locally cancelled by application!")

    # ---- what grpc.aio calls a StreamStreamCall

    async def write(self, message: Any) -> None:
        if self.status is not None or self._half_closed:
            raise asyncio.InvalidStateError("RPC already finished.")
        await self.stream.up.room()
        if self.status is not None:
            raise error(*self.status)
        self.stream.up.put(message.WhichOneof("kind") or "", ("message", message))

    async def read(self) -> Any:
        while not self.inbox.items:
            if self.status is not None:
                if self.status[0] is grpc.StatusCode.OK:
                    return grpc.aio.EOF
                raise error(*self.status)
            await self.inbox.wait()
        return self.inbox.items.popleft()

    async def details(self) -> str:
        while self.status is None:
            await self.inbox.wait()
        return self.status[1]


class ServerEnd:
    stream: Stream

    def __init__(self, process: Process) -> None:
        self.process = process
        self.inbox = _Inbox()
        self.is_over = False
        self._task: asyncio.Task[Any] | None = None

    def take(self, item: tuple[str, Any]) -> None:
        kind, value = item
        if self.process.dead:
            if self.process.machine.is_on:  # its kernel knows nothing of such a connection
                self._reset()
            return
        if self.is_over:
            self._reset()
            return
        match kind:
            case "begin":
                self.process.streams[self] = None
                self._task = self.process.spawn(self._serve())
            case "message":
                self.inbox.put(value)
            case "cancel":
                self.break_off()

    def break_off(self) -> None:
        if not self.is_over:
            self._reset()
        self._end()
        if self._task is not None:
            self._task.cancel()

    def die(self, *, told: bool) -> None:
        if told:
            self._reset()
        self._end()
        if self._task is not None:
            self._task.cancel()

    def _reset(self) -> None:
        self.stream.down.put("reset", ("status", (grpc.StatusCode.UNAVAILABLE, "Connection reset by peer")))

    def _end(self) -> None:
        self.is_over = True
        self.process.streams.pop(self, None)
        self.inbox.wake()
        self.stream.close()

    async def _serve(self) -> None:
        code, details = grpc.StatusCode.OK, ""
        try:
            await self.stream.handler.stream_stream(self._requests(), self)
        except grpc.aio.AbortError as aborted:
            code, details = aborted.args
        finally:
            if not self.is_over:
                self.stream.down.put("status", ("status", (code, details)))
                self._end()

    async def _requests(self) -> AsyncIterator[Any]:
        while True:
            while not self.inbox.items:
                if self.is_over:
                    return
                await self.inbox.wait()
            yield self.inbox.items.popleft()

    # ---- what grpc.aio calls a ServicerContext

    async def write(self, message: Any) -> None:
        await self.stream.down.room()
        if self.is_over:
            raise grpc.aio.UsageError("RPC already finished.")
        self.stream.down.put(message.WhichOneof("kind") or "", ("message", message))

    async def abort(self, code: grpc.StatusCode, details: str = "") -> None:
        raise grpc.aio.AbortError(code, details)

    def peer(self) -> str:
        return self.stream.client.process.name


class Server:
    """Stands in for a grpc.aio.Server. It serves from `start` on."""

    def __init__(self) -> None:
        self._handlers: list[Any] = []
        self.process = here()

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        self._handlers += handlers

    def add_registered_method_handlers(self, _service: str, _handlers: Any) -> None:
        """They are among the generic ones, too."""

    async def start(self) -> None:
        self.process.machine.listening = self

    async def stop(self, _grace_s: float) -> None:
        self.process.machine.listening = None
        for end in list(self.process.streams):
            end.die(told=True)

    def find(self, method: str) -> Any:
        details = SimpleNamespace(method=method, invocation_metadata=())
        return next(found for handler in self._handlers if (found := handler.service(details)) is not None)


class Channel:
    """Stands in for a grpc.aio.Channel towards one machine."""

    def __init__(self, network: Network, target: Machine) -> None:
        self._network = network
        self._target = target

    async def __aenter__(self) -> "Channel":
        return self

    async def __aexit__(self, *_: object) -> None:
        """Calls end with their own context."""

    async def close(self) -> None:
        """As above."""

    async def channel_ready(self) -> None:
        """Calls wait by themselves."""

    def stream_stream(self, method: str, **_: Any) -> Callable[[], "Call"]:
        return lambda: Call(self, method)

    def stream_unary(self, _method: str, **_: Any) -> Callable[..., Any]:
        return lambda *_: None

    def unary_stream(self, _method: str, **_: Any) -> Callable[..., Any]:
        return lambda *_: None

    def unary_unary(self, method: str, *, response_deserializer: Any = None, **_: Any) -> Callable[..., Any]:
        del response_deserializer
        return lambda request, timeout: self._ask(method, request, timeout)

    async def connect(self) -> Server:
        """Returns the server that listens. Raises AioRpcError where none does, or nothing is heard of it."""
        if here().dead:
            await asyncio.Event().wait()
        source, target = here().name, self._target.name
        deadline = asyncio.get_running_loop().time() + CONNECT_S
        while asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(self._network.delay_s(source, target) + self._network.delay_s(target, source))
            if self._target.is_on and not self._network.is_cut(source, target) and not self._network.is_cut(target, source):
                if self._target.listening is None:
                    raise error(grpc.StatusCode.UNAVAILABLE, "failed to connect: Connection refused")
                server: Server = self._target.listening
                return server
            await asyncio.sleep(SYN_S)
        raise error(grpc.StatusCode.UNAVAILABLE, "failed to connect: timed out")

    async def open(self, method: str) -> Stream:
        server = await self.connect()
        return Stream(self._network, here(), server.process, method, server.find(method))

    async def _ask(self, method: str, request: Any, timeout_s: float) -> Any:
        """A unary call: what is answered may get lost, and then nobody knows whether it was done."""
        source, target = here().name, self._target.name
        network = self._network
        try:
            async with asyncio.timeout(timeout_s):
                server = await self.connect()
                await asyncio.sleep(network.delay_s(source, target))
                answered = asyncio.get_running_loop().create_future()
                server.process.spawn(self._answer(server, method, request, answered))
                answer = await answered
                await asyncio.sleep(network.delay_s(target, source))
                if network.is_cut(target, source):
                    await asyncio.Event().wait()  # the answer is lost
        except TimeoutError:
            raise error(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _answer(self, server: Server, method: str, request: Any, answered: "asyncio.Future[Any]") -> None:
        answer: Any
        try:
            context = SimpleNamespace(abort=_abort)
            answer = await server.find(method).unary_unary(request.SerializeToString(), context)
        except grpc.aio.AbortError as aborted:
            answer = error(*aborted.args)
        except asyncio.CancelledError:
            return
        if not server.process.dead and not answered.done():
            answered.set_result(answer)


async def _abort(code: grpc.StatusCode, details: str = "") -> None:
    raise grpc.aio.AbortError(code, details)


class Call:
    """A stream from the client's side, which connects when it is first used."""

    def __init__(self, channel: Channel, method: str) -> None:
        self._channel = channel
        self._method = method
        self._stream: Stream | None = None
        self._cancelled = False

    async def write(self, message: Any) -> None:
        if self._stream is None:
            self._stream = await self._channel.open(self._method)
        await self._stream.client.write(message)

    async def read(self) -> Any:
        assert self._stream is not None
        return await self._stream.client.read()

    async def details(self) -> str:
        assert self._stream is not None
        return await self._stream.client.details()

    def cancel(self) -> None:
        if self._stream is not None:
            self._stream.client.cancel()
