"""What a worker knows of routes and endpoints while it serves them: what is in flight, what is idle, what fails.

Invariant: an endpoint that left the table gets no new request, has no idle connection, and is kept (`leaving`) for the figures
until nothing is in flight on it.
"""

import bisect
import functools
import ipaddress
import random
import socket
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from rookery.model import Endpoint, EndpointStats, ListenProtocol, PortProtocol, Route, RouteId, RouteStats

from rookery_proxy.loop import Loop
from rookery_proxy.pick import ejection_s, may_eject, pick
from rookery_proxy.stats import LATENCY_BOUNDS_S
from rookery_proxy.table import Listener, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long anything may take, in seconds."""

    detect_s: float = 0.2  # a client that is silent for so long on a port of unknown protocol waits for the server to speak
    head_s: float = 15.0  # from a head's first byte to its last; also from the connection to the first byte
    idle_s: float = 75.0  # between two requests of a client
    upstream_idle_s: float = 60.0
    connect_s: float = 3.0
    answer_s: float = 120.0  # from the request to the answer's first byte
    stall_s: float = 120.0  # without a byte moving within a body
    tunnel_s: float = 3600.0  # without a byte moving on a TCP or upgraded connection
    linger_s: float = 2.0  # for a refused client to read why


class Pooled(Protocol):
    """An idle connection to an endpoint."""

    idle_since: float

    def discard(self) -> None: ...

    def is_stale(self) -> bool: ...


class Connection(Protocol):
    """Anything that a client has open here. `deadline` is an instant of the loop's clock."""

    deadline: float

    def expire(self) -> None:
        """The deadline passed."""

    def wind_down(self) -> None:
        """The port or the worker goes: end as soon as what is in flight is finished."""


