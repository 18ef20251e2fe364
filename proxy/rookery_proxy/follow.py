"""The proxy's side of RoutingService: takes the table from the manager, acknowledges versions, reports figures.

Invariant: a version is acknowledged only after every worker serves it. Without a manager the last table is served, and the
connection is tried again for ever.
"""

import asyncio
import concurrent.futures.thread  # noqa: F401 (asyncio would import it at the first use: too late when there is no descriptor left)
import contextlib
import logging
import random
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from rookery.cancelled import cancellable
from rookery.channel import dial, words_of_tls
from rookery.identity import REMOVED
from rookery.identity.moving import MovingStream, Stands
from rookery.model import ProxyInfo, Route, RouteId, RouteTable, ServedCertificate
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
_LEASE_S = 3.0  # a manager's own default, until one has told its own
_CHANNEL_LEASES = 0.7
_DELAYS_PER_LEASE = 4  # a manager that was restarted waits one lease for its proxies before it stops what they may still use
_DRAINING_REPORT_S = 0.1  # while something is in flight on an endpoint that left: its stop waits for the report
_SEND_S = 10.0
_BETWEEN_SAVES = 20.0  # times as long as a save took

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from rookery.v1.routing_pb2_grpc import RoutingServiceAsyncStub

    Stream = grpc.aio.StreamStreamCall[ProxyMessage, RoutingMessage]


class _Ended(Exception):
    """The stream is over."""


