"""The manager's metrics: the cluster as it is, and what the proxies counted.

A source is a coroutine; whoever has more to show adds another one to `Parts.metrics` (rookery.metrics).
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from operator import attrgetter

from rookery.metrics import Family, Histogram, Kind, gauge
from rookery.model import NodeState, ReplicaState, ServiceStatus, ServiceTraffic, TrafficFigures

from rookery_manager.api.find import services_of
from rookery_manager.api.needs import Api
from rookery_manager.api.services import statuses

_SERVICE = ("app", "service")
_REVISION = (*_SERVICE, "revision")

_OF_SERVICES = (
    ("rookery_service_replicas_wanted", "Replicas that a service is to have.", "wanted"),
    ("rookery_service_replicas_running", "Replicas of a service that run.", "running"),
    ("rookery_service_replicas_ready", "Replicas of a service that are ready.", "ready"),
    ("rookery_service_converged", "Whether a service is as it should be.", "converged"),
)
_OF_REVISIONS = (
    ("rookery_service_requests", "Requests that are over, at all proxies.", "requests"),
    ("rookery_service_connect_failures", "Connections that a replica did not take.", "errors_connect"),
    ("rookery_service_broken_answers", "Requests without an answer that is whole and well formed.", "errors_upstream"),
    ("rookery_service_ejections", "How often a proxy left a replica alone for a while.", "ejections"),
    ("rookery_service_sent_bytes", "Bytes that proxies sent to replicas.", "bytes_in"),
    ("rookery_service_received_bytes", "Bytes that replicas sent to proxies.", "bytes_out"),
)
_OF_TOTALS = (
    ("rookery_service_refused", Kind.COUNTER, "Requests that a proxy itself refused.", "refused"),
    ("rookery_service_resends", Kind.COUNTER, "Requests that broke and were sent again.", "resends"),
    ("rookery_service_resends_denied", Kind.COUNTER, "Requests that broke and were not, since too many were.", "resends_denied"),
    ("rookery_service_in_flight", Kind.GAUGE, "Requests and connections that replicas have now.", "in_flight"),
    ("rookery_service_tunnels", Kind.GAUGE, "TCP and upgraded connections that are open.", "connections"),
)
_CLASSES = ("2xx", "3xx", "4xx", "5xx")


def watch(api: Api) -> Callable[[], Awaitable[Iterable[Family]]]:
    """The source of a manager's metrics."""

    async def take() -> Iterable[Family]:
        services = services_of(api.state, "")
        return [
            *_cluster(api),
            *_authority(api),
            *service_families(statuses(api.state, "")),
            *traffic_families(api.proxies.traffic_of(services), api.proxies.latency_bounds_s),
        ]

    return take


def _cluster(api: Api) -> list[Family]:
    nodes = Counter(node.state for node in api.state.nodes.values())
    replicas = Counter(replica.state for replica in api.state.replicas.values() if not replica.ended)
    connected = Counter(proxy.connected for proxy in api.proxies.list())
    return [
        gauge("rookery_store_revision", "Revision of the store.", api.state.revision),
        gauge("rookery_route_table_version", "Version of the route table.", api.proxies.table_version()),
        gauge("rookery_started_at_seconds", "When the manager started, since the epoch.", api.started_at),
        gauge("rookery_proxies_connected", "Proxies that follow the routes.", connected[True]),
        Family(
            name="rookery_nodes",
            help="Nodes by state.",
            kind=Kind.GAUGE,
            labels=("state",),
            samples=[((str(state),), nodes[state]) for state in NodeState],
        ),
        Family(
            name="rookery_replicas",
            help="Replicas that have not ended, by state.",
            kind=Kind.GAUGE,
            labels=("state",),
            samples=[((str(state),), replicas[state]) for state in ReplicaState if state in replicas or not _ended(state)],
        ),
        Family(
            name="rookery_refused_messages",
            help="What agents and proxies said in vain, by kind.",
            kind=Kind.COUNTER,
            labels=("kind",),
            samples=[((kind,), count) for kind, count in sorted(api.refused.items())],
        ),
    ]


def _authority(api: Api) -> list[Family]:
    if api.rotation is None:
        return []
    status = api.rotation.status()
    waiting = sum(not mover.moved for mover in status.movers)
    return [
        gauge("rookery_authority_end_seconds", "When the certificate authority ends, since the epoch.", status.ends_at),
        gauge("rookery_authority_not_moved", "Agents, proxies and people still to move to a new authority.", waiting),
    ]


def service_families(found: Sequence[ServiceStatus]) -> list[Family]:
    """How services stand."""
    return [
        Family(
            name=name,
            help=help,
            kind=Kind.GAUGE,
            labels=_SERVICE,
            samples=[((s.service.app, s.service.name), float(getattr(s, field))) for s in found],
        )
        for name, help, field in _OF_SERVICES
    ]


def traffic_families(services: Sequence[ServiceTraffic], bounds_s: Sequence[float]) -> list[Family]:
    """What the proxies counted of services, by revision."""
    revisions = [((t.app, t.service, str(r.revision)), r.figures) for t in services for r in t.revisions]
    totals = [((t.app, t.service), t.total) for t in services]
    made = [
        Family(name=name, help=help, kind=Kind.COUNTER, labels=_REVISION, samples=_values(revisions, field))
        for name, help, field in _OF_REVISIONS
    ]
    made.append(
        Family(
            name="rookery_service_responses",
            help="Answers of replicas, by the status's class.",
            kind=Kind.COUNTER,
            labels=(*_REVISION, "code"),
            samples=[((*labels, code), v) for code in _CLASSES for labels, v in _values(revisions, f"responses_{code}")],
        )
    )
    made.append(
        Family(
            name="rookery_service_latency_seconds",
            help="Time from a request's head to its answer's.",
            kind=Kind.HISTOGRAM,
            labels=_REVISION,
            samples=[
                (labels, Histogram(bounds_s, figures.latency_counts, figures.latency_sum_s))
                for labels, figures in revisions
                if len(figures.latency_counts) == len(bounds_s) + 1
            ],
        )
    )
    made += [
        Family(name=name, help=help, kind=kind, labels=_SERVICE, samples=_values(totals, field))
        for name, kind, help, field in _OF_TOTALS
    ]
    return made


def _values(
    figures: Sequence[tuple[tuple[str, ...], TrafficFigures]], field: str
) -> list[tuple[tuple[str, ...], float | Histogram]]:
    value = attrgetter(field)
    return [(labels, value(one)) for labels, one in figures]


def _ended(state: ReplicaState) -> bool:
    return state in (ReplicaState.STOPPED, ReplicaState.FAILED, ReplicaState.LOST)
