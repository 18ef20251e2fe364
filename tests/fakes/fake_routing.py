"""A RoutingService on loopback that a test scripts: it sends tables and deltas, and records what proxies say."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from ports import free_port
from rookery.channel import listen, server
from rookery.model import EndpointStats, Route, RouteTable
from rookery.v1.routing_pb2 import ProxyMessage, RouteDelta, RoutingMessage, RoutingWelcome
from rookery.v1.routing_pb2_grpc import RoutingServiceServicer, add_RoutingServiceServicer_to_server
from rookery.wire import decode, encode


@dataclass(frozen=True, slots=True)
class Report:
    """What is known after a report, of which later ones tell the changes."""

    version: int = 0
    by_endpoint: Mapping[tuple[str, str], Any] = field(default_factory=dict)
    by_route: Mapping[str, Any] = field(default_factory=dict)

    @property
    def endpoints(self) -> list[Any]:
        return list(self.by_endpoint.values())

    @property
    def routes(self) -> list[Any]:
        return list(self.by_route.values())

    def then(self, report: Any) -> "Report":
        endpoints = {(stats.replica_id, stats.route_id): stats for stats in report.endpoints}
        routes = {stats.route_id: stats for stats in report.routes}
        return Report(report.version, {**self.by_endpoint, **endpoints}, {**self.by_route, **routes})


class FakeRouting(RoutingServiceServicer):
    """Serves one table to whoever follows. Use as `async with FakeRouting() as routing`."""

    def __init__(self, *, port: int = 0, report_s: float = 0.05) -> None:
        self.table = RouteTable()
        self.report_s = report_s
        self.address = f"127.0.0.1:{port or free_port()}"
        self.hellos: list[Any] = []
        self.acknowledged = -1
        self.listener_errors: list[tuple[int, str]] = []
        self.reports: list[Report] = []
        self._streams: list[asyncio.Queue[RoutingMessage | None]] = []
        self._heard = asyncio.Condition()
        self._server: grpc.aio.Server | None = None

    async def __aenter__(self) -> "FakeRouting":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self._server = server()
        add_RoutingServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{listen(self._server, self.address)}"
        await self._server.start()

    async def stop(self) -> None:
        """Goes away as a killed manager does."""
        assert self._server is not None
        for queue in self._streams:
            queue.put_nowait(None)
        await self._server.stop(None)

    def send(self, message: RoutingMessage) -> None:
        for queue in self._streams:
            queue.put_nowait(message)

    def put_table(self, *routes: Route, version: int | None = None) -> int:
        """Makes these all the routes there are, and sends the whole table."""
        self.table = RouteTable(version=version or self.table.version + 1, routes=routes)
        self.send(RoutingMessage(table=encode(self.table)))
        return self.table.version

    def put_route(self, *routes: Route, removes: tuple[str, ...] = ()) -> int:
        """Changes routes by a delta."""
        before = self.table.version
        held = {route.id: route for route in self.table.routes if route.id not in removes}
        held.update({route.id: route for route in routes})
        self.table = RouteTable(version=before + 1, routes=tuple(held.values()))
        puts = [encode(route) for route in routes]
        self.send(RoutingMessage(delta=RouteDelta(from_version=before, to_version=before + 1, puts=puts, removes=removes)))
        return self.table.version

    async def wait_acknowledged(self, version: int) -> None:
        await self.wait(lambda: self.acknowledged >= version, f"version {version} acknowledged")

    async def wait(self, condition: Any, what: str, timeout_s: float = 60.0) -> None:
        """Waits until something that proxies said makes the condition true."""
        async with self._heard:
            try:
                await asyncio.wait_for(self._heard.wait_for(condition), timeout_s)
            except TimeoutError:
                raise AssertionError(f"not within {timeout_s} s: {what}") from None

    def stats(self, replica_id: str) -> EndpointStats | None:
        """What the latest report says of a replica."""
        if not self.reports:
            return None
        return next((decode(EndpointStats, e) for e in self.reports[-1].endpoints if e.replica_id == replica_id), None)

    def held(self) -> int:
        """How many requests wait for an endpoint, as the latest report says."""
        return sum(route.held for route in self.reports[-1].routes) if self.reports else -1

    async def Follow(self, request_iterator: AsyncIterator[ProxyMessage], context: Any) -> AsyncIterator[RoutingMessage]:  # type: ignore[override]  # noqa: ARG002
        queue: asyncio.Queue[RoutingMessage | None] = asyncio.Queue(maxsize=1000)
        hello = await anext(request_iterator)
        await self._hear(hello)
        yield RoutingMessage(welcome=RoutingWelcome(report_s=self.report_s, lease_s=3.0, manager_version="fake"))
        self._streams.append(queue)  # before anything else may run: what is sent from now on comes after this table
        held = hello.hello.version == self.table.version
        if not held:
            yield RoutingMessage(table=encode(self.table))
        listening = asyncio.create_task(self._listen(request_iterator))
        try:
            while (message := await queue.get()) is not None:
                yield message
        finally:
            self._streams.remove(queue)
            listening.cancel()

    async def _listen(self, messages: AsyncIterator[ProxyMessage]) -> None:
        async for message in messages:
            await self._hear(message)

    async def _hear(self, message: ProxyMessage) -> None:
        async with self._heard:
            match message.WhichOneof("kind"):
                case "hello":
                    self.hellos.append(message.hello)
                case "acknowledge":
                    self.acknowledged = message.acknowledge.version
                    self.listener_errors = [(e.port, e.why) for e in message.acknowledge.listener_errors]
                case "report":
                    before = self.reports[-1] if self.reports and message.report.changes else Report()
                    self.reports.append(before.then(message.report))
            self._heard.notify_all()
