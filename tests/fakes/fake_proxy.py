"""A proxy that balances nothing: it follows the route table over a real connection, and acknowledges when it is told to."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from types import TracebackType

import grpc
from rookery import channel
from rookery.cancelled import cancellable
from rookery.identity import Identity
from rookery.model import EndpointStats, ReplicaId, Route, RouteId, RouteTable
from rookery.v1 import routing_pb2, routing_pb2_grpc, types_pb2
from rookery.wire import decode, encode

BOUNDS_S = (0.1, 1.0)


class FakeProxy:
    """`in_flight` and `counts` are what it reports, of the route `watched` also `requests` and who is `held`; with `holds` it
    acknowledges nothing. `tables` has what `watched` was in each version of the table."""

    def __init__(self, address: str, name: str = "p1", *, identity: Identity | None = None) -> None:
        self.address = address
        self.identity = identity
        self.name = name
        self.routes: dict[RouteId, Route] = {}
        self.version = 0
        self.holds = False
        self.in_flight: dict[ReplicaId, int] = {}
        self.counts: dict[ReplicaId, EndpointStats] = {}
        self.watched = RouteId("shop/web:8080")
        self.tables: list[Route] = []
        self.requests = 0
        self.held = 0
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

    def answer(self, replica_ids: Iterable[str], *, ok: int = 0, failed: int = 0, slow: int = 0) -> None:
        """So many answers of each of the replicas, fast ones, 5xx and slow ones; and reports them."""
        for replica_id in map(ReplicaId, replica_ids):
            before = self.counts.get(replica_id) or self._counts(replica_id)
            fast, late, never = before.latency_counts
            self.counts[replica_id] = replace(
                before,
                requests=before.requests + ok + failed + slow,
                responses_2xx=before.responses_2xx + ok + slow,
                responses_5xx=before.responses_5xx + failed,
                latency_counts=(fast + ok + failed, late + slow, never),
            )
        self.tell()

    def tell(self) -> None:
        """Reports what is in flight, and what was."""
        ids = {*self.in_flight, *self.counts}
        stats = [replace(self.counts.get(r) or self._counts(r), in_flight=self.in_flight.get(r, 0)) for r in ids]
        self.say(*(encode(one) for one in stats))

    def say(self, *stats: types_pb2.EndpointStats, bounds_s: Sequence[float] = BOUNDS_S) -> None:
        """Reports just that."""
        route = types_pb2.RouteStats(route_id=self.watched, requests=self.requests, held=self.held)
        routes = [route] if self.watched in self.routes else []
        report = routing_pb2.RouteReport(version=self.version, endpoints=stats, routes=routes, latency_bounds_s=bounds_s)
        self._out.put_nowait(routing_pb2.ProxyMessage(report=report))

    async def _run(self) -> None:
        while True:
            self._out = asyncio.Queue()
            try:
                await cancellable(self._attend())
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.05)

    async def _attend(self) -> None:
        async with channel.dial(self.address, self.identity) as connection:
            async for message in routing_pb2_grpc.RoutingServiceStub(connection).Follow(self._messages()):
                self._take(message)

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
        if self.watched in self.routes:
            self.tables.append(self.routes[self.watched])
        if not self.holds:
            self.acknowledge()

    def _counts(self, replica_id: ReplicaId) -> EndpointStats:
        return EndpointStats(replica_id=replica_id, route_id=self.watched, latency_counts=(0, 0, 0))
