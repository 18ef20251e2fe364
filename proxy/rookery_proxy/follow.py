"""The proxy's side of RoutingService: takes the table from the manager, acknowledges versions, reports figures.

Invariant: a version is acknowledged only after every worker serves it. Without a manager the last table is served, and the
connection is tried again for ever.
"""

import asyncio
import logging
import random
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from rookery.channel import dial
from rookery.model import ProxyInfo, Route, RouteId, RouteTable
from rookery.v1.routing_pb2 import ProxyHello, ProxyMessage, RouteAcknowledge, RouteReport, RoutingMessage
from rookery.v1.routing_pb2_grpc import RoutingServiceStub
from rookery.wire import WireError, decode, encode

from rookery_proxy.disk import Disk
from rookery_proxy.stats import LATENCY_BOUNDS_S, Figures
from rookery_proxy.supervise import Supervisor
from rookery_proxy.table import Gap

_WELCOME_S = 10.0
_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 5.0
_DRAINING_REPORT_S = 0.1  # while something is in flight on an endpoint that left: its stop waits for the report
_SEND_S = 10.0

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from rookery.v1.routing_pb2_grpc import RoutingServiceAsyncStub

    Stream = grpc.aio.StreamStreamCall[ProxyMessage, RoutingMessage]


class _Ended(Exception):
    """The stream is over."""


class Follower:
    def __init__(self, address: str, info: ProxyInfo, supervisor: Supervisor, disk: Disk) -> None:
        self._address = address
        self._info = info
        self._supervisor = supervisor
        self._disk = disk
        self._all_wanted = False  # a delta did not fit: ask for the whole table
        self._welcomed = False
        self._report_now = asyncio.Event()
        self._speaking = asyncio.Lock()
        self._unsaved = asyncio.Event()

    async def run(self) -> None:
        """Follows the manager until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._save())

    async def _save(self) -> None:
        """Keeps the latest table on disk. A large table that changes often is saved less often than it changes."""
        while True:
            await self._unsaved.wait()
            self._unsaved.clear()
            table = self._supervisor.table
            await asyncio.to_thread(self._disk.save, RouteTable(version=table.version, routes=tuple(table.routes.values())))

    async def _follow(self) -> None:
        delay_s = _FIRST_DELAY_S
        said = ""
        async with dial(self._address) as channel:
            while True:
                self._welcomed = False
                why = await self._attend(RoutingServiceStub(channel))
                if self._welcomed:
                    delay_s, said = _FIRST_DELAY_S, ""
                if why != said:
                    version = self._supervisor.table.version
                    log.warning("manager %s: %s; table version %d is served meanwhile", self._address, why, version)
                    said = why
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
                delay_s = min(delay_s * 2, _LONGEST_DELAY_S)

    async def _attend(self, stub: "RoutingServiceAsyncStub") -> str:
        """Follows one stream to its end; why it ended."""
        stream = stub.Follow()
        try:
            await self._session(stream)
        except Gap as gap:
            self._all_wanted = True
            return f"{gap}, so the whole table is asked for"
        except WireError as error:
            self._all_wanted = True
            return f"it sent a table that is none ({error})"
        except _Ended as error:
            return str(error)
        except TimeoutError:
            return "it does not answer"
        except grpc.aio.AioRpcError as error:
            return error.details() or error.code().name
        except ExceptionGroup as group:
            known, others = group.split((Gap, WireError, TimeoutError, _Ended, grpc.aio.AioRpcError))
            if others is not None or known is None:
                raise
            self._all_wanted |= known.subgroup((Gap, WireError)) is not None
            first = known.exceptions[0]
            return str(first.details()) if isinstance(first, grpc.aio.AioRpcError) else str(first) or "it does not answer"
        finally:
            stream.cancel()
        return "it ended the connection"

    async def _session(self, stream: "Stream") -> None:
        version = 0 if self._all_wanted else self._supervisor.table.version
        async with asyncio.timeout(_WELCOME_S):
            await self._say(stream, ProxyMessage(hello=ProxyHello(info=encode(self._info), version=version)))
            first = await stream.read()
        if not isinstance(first, RoutingMessage) or first.WhichOneof("kind") != "welcome":
            return
        self._welcomed = True
        log.info("following manager %s (version %s)", self._address, first.welcome.manager_version or "unknown")
        async with asyncio.TaskGroup() as group:
            reports = group.create_task(self._report(stream, first.welcome.report_s or 1.0))
            errors = group.create_task(self._acknowledge_errors(stream))
            if version:
                await self._acknowledge(stream)  # an acknowledgement may have been lost with the last connection
            try:
                await self._take(stream)
            finally:
                reports.cancel()
                errors.cancel()

    async def _take(self, stream: "Stream") -> None:
        """Serves and acknowledges each version, in order, until the stream ends."""
        while True:
            message = await stream.read()
            if not isinstance(message, RoutingMessage):
                return
            match message.WhichOneof("kind"):
                case "table":
                    await self._supervisor.replace(decode(RouteTable, message.table))
                    self._all_wanted = False
                case "delta":
                    delta = message.delta
                    puts = tuple(decode(Route, route) for route in delta.puts)
                    removes = tuple(RouteId(route_id) for route_id in delta.removes)
                    await self._supervisor.change(delta.from_version, delta.to_version, puts, removes)
                case _:
                    continue
            await self._acknowledge(stream)
            self._report_now.set()
            self._unsaved.set()

    async def _acknowledge(self, stream: "Stream") -> None:
        version = self._supervisor.table.version
        errors = [encode(error) for error in self._supervisor.listener_errors()]
        await self._say(stream, ProxyMessage(acknowledge=RouteAcknowledge(version=version, listener_errors=errors)))

    async def _say(self, stream: "Stream", message: ProxyMessage) -> None:
        """Sends a message; a stream takes one at a time."""
        async with asyncio.timeout(_SEND_S), self._speaking:
            try:
                await stream.write(message)
            except asyncio.InvalidStateError as error:  # what grpc.aio raises for a stream that is over already
                raise _Ended("it ended the connection") from error

    async def _acknowledge_errors(self, stream: "Stream") -> None:
        """Says again what can't be served whenever that changes."""
        while True:
            await self._supervisor.errors_changed.wait()
            self._supervisor.errors_changed.clear()
            await self._acknowledge(stream)

    async def _report(self, stream: "Stream", interval_s: float) -> None:
        while True:
            self._report_now.clear()
            figures = await self._supervisor.figures()
            await self._say(stream, ProxyMessage(report=_report_of(figures)))
            leaving = any(stats.in_flight and not self._in_table(stats.route_id, stats.replica_id) for stats in figures.endpoints)
            try:
                async with asyncio.timeout(min(interval_s, _DRAINING_REPORT_S) if leaving else interval_s):
                    await self._report_now.wait()
            except TimeoutError:
                pass

    def _in_table(self, route_id: RouteId, replica_id: str) -> bool:
        route = self._supervisor.table.routes.get(route_id)
        return route is not None and any(endpoint.replica_id == replica_id for endpoint in route.endpoints)


def _report_of(figures: Figures) -> RouteReport:
    return RouteReport(
        version=figures.version,
        endpoints=[encode(stats) for stats in figures.endpoints],
        routes=[encode(stats) for stats in figures.routes],
        latency_bounds_s=LATENCY_BOUNDS_S,
    )
