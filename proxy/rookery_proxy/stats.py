"""Figures: what is counted, and how the workers' counts become the proxy's.

Pure. Invariant: a merged count never goes down while its endpoint is known, also when the worker that counted is gone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from rookery.model import EndpointStats, ReplicaId, RouteId, RouteStats

# Upper bounds of the latency buckets; the last bucket is all above.
LATENCY_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_MOST_PAST_REVISIONS = 4  # of a route, the newest: what served long ago is of no interest

EndpointKey = tuple[str, str]
PastKey = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one worker counted since it started; `version` is the table it served then.

    `past` is what endpoints that are no longer told of had counted, by route and revision: sums over it and `endpoints` never go
    down.
    """

    version: int = 0
    endpoints: tuple[EndpointStats, ...] = ()
    routes: tuple[RouteStats, ...] = ()
    connections: int = 0
    past: tuple[EndpointStats, ...] = ()
    changes: bool = False  # only what is not as it was when changes were last told; `gone` are told for the last time
    gone: tuple[tuple[RouteId, ReplicaId], ...] = ()


class Past:
    """Counts of endpoints that are gone, by route and revision."""

    def __init__(self, of: Iterable[EndpointStats] = ()) -> None:
        self._held: dict[str, dict[int, EndpointStats]] = {}
        self._changed: set[PastKey] = set()
        for stats in of:
            self.add(stats)

    def add(self, stats: EndpointStats) -> None:
        """Takes over what an endpoint had counted, or another past."""
        revisions = self._held.setdefault(stats.route_id, {})
        held = revisions.get(stats.revision)
        anonymous = replace(stats, replica_id=ReplicaId(""), in_flight=0)
        self.put(anonymous if held is None else _sum(held, anonymous))

    def put(self, stats: EndpointStats) -> None:
        """Takes over what is known of a route and revision by now."""
        revisions = self._held.setdefault(stats.route_id, {})
        revisions[stats.revision] = stats
        self._changed.add((stats.route_id, stats.revision))
        for old in sorted(revisions)[:-_MOST_PAST_REVISIONS]:
            del revisions[old]

    def changes(self) -> tuple[EndpointStats, ...]:
        """What is not as it was the last time."""
        changed, self._changed = self._changed, set()
        found = (self._held.get(route_id, {}).get(revision) for route_id, revision in changed)
        return tuple(stats for stats in found if stats is not None)

    def forget(self, route_id: str) -> None:
        self._held.pop(route_id, None)

    def all(self) -> tuple[EndpointStats, ...]:
        return tuple(stats for revisions in self._held.values() for stats in revisions.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Retained:
    """What workers that are gone had counted."""

    endpoints: Mapping[EndpointKey, EndpointStats] = field(default_factory=dict)
    routes: Mapping[str, RouteStats] = field(default_factory=dict)
    past: tuple[EndpointStats, ...] = ()

    def of(self, keys: Iterable[tuple[RouteId, ReplicaId]], routes: Iterable[RouteId]) -> Figures:
        """What is kept of these endpoints and routes."""
        endpoints = (
            (self.endpoints.get((str(replica_id), str(route_id))) for route_id, replica_id in keys) if self.endpoints else ()
        )
        return Figures(
            endpoints=tuple(stats for stats in endpoints if stats is not None),
            routes=tuple(self.routes[route_id] for route_id in routes if route_id in self.routes) if self.routes else (),
        )

    def without(self, routes: frozenset[RouteId]) -> "Retained":
        """What is kept when these routes are forgotten."""
        if not routes or not (self.endpoints or self.routes or self.past):
            return self
        return Retained(
            endpoints={key: stats for key, stats in self.endpoints.items() if stats.route_id not in routes},
            routes={route_id: stats for route_id, stats in self.routes.items() if route_id not in routes},
            past=tuple(stats for stats in self.past if stats.route_id not in routes),
        )


def merge(retained: Retained, workers: Iterable[Figures]) -> Figures:
    """The figures of all workers in one, as of the oldest table that any of them served."""
    endpoints: dict[EndpointKey, EndpointStats] = {}
    routes: dict[str, RouteStats] = {}
    versions, connections = [], 0
    past = Past(retained.past)
    for figures in workers:
        versions.append(figures.version)
        connections += figures.connections
        for stats in figures.endpoints:
            _add_endpoint(endpoints, stats)
        for route in figures.routes:
            _add_route(routes, route)
        for stats in figures.past:
            past.add(stats)
    for key, stats in retained.endpoints.items():
        if key in endpoints:
            _add_endpoint(endpoints, stats)
        else:
            past.add(stats)
    for route_id, route in retained.routes.items():
        if route_id in routes:
            _add_route(routes, route)
    return Figures(
        version=min(versions, default=0),
        endpoints=tuple(endpoints.values()),
        routes=tuple(routes.values()),
        connections=connections,
        past=past.all(),
    )


def retain(retained: Retained, gone: Figures) -> Retained:
    """What is kept of a worker that ended: its counts, with nothing in flight any more."""
    endpoints, routes = dict(retained.endpoints), dict(retained.routes)
    for stats in gone.endpoints:
        _add_endpoint(endpoints, replace(stats, in_flight=0))
    for route in gone.routes:
        _add_route(routes, replace(route, connections=0, held=0))
    return Retained(endpoints=endpoints, routes=routes, past=Past((*retained.past, *gone.past)).all())


def _add_endpoint(into: dict[EndpointKey, EndpointStats], stats: EndpointStats) -> None:
    key = (str(stats.replica_id), str(stats.route_id))
    held = into.get(key)
    into[key] = stats if held is None else _sum(held, stats)


def _sum(held: EndpointStats, stats: EndpointStats) -> EndpointStats:
    """The counts of both, of the same endpoint or past."""
    counts = zip(held.latency_counts, stats.latency_counts, strict=True)
    return EndpointStats(
        replica_id=stats.replica_id,
        route_id=stats.route_id,
        revision=stats.revision,
        requests=held.requests + stats.requests,
        in_flight=held.in_flight + stats.in_flight,
        errors_connect=held.errors_connect + stats.errors_connect,
        errors_upstream=held.errors_upstream + stats.errors_upstream,
        ejections=held.ejections + stats.ejections,
        responses_2xx=held.responses_2xx + stats.responses_2xx,
        responses_3xx=held.responses_3xx + stats.responses_3xx,
        responses_4xx=held.responses_4xx + stats.responses_4xx,
        responses_5xx=held.responses_5xx + stats.responses_5xx,
        bytes_in=held.bytes_in + stats.bytes_in,
        bytes_out=held.bytes_out + stats.bytes_out,
        latency_counts=tuple(a + b for a, b in counts),
        latency_sum_s=held.latency_sum_s + stats.latency_sum_s,
    )


def _add_route(into: dict[str, RouteStats], stats: RouteStats) -> None:
    held = into.get(stats.route_id)
    if held is None:
        into[stats.route_id] = stats
        return
    into[stats.route_id] = RouteStats(
        route_id=stats.route_id,
        requests=held.requests + stats.requests,
        refused=held.refused + stats.refused,
        connections=held.connections + stats.connections,
        resends=held.resends + stats.resends,
        resends_denied=held.resends_denied + stats.resends_denied,
        held=held.held + stats.held,
    )
