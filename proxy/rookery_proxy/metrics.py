"""The proxy's metrics, made of the figures of all its workers.

Pure but for `watch`. Endpoints have counters; latencies are by service and revision, whose series stay when endpoints go.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from operator import attrgetter

from rookery.metrics import Family, Histogram, Kind, gauge
from rookery.model import EndpointStats, RouteStats

from rookery_proxy.follow import Follower
from rookery_proxy.stats import LATENCY_BOUNDS_S, Figures
from rookery_proxy.supervise import Supervisor

_SERVICE = ("app", "service")
_REVISION = (*_SERVICE, "revision")
_ENDPOINT = (*_REVISION, "replica")

_OF_ENDPOINTS = (
    ("rookery_proxy_requests", Kind.COUNTER, "Requests and TCP connections that were given to an endpoint.", "requests"),
    ("rookery_proxy_in_flight", Kind.GAUGE, "Requests and connections that an endpoint has now.", "in_flight"),
    ("rookery_proxy_connect_failures", Kind.COUNTER, "Connections that an endpoint did not take.", "errors_connect"),
    (
        "rookery_proxy_broken_answers",
        Kind.COUNTER,
        "Requests without a whole and well-formed answer.",
        "errors_upstream",
    ),
    ("rookery_proxy_ejections", Kind.COUNTER, "How often an endpoint was left alone for a while.", "ejections"),
    ("rookery_proxy_sent_bytes", Kind.COUNTER, "Bytes that were sent to an endpoint.", "bytes_in"),
    ("rookery_proxy_received_bytes", Kind.COUNTER, "Bytes that an endpoint sent.", "bytes_out"),
)
_OF_ROUTES = (
    ("rookery_proxy_refused", Kind.COUNTER, "Requests that the proxy itself refused.", "refused"),
    ("rookery_proxy_resends", Kind.COUNTER, "Requests that broke and were sent again.", "resends"),
    ("rookery_proxy_resends_denied", Kind.COUNTER, "Requests that broke and were not, since too many were.", "resends_denied"),
    ("rookery_proxy_tunnels", Kind.GAUGE, "TCP and upgraded connections that are open.", "connections"),
)
_CLASSES = ("2xx", "3xx", "4xx", "5xx")


def watch(supervisor: Supervisor, follower: Follower) -> Callable[[], Awaitable[Iterable[Family]]]:
    """The source of a proxy's metrics."""

    async def take() -> Iterable[Family]:
        figures = await supervisor.figures()
        workers = len(supervisor.pids())
        made = families(figures, workers=workers, connected=follower.connected, unserved=len(supervisor.listener_errors()))
        if supervisor.served():
            made.append(
                Family(
                    name="rookery_proxy_certificate_expires_at_seconds",
                    help="When a certificate expires, since the epoch.",
                    kind=Kind.GAUGE,
                    labels=("file",),
                    samples=[((c.chain,), c.expires_at) for c in supervisor.served()],
                )
            )
        return made

    return take


def families(figures: Figures, *, workers: int, connected: bool, unserved: int) -> list[Family]:
    """What is shown of these figures."""
    made = [
        gauge("rookery_proxy_workers", "Worker processes that serve.", workers),
        gauge("rookery_proxy_connected", "Whether the manager is there.", float(connected)),
        gauge("rookery_proxy_table_version", "Version of the route table that is served.", figures.version),
        gauge("rookery_proxy_connections", "Connections of clients that are open.", figures.connections),
        gauge("rookery_proxy_unserved", "Ports and routes of the table that can't be served.", unserved),
    ]
    endpoints: dict[tuple[str, ...], list[EndpointStats]] = {}
    revisions: dict[tuple[str, ...], list[EndpointStats]] = {}
    for stats in figures.endpoints:
        revision = (*_service_of(stats.route_id), str(stats.revision))
        endpoints.setdefault((*revision, stats.replica_id), []).append(stats)
        revisions.setdefault(revision, []).append(stats)
    for stats in figures.past:
        revisions.setdefault((*_service_of(stats.route_id), str(stats.revision)), []).append(stats)
    routes: dict[tuple[str, ...], list[RouteStats]] = {}
    for route in figures.routes:
        routes.setdefault(_service_of(route.route_id), []).append(route)

    for name, kind, help, field in _OF_ENDPOINTS:
        made.append(Family(name=name, help=help, kind=kind, labels=_ENDPOINT, samples=_sums(endpoints, field)))
    made.append(
        Family(
            name="rookery_proxy_responses",
            help="Answers of an endpoint, by the status's class.",
            kind=Kind.COUNTER,
            labels=(*_ENDPOINT, "code"),
            samples=[
                ((*labels, code), value)
                for code in _CLASSES
                for labels, value in _sums(endpoints, f"responses_{code}")
            ],
        )
    )  # fmt: skip
    made.append(
        Family(
            name="rookery_proxy_latency_seconds",
            help="Time from a request's head to its answer's.",
            kind=Kind.HISTOGRAM,
            labels=_REVISION,
            samples=[(labels, _histogram(group)) for labels, group in revisions.items()],
        )
    )
    for name, kind, help, field in _OF_ROUTES:
        made.append(Family(name=name, help=help, kind=kind, labels=_SERVICE, samples=_sums(routes, field)))
    return made


def _service_of(route_id: str) -> tuple[str, str]:
    app, _, service = route_id.partition(":")[0].partition("/")
    return app, service


def _sums(groups: dict[tuple[str, ...], list[EndpointStats]] | dict[tuple[str, ...], list[RouteStats]], field: str) -> list[
    tuple[tuple[str, ...], float | Histogram]
]:  # fmt: skip
    value = attrgetter(field)
    return [(labels, sum(map(value, group))) for labels, group in groups.items()]


def _histogram(group: Sequence[EndpointStats]) -> Histogram:
    counts = [sum(column) for column in zip(*(stats.latency_counts for stats in group), strict=True)]
    return Histogram(LATENCY_BOUNDS_S, counts, sum(stats.latency_sum_s for stats in group))
