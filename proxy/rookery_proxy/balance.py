"""The table in force in a worker: its routes, endpoints and ports as they are served, and how the next table takes its place.

Invariant: an endpoint that left the table gets no new request, has no idle connection, and is kept (`leaving`) for the figures
until nothing is in flight on it.
"""

import ipaddress
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from rookery.model import ListenProtocol, PortProtocol, Route, RouteId

from rookery_proxy.access import AccessLog
from rookery_proxy.activity import Activity
from rookery_proxy.health import release
from rookery_proxy.live_endpoint import LiveEndpoint
from rookery_proxy.live_route import LiveRoute
from rookery_proxy.loop import Loop
from rookery_proxy.pool import Pool, pool_of
from rookery_proxy.request_id import RequestIds
from rookery_proxy.rules import live_rules
from rookery_proxy.settings import Here, Limits, Marks
from rookery_proxy.split import divide
from rookery_proxy.stats import Figures, Past
from rookery_proxy.sticky import sticky_named
from rookery_proxy.table import Listener, Table
from rookery_proxy.waiting import Holding


class Connection(Protocol):
    """Anything that a client has open here. `deadline` is an instant of the loop's clock."""

    @property
    def deadline(self) -> float: ...

    def expire(self) -> None:
        """The deadline passed."""

    def wind_down(self) -> None:
        """The port or the worker goes: end as soon as what is in flight is finished."""


class LiveListener:
    """A port as a worker serves it."""

    __slots__ = ("closed", "connections", "listener", "only", "protocol", "routes", "tls")

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self.closed = False
        self.listener: Listener | None = None
        self.protocol = ListenProtocol.DETECT
        self.tls = False
        self.only: LiveRoute | None = None
        self.routes: dict[RouteId, LiveRoute] = {}

    def serve(self, listener: Listener, routes: dict[RouteId, LiveRoute]) -> None:
        self.closed = False
        self.listener = listener
        self.protocol = listener.protocol
        self.tls = listener.tls
        self.routes = routes
        self.only = routes[listener.only.id] if listener.only else None

    def find(self, host: str, path: str, method: bytes = b"", block: bytes = b"") -> LiveRoute | None:
        if self.closed or self.listener is None:
            return None
        route = self.listener.find(host_name(host), path, method, block)
        return self.routes[route.id] if route else None

    def first(self) -> LiveRoute | None:
        """The route of a connection that names neither host nor path."""
        return self.only or self.find("", "/")


