"""Figures: what is counted, and how the workers' counts become the proxy's.

Pure. Invariant: a merged count never goes down while its endpoint is known, also when the worker that counted is gone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from rookery.model import EndpointStats, RouteStats

# Upper bounds of the latency buckets; the last bucket is all above.
LATENCY_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

EndpointKey = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one worker counted since it started; `version` is the table it served then."""

    version: int = 0
    endpoints: tuple[EndpointStats, ...] = ()
    routes: tuple[RouteStats, ...] = ()
    connections: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retained:
    """What workers that are gone had counted."""

    endpoints: Mapping[EndpointKey, EndpointStats] = field(default_factory=dict)
    routes: Mapping[str, RouteStats] = field(default_factory=dict)


def merge(retained: Retained, workers: Iterable[Figures]) -> Figures:
    """The figures of all workers in one, as of the oldest table that any of them served."""
    endpoints: dict[EndpointKey, EndpointStats] = {}
    routes: dict[str, RouteStats] = {}
    versions, connections = [], 0
    for figures in workers:
        versions.append(figures.version)
        connections += figures.connections
        for stats in figures.endpoints:
            _add_endpoint(endpoints, stats)
        for route in figures.routes:
            _add_route(routes, route)
    for key, stats in retained.endpoints.items():
        if key in endpoints:
            _add_endpoint(endpoints, stats)
    for route_id, route in retained.routes.items():
        if route_id in routes:
            _add_route(routes, route)
    return Figures(
        version=min(versions, default=0),
        endpoints=tuple(endpoints.values()),
        routes=tuple(routes.values()),
        connections=connections,
    )


def retain(retained: Retained, gone: Figures) -> Retained:
    """What is kept of a worker that ended: its counts, with nothing in flight any more."""
    endpoints, routes = dict(retained.endpoints), dict(retained.routes)
    for stats in gone.endpoints:
        _add_endpoint(endpoints, replace(stats, in_flight=0))
    for route in gone.routes:
        _add_route(routes, replace(route, connections=0))
    return Retained(endpoints=endpoints, routes=routes)


def _add_endpoint(into: dict[EndpointKey, EndpointStats], stats: EndpointStats) -> None:
    key = (str(stats.replica_id), str(stats.route_id))
    held = into.get(key)
    if held is None:
        into[key] = stats
        return
    counts = zip(held.latency_counts, stats.latency_counts, strict=True)
    into[key] = EndpointStats(
        replica_id=stats.replica_id,
        route_id=stats.route_id,
        requests=held.requests + stats.requests,
        in_flight=held.in_flight + stats.in_flight,
        errors_connect=held.errors_connect + stats.errors_connect,
        errors_upstream=held.errors_upstream + stats.errors_upstream,
        responses_2xx=held.responses_2xx + stats.responses_2xx,
        responses_3xx=held.responses_3xx + stats.responses_3xx,
        responses_4xx=held.responses_4xx + stats.responses_4xx,
        responses_5xx=held.responses_5xx + stats.responses_5xx,
        bytes_in=held.bytes_in + stats.bytes_in,
        bytes_out=held.bytes_out + stats.bytes_out,
        latency_counts=tuple(a + b for a, b in counts),
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
    )
