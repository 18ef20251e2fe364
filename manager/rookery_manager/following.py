"""RoutingService: the proxies' streams. Routes go out, acknowledged versions and figures come in.

Invariant: what a proxy is sent is the table at a version, first whole, then as deltas from one version to the next.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from rookery import VERSION
from rookery.model import EndpointStats, ListenerError, ProxyInfo, RouteStats
from rookery.refusals import Refusals
from rookery.v1 import routing_pb2, routing_pb2_grpc, types_pb2
from rookery.wire import WireError, decode, encode

from rookery_manager.acme.serving import Shelf
from rookery_manager.identity.peers import caller, host_of, who_of
from rookery_manager.routing import Follower, RoutePlane

log = logging.getLogger("rookery.manager")

REPORT_S = 1.0
HELLO_S = 10.0
WRITE_S = 30.0  # a proxy that reads nothing for so long is ended; it connects anew
LONGEST_ID = 253

Context = grpc.aio.ServicerContext[routing_pb2.ProxyMessage, routing_pb2.RoutingMessage]


def _hello(message: routing_pb2.ProxyMessage | None) -> ProxyInfo:
    """What a proxy says first. Raises WireError where it makes no sense."""
    if message is None or message.WhichOneof("kind") != "hello":
        raise WireError("a proxy begins with its hello")
    info = decode(ProxyInfo, message.hello.info)
    if not 0 < len(info.id) <= LONGEST_ID or not info.id.isprintable():
        raise WireError(f"hello.info.id: a proxy needs an id, of 1 to {LONGEST_ID} printable characters")
    return info


async def _write(context: Context, message: routing_pb2.RoutingMessage) -> None:
    """Raises TimeoutError where the proxy does not read."""
    async with asyncio.timeout(WRITE_S):
        await context.write(message)


class RoutingService(routing_pb2_grpc.RoutingServiceServicer):
    def __init__(
        self,
        plane: RoutePlane,
        refusals: Refusals,
        *,
        lease_s: float,
        trust: Callable[[], types_pb2.Trust | None] = lambda: None,
        shelf: Shelf | None = None,
    ) -> None:
        self._plane = plane
        self._refusals = refusals
        self._lease_s = lease_s
        self._trust = trust
        self._shelf = shelf

    async def Follow(  # type: ignore[override]  # grpc.aio takes this form of a stream too: writing by the context
        self,
        request_iterator: AsyncIterator[routing_pb2.ProxyMessage],
        context: Context,
    ) -> None:
        try:
            async with asyncio.timeout(HELLO_S):
                info = _hello(await anext(aiter(request_iterator), None))
        except (WireError, DecodeError, TimeoutError) as error:
            why = str(error) or f"no hello within {HELLO_S:.0f} s"
            self._refusals.note("proxy-hello", f"a proxy at {context.peer()}: {why}")
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, why)
        peer = caller()
        if peer is not None and peer.id != info.id:
            why = f"{peer} says that it is {info.id}: a proxy reports for itself alone"
            self._refusals.note("denied", f"a caller at {context.peer()}: {why}", who=who_of(peer, context.peer()))
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, why)
        if not info.address:  # it listens on all that it has; from here it is seen at one of them
            info = replace(info, address=host_of(context.peer()))
        follower = self._plane.connect(info)
        log.info("proxy %s follows the routes from %s", info.id, info.hostname or context.peer())
        try:
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(self._send(follower, context))
                reading = group.create_task(self._read(follower, request_iterator))
                await asyncio.wait((sending, reading), return_when=asyncio.FIRST_COMPLETED)
                sending.cancel()
                reading.cancel()
        except* (WireError, DecodeError) as errors:
            self._refusals.note("proxy-message", f"proxy {info.id} says what is not understood: {errors.exceptions[0]}")
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(errors.exceptions[0]))
        except* TimeoutError:
            follower.ended = "it does not read what it is sent"
        finally:
            self._plane.disconnect(follower)
        if follower.ended:
            await context.abort(grpc.StatusCode.UNAVAILABLE, follower.ended)

    async def _read(self, follower: Follower, messages: AsyncIterator[routing_pb2.ProxyMessage]) -> None:
        async for message in messages:
            self._take(follower, message)

    async def _send(
        self,
        follower: Follower,
        context: Context,
    ) -> None:
        welcome = routing_pb2.RoutingWelcome(report_s=REPORT_S, lease_s=self._lease_s, manager_version=VERSION)
        await _write(context, routing_pb2.RoutingMessage(welcome=welcome))
        table = self._plane.table()
        await _write(context, routing_pb2.RoutingMessage(table=encode(table)))
        sent = table.version
        told: tuple[str, ...] = ()
        certificates = {"": ""}  # nothing was told, which is not the same as that there are none
        while True:
            trust = self._trust()
            if trust is not None and tuple(trust.authorities) != told:
                told = tuple(trust.authorities)
                await _write(context, routing_pb2.RoutingMessage(trust=trust))
            if self._shelf is not None:
                async for news in self._shelf.news(certificates):
                    await _write(context, routing_pb2.RoutingMessage(certificates=news))
            delta = await follower.deltas.get()
            if follower.ended:
                return
            if delta is None or delta.before > sent:
                table = self._plane.table()
                await _write(context, routing_pb2.RoutingMessage(table=encode(table)))
                sent = table.version
            elif delta.after > sent:
                message = routing_pb2.RouteDelta(
                    from_version=sent,
                    to_version=delta.after,
                    puts=[encode(route) for route in delta.puts],
                    removes=list(delta.removes),
                )
                await _write(context, routing_pb2.RoutingMessage(delta=message))
                sent = delta.after

    def _take(self, follower: Follower, message: routing_pb2.ProxyMessage) -> None:
        said = message.acknowledge.version if message.HasField("acknowledge") else message.report.version
        if said > self._plane.version:
            why = f"proxy {follower.info.id} tells of version {said} of the routes, and there is only {self._plane.version}"
            self._refusals.note("proxy-version", why)
        match message.WhichOneof("kind"):
            case "acknowledge":
                errors = tuple(decode(ListenerError, error) for error in message.acknowledge.listener_errors)
                self._plane.acknowledge(follower, message.acknowledge.version, errors)
            case "report":
                report = message.report
                endpoints = tuple(decode(EndpointStats, stats) for stats in report.endpoints)
                routes = tuple(decode(RouteStats, stats) for stats in report.routes)
                self._plane.learn_bounds(report.latency_bounds_s)
                self._plane.report(follower, report.version, endpoints, routes, changes=report.changes)
            case "hello":
                said_now = decode(ProxyInfo, message.hello.info)
                address = said_now.address or follower.info.address
                follower.info = replace(said_now, id=follower.info.id, address=address)
            case _:
                self._refusals.note("proxy-message", f"proxy {follower.info.id} says nothing that is known here")
