"""A proxy that balances nothing: it follows the route table over a real connection, and acknowledges when it is told to."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType

import grpc
from rookery import channel
from rookery.model import EndpointStats, ReplicaId, Route, RouteId, RouteTable
from rookery.v1 import routing_pb2, routing_pb2_grpc, types_pb2
from rookery.wire import decode, encode


class FakeProxy:
    """`in_flight` is what it reports; with `holds` it acknowledges nothing."""

    def __init__(self, address: str, name: str = "p1") -> None:
        self.address = address
        self.name = name
        self.routes: dict[RouteId, Route] = {}
        self.version = 0
        self.holds = False
        self.in_flight: dict[ReplicaId, int] = {}
        self._out: asyncio.Queue[routing_pb2.ProxyMessage] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "FakeProxy":
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def endpoints(self, route: str) -> set[str]:
        found = self.routes.get(RouteId(route))
        return {endpoint.replica_id for endpoint in found.endpoints} if found else set()

    def acknowledge(self) -> None:
        self._out.put_nowait(routing_pb2.ProxyMessage(acknowledge=routing_pb2.RouteAcknowledge(version=self.version)))
        self.tell()

    def tell(self) -> None:
        """Reports what is in flight."""
        stats = [EndpointStats(replica_id=r, route_id=RouteId(""), in_flight=n) for r, n in self.in_flight.items()]
        report = routing_pb2.RouteReport(version=self.version, endpoints=[encode(s) for s in stats])
        self._out.put_nowait(routing_pb2.ProxyMessage(report=report))

    async def _run(self) -> None:
        while True:
            self._out = asyncio.Queue()
            try:
                async with channel.dial(self.address) as connection:
                    async for message in routing_pb2_grpc.RoutingServiceStub(connection).Follow(self._messages()):
                        self._take(message)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.05)

    async def _messages(self) -> AsyncIterator[routing_pb2.ProxyMessage]:
        info = types_pb2.ProxyInfo(id=self.name)
        yield routing_pb2.ProxyMessage(hello=routing_pb2.ProxyHello(info=info, version=self.version))
        while True:
            yield await self._out.get()

    def _take(self, message: routing_pb2.RoutingMessage) -> None:
        match message.WhichOneof("kind"):
            case "table":
                table = decode(RouteTable, message.table)
                self.version = table.version
                self.routes = {route.id: route for route in table.routes}
            case "delta":
                assert message.delta.from_version == self.version, "a delta that does not fit"
                self.version = message.delta.to_version
                for route_id in message.delta.removes:
                    self.routes.pop(RouteId(route_id), None)
                self.routes.update({RouteId(r.id): decode(Route, r) for r in message.delta.puts})
            case _:
                return
        if not self.holds:
            self.acknowledge()