class Follower:
    """`standing` is what a connection is made with."""

    def __init__(self, address: str, info: ProxyInfo, supervisor: Supervisor, disk: Disk, standing: Stands) -> None:
        self._address = address
        self._info = info
        self._supervisor = supervisor
        self._disk = disk
        self._standing = standing
        self._all_wanted = False  # a delta did not fit: ask for the whole table
        self._welcomed = False
        self._lease_s = _LEASE_S
        self._report_now = asyncio.Event()
        self._speaking = asyncio.Lock()
        self._unsaved = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether a manager is there and has welcomed this proxy."""
        return self._welcomed

    async def run(self) -> None:
        """Follows the manager until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow())
                group.create_task(self._save())
        finally:
            if self._unsaved.is_set():
                await self._save_now()

    async def _save(self) -> None:
        """Keeps the latest table on disk. A large table that changes often is saved less often than it changes: to write it is a
        small part of what is done."""
        clock = asyncio.get_running_loop().time
        while True:
            await self._unsaved.wait()
            began = clock()
            await self._save_now()
            await asyncio.sleep((clock() - began) * _BETWEEN_SAVES)

    async def _save_now(self) -> None:
        self._unsaved.clear()
        table = self._supervisor.table
        await asyncio.to_thread(self._disk.save, RouteTable(version=table.version, routes=tuple(table.routes.values())))

    async def _follow(self) -> None:
        delay_s = _FIRST_DELAY_S
        said = ""
        while True:
            self._welcomed = False
            why = await cancellable(MovingStream(partial(dial, self._address), self._standing).run(self._attend_on))
            if self._welcomed:
                delay_s, said = _FIRST_DELAY_S, ""
                self._welcomed = False
            if why != said:
                version = self._supervisor.table.version
                log.warning("manager %s: %s; table version %d is served meanwhile", self._address, why, version)
                said = why
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
            delay_s = min(delay_s * 2, self._lease_s / _DELAYS_PER_LEASE, _LONGEST_DELAY_S)

    async def _attend_on(self, channel: grpc.aio.Channel) -> str:
        # A channel tries again by itself, with delays that begin anew with each channel. Each try is given as long as the
        # delay after it, so a channel that is too new fails over a long way.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._lease_s * _CHANNEL_LEASES):
                await channel.channel_ready()
        return await self._attend(RoutingServiceStub(channel))

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
            return words_of_tls(error.details() or "") or error.details() or error.code().name
        except ExceptionGroup as group:
            known, others = group.split((Gap, WireError, TimeoutError, _Ended, grpc.aio.AioRpcError))
            if others is not None or known is None:
                raise
            self._all_wanted |= known.subgroup((Gap, WireError)) is not None
            first = known.exceptions[0]
            return str(first.details()) if isinstance(first, grpc.aio.AioRpcError) else str(first) or "it does not answer"
        finally:
            stream.cancel()
            if self._standing.identity is not None:
                await self._heed_removal(stream)
        return "it ended the connection"

    async def _heed_removal(self, stream: "Stream") -> None:
        """Serves nothing any more for a cluster that removed this proxy."""
        told: Iterable[Any] = ()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SEND_S):
                told = await stream.trailing_metadata() or ()
        table = self._supervisor.table
        if REMOVED in [tuple(item) for item in told] and table.routes:
            log.warning("this proxy was removed from the cluster: it serves nothing any more")
            await self._supervisor.replace(RouteTable(version=table.version))
            await self._supervisor.certify((), frozenset())
            self._unsaved.set()
            self._all_wanted = True

    async def _session(self, stream: "Stream") -> None:
        version = 0 if self._all_wanted else self._supervisor.table.version
        async with asyncio.timeout(_WELCOME_S):
            await self._say(stream, ProxyMessage(hello=ProxyHello(info=encode(self._info), version=version)))
            first = await stream.read()
        if not isinstance(first, RoutingMessage) or first.WhichOneof("kind") != "welcome":
            return
        self._welcomed = True
        self._lease_s = first.welcome.lease_s or _LEASE_S
        log.info("following manager %s (version %s)", self._address, first.welcome.manager_version or "unknown")
        async with asyncio.TaskGroup() as group:
            reports = group.create_task(self._report(stream, first.welcome.report_s or 1.0))
            errors = group.create_task(self._acknowledge_errors(stream))
            held = group.create_task(self._report_held())
            if version:
                await self._acknowledge(stream)  # an acknowledgement may have been lost with the last connection
            try:
                await self._take(stream)
            finally:
                reports.cancel()
                errors.cancel()
                held.cancel()

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
                case "certificates":
                    sent = tuple(decode(ServedCertificate, put) for put in message.certificates.puts)
                    await self._supervisor.certify(sent, frozenset(message.certificates.hosts))
                    continue
                case "trust":
                    self._standing.heed(message.trust.authorities, message.trust.within_s)
                    continue
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

    async def _report_held(self) -> None:
        """Has figures sent at once when requests begin to wait: the manager starts a replica for them."""
        while True:
            await self._supervisor.held.wait()
            self._supervisor.held.clear()
            self._report_now.set()

    async def _report(self, stream: "Stream", interval_s: float) -> None:
        """Tells everything once, then what changes."""
        whole = True
        while True:
            self._report_now.clear()
            figures = await self._supervisor.changes(whole=whole)
            await self._say(stream, ProxyMessage(report=_report_of(figures, whole=whole)))
            whole = False
            leaving = any(stats.in_flight and not self._in_table(stats.route_id, stats.replica_id) for stats in figures.endpoints)
            try:
                async with asyncio.timeout(min(interval_s, _DRAINING_REPORT_S) if leaving else interval_s):
                    await self._report_now.wait()
            except TimeoutError:
                pass

    def _in_table(self, route_id: RouteId, replica_id: str) -> bool:
        route = self._supervisor.table.routes.get(route_id)
        return route is not None and any(endpoint.replica_id == replica_id for endpoint in route.endpoints)


def _report_of(figures: Figures, *, whole: bool) -> RouteReport:
    return RouteReport(
        version=figures.version,
        changes=not whole,
        endpoints=[encode(stats) for stats in figures.endpoints],
        routes=[encode(stats) for stats in figures.routes],
        latency_bounds_s=LATENCY_BOUNDS_S,
    )