class Balance:
    """The routes, endpoints and ports of the table in force. `on_update` is told of each route that is another one now."""

    def __init__(self, here: Here | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._here = here or Here()
        self._clock = clock
        self.on_update: Callable[[LiveRoute], None] = lambda _: None
        self.table = Table()
        self.routes: dict[RouteId, LiveRoute] = {}
        self.listeners: dict[int, LiveListener] = {}
        self.activity: Activity[LiveRoute, LiveEndpoint] = Activity()
        self._leaving: list[LiveEndpoint] = []
        self._past = Past()

    def apply(self, table: Table, touched: Iterable[RouteId] | None = None) -> None:
        """Takes a table over. Its cost follows what changed: the `touched` routes, or (None) whatever is not the same."""
        before, self.table = self.table, table
        if touched is None:
            touched = before.routes.keys() | table.routes.keys()
        changed = [route_id for route_id in touched if before.routes.get(route_id) is not table.routes.get(route_id)]
        for route_id in changed:
            if route_id in table.routes:
                continue
            gone = self.routes.pop(route_id)
            self.activity.warm.pop(gone, None)
            self._past.forget(route_id)
            self._update(gone, replace(gone.route, endpoints=(), why_empty="it is no longer published", hold=None))
        for route_id in changed:
            route = table.routes.get(route_id)
            if route is None:
                continue
            live = self.routes.get(route_id)
            if live is None:
                live = self.routes[route_id] = LiveRoute(route, self.activity)
            self._update(live, route)
        for port, listener in table.listeners.items():
            if before.listeners.get(port) is not listener:
                self.listeners.setdefault(port, LiveListener()).serve(listener, self.routes)
        for port in before.listeners.keys() - table.listeners.keys():
            closed = self.listeners.pop(port)
            closed.closed = True
            closed.only = None
            for connection in tuple(closed.connections):
                connection.wind_down()

    def figures(self) -> Figures:
        """The figures of the endpoints that had a request, or left the table and are still to be told of; and of all routes."""
        live = [endpoint.stats() for route in self.routes.values() for endpoint in route.endpoints if endpoint.was_asked]
        return Figures(
            version=self.table.version,
            endpoints=(*live, *(endpoint.stats() for endpoint in self._leaving)),
            routes=tuple(route.stats() for route in self.routes.values()),
            past=self._past.all(),
        )

    def changes(self) -> Figures:
        """The figures that may not be what they were when changes were last told. Costs what they are.

        Endpoints that left and have nothing in flight are told for the last time, and are past from then on.
        """
        endpoints, routes, gone = [], [], []
        left, self._leaving = self._leaving, []
        for endpoint in left:
            stats = endpoint.stats()
            endpoints.append(stats)
            route = self.routes.get(endpoint.route_id)
            if route is not None and not route.touched:
                route.touch()
            if stats.in_flight:
                self._leaving.append(endpoint)
                continue
            gone.append((stats.route_id, stats.replica_id))
            if route is not None:
                self._past.add(stats)
        for live in self.activity.take_touched():
            live.touched = False
            if self.routes.get(live.route.id) is live:
                routes.append(live.stats())
                endpoints += [endpoint.stats() for endpoint in live.endpoints if endpoint.was_asked]
                if live.is_busy:
                    live.touch()
        known = {(stats.route_id, stats.replica_id) for stats in endpoints[len(left) :]}
        return Figures(
            version=self.table.version,
            endpoints=tuple(endpoints),
            routes=tuple(routes),
            past=self._past.changes(),
            changes=True,
            gone=tuple(key for key in gone if key not in known),
        )

    def sweep(self, now: float, idle_before: float) -> None:
        """Takes the routes' counts of requests down, for their budgets, and closes connections to endpoints that have been idle
        since then. Call it at least once a second."""
        for route in tuple(self.activity.warm):
            keeps = route.budget.mark(now, route.requests)
            for endpoint in route.endpoints:
                for shared in tuple(endpoint.shared):
                    shared.look_after(idle_before)
                while endpoint.idle and endpoint.idle[0].idle_since < idle_before:
                    endpoint.idle.pop(0).discard()
                keeps = keeps or bool(endpoint.idle or endpoint.shared)
            if not keeps and not route.touched:
                del self.activity.warm[route]

    def _update(self, live: LiveRoute, route: Route) -> None:
        if live.rules is None or live.route.rules != route.rules:
            live.rules = live_rules(route)
        live.route = route
        known = {(e.replica_id, e.name): e for e in live.endpoints}
        known.update({(e.replica_id, e.name): e for e in self._leaving if e.route_id == route.id})
        endpoints = []
        for endpoint in route.endpoints:
            if endpoint.protocol is not PortProtocol.TCP:
                continue
            held = known.pop((endpoint.replica_id, f"{endpoint.address}:{endpoint.port}"), None)
            if held is None:
                held = LiveEndpoint(route.id, endpoint, self._clock())
            elif held.gone:
                held.gone = False
                self._leaving.remove(held)
            held.weight, held.place = endpoint.weight, endpoint.place
            endpoints.append(held)
        self._retire(e for e in live.endpoints if e not in endpoints)
        live.endpoints = endpoints
        release(endpoints, self._clock())
        sides = live.sides = divide(route, endpoints)
        balancing, place, share = route.balancing, self._here.value(route.balancing.prefer), self._here.share
        live.pool = pool_of(balancing, endpoints, place, share)
        live.hashed = sticky_named(balancing.hash_header, balancing.hash_cookie)
        live.side_pools = None
        if sides is not None and live.pool is not None:
            live.side_pools = Pool(balancing, sides.new, place, share), Pool(balancing, sides.old, place, share)
        live.learn_patience()
        if not live.touched:
            live.touch()  # of each route is told once: nothing is known of one that is not told of, not even that nobody asks
        self.on_update(live)

    def _retire(self, endpoints: Iterable[LiveEndpoint]) -> None:
        for endpoint in endpoints:
            endpoint.leave()
            self._leaving.append(endpoint)


class Context:
    """What all connections of a worker share."""

    __slots__ = ("access", "announced_from", "balance", "draining", "forwarded", "holding", "ids", "limits", "loop")

    def __init__(
        self,
        loop: Loop,
        limits: Limits,
        access: AccessLog | None = None,
        here: Here | None = None,
        marks: Marks | None = None,
    ) -> None:
        self.loop = loop
        self.limits = limits
        self.access = access  # None: requests are not logged
        marks = marks or Marks()
        self.ids = RequestIds() if marks.request_ids else None
        self.forwarded = marks.forwarded
        self.announced_from = tuple(ipaddress.ip_network(network) for network in marks.announced_from)
        self.balance = Balance(here, lambda: loop.now)
        self.holding = Holding(loop)
        self.balance.on_update = self.holding.settle
        self.draining = False


def host_name(host: str) -> str:
    """A Host field's value without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].rstrip(".")
