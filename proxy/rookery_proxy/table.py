"""The route table as the proxy uses it: by route id, and by port, host and path.

Pure. Invariant: a Table never changes; an update makes a new one that shares all that the update did not touch.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from rookery.model import ListenProtocol, Route, RouteId, RouteTable


class Gap(Exception):
    """A delta that does not begin at the version in hand: the whole table is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One port and what is behind it: routes by host, those with the longest path first; host "" is any."""

    port: int
    hosts: Mapping[str, tuple[Route, ...]] = field(default_factory=dict)

    @property
    def protocol(self) -> ListenProtocol:
        """What clients speak here. A route with a host or a path needs HTTP; else what the first route says."""
        routes = [route for group in self.hosts.values() for route in group]
        if any(route.host or route.path for route in routes):
            return ListenProtocol.HTTP
        return min(routes, key=lambda route: route.id).protocol

    @property
    def only(self) -> Route | None:
        """The one route for every host and path, where that is all there is."""
        group = self.hosts.get("", ())
        return group[0] if len(self.hosts) == 1 and len(group) == 1 and not group[0].path.rstrip("/") else None

    def find(self, host: str, path: str) -> Route | None:
        """The route of a request: the exact host, else `*.parent`, else any; within a host the longest path prefix."""
        name = host.lower()
        candidates = [name]
        parent = name.partition(".")[2]
        while parent:
            candidates.append(f"*.{parent}")
            parent = parent.partition(".")[2]
        for candidate in (*candidates, ""):
            for route in self.hosts.get(candidate, ()):
                if under(path, route.path):
                    return route
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    version: int = 0
    routes: Mapping[RouteId, Route] = field(default_factory=dict)
    listeners: Mapping[int, Listener] = field(default_factory=dict)
    faults: Mapping[RouteId, str] = field(default_factory=dict)  # routes that can't be served, and why


def under(path: str, prefix: str) -> bool:
    """Whether a path is a prefix itself or below it: `/api` covers `/api` and `/api/x`, not `/apis`."""
    prefix = prefix.rstrip("/")
    return path.startswith(prefix) and (len(path) == len(prefix) or not prefix or path[len(prefix)] in "/?")


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
    if route.path and not route.path.startswith("/"):
        return f"{route.id}: the path {route.path!r} does not begin with /"
    return None


def _change(table: Table, version: int, puts: Iterable[Route], removes: Iterable[RouteId]) -> Table:
    routes = dict(table.routes)
    faults = dict(table.faults)
    touched: dict[int, set[str]] = {}
    new = {route.id: route for route in puts}

    for route_id in (*removes, *new):
        faults.pop(route_id, None)
        old = routes.pop(route_id, None)
        if old is not None:
            touched.setdefault(old.port, set()).add(old.host.lower())
    for route in new.values():
        routes[route.id] = route
        why = fault(route)
        if why is not None:
            faults[route.id] = why
        touched.setdefault(route.port, set()).add(route.host.lower())

    listeners = dict(table.listeners)
    groups: dict[tuple[int, str], list[Route]] = {}
    for port, names in touched.items():
        for name in names:
            groups[port, name] = [r for r in _group(table, port, name) if routes.get(r.id) is r]
    for route in new.values():
        if route.id not in faults:
            groups[route.port, route.host.lower()].append(route)
    for port, names in touched.items():
        hosts = dict(listeners[port].hosts) if port in listeners else {}
        for name in names:
            group = sorted(groups[port, name], key=lambda r: (-len(r.path.rstrip("/")), r.id))
            if group:
                hosts[name] = tuple(group)
            else:
                hosts.pop(name, None)
        if hosts:
            listeners[port] = Listener(port=port, hosts=hosts)
        else:
            listeners.pop(port, None)
    return replace(table, version=version, routes=routes, listeners=listeners, faults=faults)


def _group(table: Table, port: int, host: str) -> tuple[Route, ...]:
    listener = table.listeners.get(port)
    return listener.hosts.get(host, ()) if listener else ()