class LiveEndpoint:
    __slots__ = (
        "address", "bytes_in", "bytes_out", "ejected_until", "errors_connect", "errors_upstream", "failures", "family", "gone",
        "idle", "in_flight", "latency_counts", "name", "replica_id", "requests", "responses", "route_id",
    )  # fmt: skip

    def __init__(self, route_id: RouteId, endpoint: Endpoint) -> None:
        self.route_id = route_id
        self.replica_id = endpoint.replica_id
        self.family, self.address = _resolve(endpoint.address, endpoint.port)
        self.name = f"{endpoint.address}:{endpoint.port}"
        self.idle: list[Pooled] = []
        self.in_flight = 0
        self.ejected_until = 0.0
        self.failures = 0  # connects in a row
        self.gone = False
        self.requests = 0
        self.errors_connect = 0
        self.errors_upstream = 0
        self.responses = [0] * 6  # by the status's first digit
        self.bytes_in = 0
        self.bytes_out = 0
        self.latency_counts = [0] * (len(LATENCY_BOUNDS_S) + 1)

    def leave(self) -> None:
        self.gone = True
        idle, self.idle = self.idle, []
        for connection in idle:
            connection.discard()

    def answered(self, status: int, seconds: float) -> None:
        self.responses[status // 100] += 1
        self.latency_counts[bisect.bisect_left(LATENCY_BOUNDS_S, seconds)] += 1

    def stats(self) -> EndpointStats:
        return EndpointStats(
            replica_id=self.replica_id,
            route_id=self.route_id,
            requests=self.requests,
            in_flight=self.in_flight,
            errors_connect=self.errors_connect,
            errors_upstream=self.errors_upstream,
            responses_2xx=self.responses[2],
            responses_3xx=self.responses[3],
            responses_4xx=self.responses[4],
            responses_5xx=self.responses[5],
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            latency_counts=tuple(self.latency_counts),
        )


class LiveRoute:
    __slots__ = ("connections", "endpoints", "random", "refused", "requests", "route")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.endpoints: list[LiveEndpoint] = []
        self.requests = 0
        self.refused = 0
        self.connections = 0
        self.random = random.random

    def choose(self, now: float, tried: Collection[LiveEndpoint] = ()) -> LiveEndpoint | None:
        return pick(self.endpoints, self.random(), self.random(), now, tried)

    def connect_failed(self, endpoint: LiveEndpoint, now: float) -> None:
        endpoint.errors_connect += 1
        endpoint.failures += 1
        if endpoint.ejected_until <= now and may_eject(self.endpoints, now):
            endpoint.ejected_until = now + ejection_s(endpoint.failures)

    def why_none(self) -> str:
        route = self.route
        return f"{route.app}/{route.service}: {route.why_empty or 'no replica is ready'}"


class LiveListener:
    """A port as a worker serves it."""

    __slots__ = ("closed", "connections", "listener", "only", "protocol", "routes")

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self.closed = False
        self.listener: Listener | None = None
        self.protocol = ListenProtocol.DETECT
        self.only: LiveRoute | None = None
        self.routes: dict[RouteId, LiveRoute] = {}

    def serve(self, listener: Listener, routes: dict[RouteId, LiveRoute]) -> None:
        self.closed = False
        self.listener = listener
        self.protocol = listener.protocol
        self.routes = routes
        self.only = routes[listener.only.id] if listener.only else None

    def find(self, host: str, path: str) -> LiveRoute | None:
        if self.closed or self.listener is None:
            return None
        route = self.listener.find(host_name(host), path)
        return self.routes[route.id] if route else None

    def first(self) -> LiveRoute | None:
        """The route of a connection that names neither host nor path."""
        return self.only or self.find("", "/")


class Balance:
    """The routes, endpoints and ports of the table in force."""

    def __init__(self) -> None:
        self.table = Table()
        self.routes: dict[RouteId, LiveRoute] = {}
        self.listeners: dict[int, LiveListener] = {}
        self._leaving: list[LiveEndpoint] = []

    def apply(self, table: Table) -> None:
        """Takes a table over. Its cost follows what changed."""
        before, self.table = self.table, table
        for route_id in before.routes.keys() - table.routes.keys():
            self._retire(self.routes.pop(route_id).endpoints)
        for route_id, route in table.routes.items():
            if before.routes.get(route_id) is route:
                continue
            live = self.routes.get(route_id)
            if live is None:
                live = self.routes[route_id] = LiveRoute(route)
            self._update(live, route)
        for port, listener in table.listeners.items():
            if before.listeners.get(port) is not listener:
                self.listeners.setdefault(port, LiveListener()).serve(listener, self.routes)
        for port in before.listeners.keys() - table.listeners.keys():
            gone = self.listeners.pop(port)
            gone.closed = True
            gone.only = None
            for connection in tuple(gone.connections):
                connection.wind_down()

    def endpoint_stats(self) -> tuple[EndpointStats, ...]:
        """The figures of the table's endpoints, and of those that left it since the last time or have something in flight."""
        live = [endpoint.stats() for route in self.routes.values() for endpoint in route.endpoints]
        left = [endpoint.stats() for endpoint in self._leaving]  # those with nothing in flight are told for the last time
        self._leaving = [endpoint for endpoint in self._leaving if endpoint.in_flight]
        return (*live, *left)

    def route_stats(self) -> tuple[RouteStats, ...]:
        return tuple(
            RouteStats(route_id=route_id, requests=live.requests, refused=live.refused, connections=live.connections)
            for route_id, live in self.routes.items()
        )

    def close_idle(self, before: float) -> None:
        """Closes connections to endpoints that have been idle since then."""
        for route in self.routes.values():
            for endpoint in route.endpoints:
                while endpoint.idle and endpoint.idle[0].idle_since < before:
                    endpoint.idle.pop(0).discard()

    def _update(self, live: LiveRoute, route: Route) -> None:
        live.route = route
        known = {(e.replica_id, e.name): e for e in live.endpoints}
        known.update({(e.replica_id, e.name): e for e in self._leaving if e.route_id == route.id})
        endpoints = []
        for endpoint in route.endpoints:
            if endpoint.protocol is not PortProtocol.TCP:
                continue
            held = known.pop((endpoint.replica_id, f"{endpoint.address}:{endpoint.port}"), None)
            if held is None:
                held = LiveEndpoint(route.id, endpoint)
            elif held.gone:
                held.gone = False
                self._leaving.remove(held)
            endpoints.append(held)
        self._retire(e for e in live.endpoints if e not in endpoints)
        live.endpoints = endpoints

    def _retire(self, endpoints: Iterable[LiveEndpoint]) -> None:
        for endpoint in endpoints:
            endpoint.leave()
            self._leaving.append(endpoint)


class Context:
    """What all connections of a worker share."""

    __slots__ = ("balance", "draining", "limits", "loop")

    def __init__(self, loop: Loop, limits: Limits) -> None:
        self.loop = loop
        self.limits = limits
        self.balance = Balance()
        self.draining = False


def dial(endpoint: LiveEndpoint) -> socket.socket:
    """A socket on its way to an endpoint. Raises OSError when that fails at once."""
    sock = socket.socket(endpoint.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect(endpoint.address)
    except BlockingIOError:
        pass
    except OSError:
        sock.close()
        raise
    return sock


def host_name(host: str) -> str:
    """A Host field's value without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].rstrip(".")


@functools.lru_cache(maxsize=4096)
def _resolve(address: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        version = ipaddress.ip_address(address).version
        return (socket.AF_INET if version == 4 else socket.AF_INET6), (address, port)
    except ValueError:
        pass
    try:
        family, _, _, _, found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        return family, (str(found[0]), port)
    except OSError:
        return socket.AF_INET, ("0.0.0.0", 0)  # every connect fails, and is counted as such
