"""The route table as the proxy uses it: by route id, and by port, host and path.

Pure. Invariant: a Table never changes; an update makes a new one that shares all that the update did not touch.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from rookery.http_rules import rules_faults
from rookery.model import ListenProtocol, Route, RouteId, RouteTable
from rookery.model.http_rules import rank

from rookery_proxy.selection import selects


class Gap(Exception):
    """A delta that does not begin at the version in hand: the whole table is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """The routes of one host: by path, without a `/` at its end, and of one path in the order in which they are asked."""

    routes: Mapping[str, tuple[Route, ...]]
    longest: int  # of the paths, in characters

    def find(self, path: str, method: bytes, block: bytes) -> Route | None:
        end = len(path)
        if end > self.longest:  # what is cut off is no route's, and a long path of slashes costs no more than a short one
            end = max(0, path.rfind("/", 0, self.longest + 1))
        while True:
            for route in self.routes.get(path[:end], ()):
                if not route.rules.is_selective or selects(route.rules, method, block):
                    return route
            if not end:
                return None
            end = max(0, path.rfind("/", 0, end))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """How many of a port's routes are of a kind: counted, so that a change of one route does not look at all of them."""

    http2: int = 0
    http: int = 0  # beyond doubt: it has a host, a path, rules or TLS
    tls: int = 0

    def with_(self, route: Route, number: int) -> "Kinds":
        """With so many more of such a route."""
        is_http = bool(route.host or route.path or route.rules.is_selective or route.tls)
        return Kinds(
            http2=self.http2 + number * (route.protocol is ListenProtocol.HTTP2),
            http=self.http + number * is_http,
            tls=self.tls + number * route.tls,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One port and what is behind it: routes by host; host "" is any."""

    port: int
    hosts: Mapping[str, Paths] = field(default_factory=dict)
    kinds: "Kinds" = field(default_factory=lambda: Kinds())

    @property
    def routes(self) -> Iterator[Route]:
        return (route for paths in self.hosts.values() for group in paths.routes.values() for route in group)

    @property
    def protocol(self) -> ListenProtocol:
        """What clients speak here: HTTP/2 if a route says so. A route with a host or a path needs HTTP; else what the first route
        says."""
        if self.kinds.http2:
            return ListenProtocol.HTTP2
        if self.kinds.http:
            return ListenProtocol.HTTP
        return min(self.routes, key=lambda route: route.id).protocol

    @property
    def tls(self) -> bool:
        """Whether clients speak TLS here."""
        return self.kinds.tls > 0

    @property
    def only(self) -> Route | None:
        """The one route for every host and path, where that is all there is."""
        paths = self.hosts.get("")
        if paths is None or len(self.hosts) > 1 or paths.routes.keys() != {""}:
            return None
        first, *others = paths.routes[""]
        return first if not others and not first.rules.is_selective else None

    def find(self, host: str, path: str, method: bytes = b"", block: bytes = b"") -> Route | None:
        """The route of a request: the exact host, else `*.parent`, else any; within a host the longest path prefix (`/api` covers
        `/api` and `/api/x`, not `/apis`); of one path the route that asks for the most headers, then one that asks for methods.
        `block` are the request's header fields.
        """
        name = host.lower()
        candidates = [name]
        parent = name.partition(".")[2]
        while parent:
            candidates.append(f"*.{parent}")
            parent = parent.partition(".")[2]
        for candidate in (*candidates, ""):
            paths = self.hosts.get(candidate)
            if paths is not None:
                route = paths.find(path, method, block)
                if route is not None:
                    return route
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    version: int = 0
    routes: Mapping[RouteId, Route] = field(default_factory=dict)
    listeners: Mapping[int, Listener] = field(default_factory=dict)
    faults: Mapping[RouteId, str] = field(default_factory=dict)  # routes that can't be served, and why


def build(table: RouteTable) -> Table:
    """The whole table, indexed."""
    return _change(Table(version=table.version), table.version, table.routes, ())


def advance(table: Table, from_version: int, to_version: int, puts: Iterable[Route], removes: Iterable[RouteId]) -> Table:
    """The table after a delta. Raises Gap for a delta that begins elsewhere or goes back."""
    if from_version != table.version:
        raise Gap(f"a change from version {from_version} does not fit version {table.version}")
    if to_version < from_version:
        raise Gap(f"a change from version {from_version} to {to_version} goes back")
    return _change(table, to_version, puts, removes)


def fault(route: Route) -> str | None:
    """Why a route can't be served at all, if so."""
    if not 0 < route.port < 65536:
        return f"{route.id}: {route.port} is no port; it must be from 1 to 65535"
    if route.protocol is ListenProtocol.UDP:
        return f"{route.id}: UDP is not balanced yet; use mode: host"
    if route.proxy_protocol not in (0, 1, 2):
        return f"{route.id}: version {route.proxy_protocol} of the PROXY protocol is not known"
    if route.path and not route.path.startswith("/"):
        return f"{route.id}: the path {route.path!r} does not begin with /"
    for where, why in rules_faults(route.rules, route.path):
        return f"{route.id}: {where}: {why}"
    return None


def _change(table: Table, version: int, puts: Iterable[Route], removes: Iterable[RouteId]) -> Table:
    routes = dict(table.routes)
    faults = dict(table.faults)
    gone: list[Route] = []
    new = {route.id: route for route in puts}
    for route_id in (*removes, *new):
        faults.pop(route_id, None)
        old = routes.pop(route_id, None)
        if old is not None:
            gone.append(old)
    for route in new.values():
        routes[route.id] = route
        why = fault(route)
        if why is not None:
            faults[route.id] = why

    # By port, host and path: what was there, but for what is gone or new, and what is new.
    touched: dict[int, dict[str, dict[str, list[Route]]]] = {}
    for route in (*gone, *new.values()):
        host, path = route.host.lower(), _path(route)
        ways = touched.setdefault(route.port, {}).setdefault(host, {})
        if path not in ways:
            ways[path] = [held for held in _held(table, route.port, host, path) if routes.get(held.id) is held]
    for route in new.values():
        if route.id not in faults:
            touched[route.port][route.host.lower()][_path(route)].append(route)

    listeners = dict(table.listeners)
    kinds = {port: table.listeners[port].kinds if port in table.listeners else Kinds() for port in touched}
    for route in gone:
        if route.id not in table.faults:
            kinds[route.port] = kinds[route.port].with_(route, -1)
    for route in new.values():
        if route.id not in faults:
            kinds[route.port] = kinds[route.port].with_(route, 1)
    for port, by_host in touched.items():
        hosts = dict(listeners[port].hosts) if port in listeners else {}
        for host, ways in by_host.items():
            paths = _paths(hosts.get(host), ways)
            if paths is not None:
                hosts[host] = paths
            else:
                hosts.pop(host, None)
        if hosts:
            listeners[port] = Listener(port=port, hosts=hosts, kinds=kinds[port])
        else:
            listeners.pop(port, None)
    return replace(table, version=version, routes=routes, listeners=listeners, faults=faults)


def _paths(before: Paths | None, ways: Mapping[str, list[Route]]) -> Paths | None:
    """A host's routes with these in the place of what had their paths; None where none is left."""
    routes = dict(before.routes) if before is not None else {}
    for path, group in ways.items():
        if group:
            routes[path] = tuple(sorted(group, key=lambda route: (*rank(route.rules), route.id)))
        else:
            routes.pop(path, None)
    return Paths(routes=routes, longest=max(map(len, routes))) if routes else None


def _path(route: Route) -> str:
    return route.path.rstrip("/")


def _held(table: Table, port: int, host: str, path: str) -> tuple[Route, ...]:
    listener = table.listeners.get(port)
    paths = listener.hosts.get(host) if listener is not None else None
    return paths.routes.get(path, ()) if paths is not None else ()
