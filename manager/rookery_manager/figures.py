"""What the proxies counted since this manager started, by service, revision and replica: for operators and for Prometheus.

Invariant: no count goes down while its service is there, whatever proxies and replicas come and go: a counter that does would
be taken for a new one, and its whole value for growth.
"""

import math
from collections.abc import Iterable, Mapping
from operator import attrgetter

from rookery.model import (
    EndpointStats,
    Replica,
    ReplicaId,
    ReplicaTraffic,
    RevisionTraffic,
    RouteStats,
    Service,
    ServiceKey,
    ServiceTraffic,
    TrafficFigures,
)

from rookery_manager.traffic import MOST_BUCKETS

MOST_GROWN = 10**12  # of any count between two reports: keeps a proxy's nonsense within what can be added up
MOST_REVISIONS = 8  # of a service, the newest; the others are in its total only

_COUNTED = (
    "errors_connect", "errors_upstream", "responses_2xx", "responses_3xx", "responses_4xx", "responses_5xx", "bytes_in",
    "bytes_out", "ejections",
)  # fmt: skip
_ROUTE_COUNTED = ("refused", "resends", "resends_denied")
_counts_of = attrgetter(*_COUNTED)
_route_counts_of = attrgetter(*_ROUTE_COUNTED)


class _Tally:
    """Counts that are added to."""

    __slots__ = ("counts", "latency_counts", "latency_sum_s", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.counts = [0] * len(_COUNTED)
        self.latency_counts: list[int] = []
        self.latency_sum_s = 0.0

    def add(self, requests: int, counts: list[int], latency_counts: list[int], latency_sum_s: float) -> None:
        self.requests += requests
        self.counts = [a + b for a, b in zip(self.counts, counts, strict=True)]
        if len(self.latency_counts) < len(latency_counts):
            self.latency_counts += [0] * (len(latency_counts) - len(self.latency_counts))
        for index, count in enumerate(latency_counts):
            self.latency_counts[index] += count
        self.latency_sum_s += latency_sum_s

    def figures(self, *, in_flight: int, connections: int = 0, route_counts: Iterable[int] = (0, 0, 0)) -> TrafficFigures:
        return TrafficFigures(
            requests=self.requests,
            in_flight=in_flight,
            latency_counts=tuple(self.latency_counts),
            latency_sum_s=self.latency_sum_s,
            connections=connections,
            **dict(zip(_COUNTED, self.counts, strict=True)),
            **dict(zip(_ROUTE_COUNTED, route_counts, strict=True)),
        )


class Ledger:
    """Keeps figures of known replicas and services alone. `replicas` and `services` are the records as they are now."""

    def __init__(self, replicas: Mapping[ReplicaId, Replica], services: Mapping[ServiceKey, Service]) -> None:
        self._replicas = replicas
        self._services = services
        self._by_replica: dict[ReplicaId, _Tally] = {}
        self._by_revision: dict[ServiceKey, dict[int, _Tally]] = {}
        self._totals: dict[ServiceKey, _Tally] = {}
        self._route_counts: dict[ServiceKey, list[int]] = {}

    def grew(self, before: EndpointStats | None, after: EndpointStats) -> None:
        """An endpoint of a known replica was reported; `before` is its report before that, None: it counted from 0."""
        replica = self._replicas.get(after.replica_id)
        if replica is None:
            return
        counted = _counts_of(before) if before is not None else (0,) * len(_COUNTED)
        counts = [_growth(a, b) for a, b in zip(_counts_of(after), counted, strict=True)]
        held = before.latency_counts if before is not None else ()
        latency_counts = [
            _growth(count, held[index] if index < len(held) else 0)
            for index, count in enumerate(after.latency_counts[:MOST_BUCKETS])
        ]
        requests = _growth(_over(after), _over(before) if before is not None else 0)
        seconds = after.latency_sum_s - (before.latency_sum_s if before is not None else 0.0)
        seconds = min(max(0.0, seconds), MOST_GROWN) if math.isfinite(seconds) else 0.0
        for tally in (
            self._by_replica.setdefault(replica.id, _Tally()),
            self._revision(replica.key, replica.revision),
            self._totals.setdefault(replica.key, _Tally()),
        ):
            tally.add(requests, counts, latency_counts, seconds)

    def grew_route(self, before: RouteStats | None, after: RouteStats) -> None:
        """A route was reported; its id begins with its service's key."""
        key = ServiceKey(after.route_id.partition(":")[0])
        if key not in self._services:
            return
        counted = _route_counts_of(before) if before is not None else (0,) * len(_ROUTE_COUNTED)
        counts = [_growth(a, b) for a, b in zip(_route_counts_of(after), counted, strict=True)]
        held = self._route_counts.setdefault(key, [0] * len(_ROUTE_COUNTED))
        self._route_counts[key] = [a + b for a, b in zip(held, counts, strict=True)]

    def traffic(
        self, service: Service, replicas: Iterable[Replica], in_flight: Mapping[ReplicaId, int], connections: int
    ) -> ServiceTraffic:
        """What was counted of a service. `replicas` are its own, `in_flight` what each has now."""
        alive = sorted((r for r in replicas if not r.ended), key=lambda r: (r.slot, r.node_name, r.created_at, r.id))
        flying: dict[int, int] = {}
        for replica in alive:
            flying[replica.revision] = flying.get(replica.revision, 0) + in_flight.get(replica.id, 0)
        route_counts = self._route_counts.get(service.key, (0, 0, 0))
        revisions = self._by_revision.get(service.key, {})
        return ServiceTraffic(
            app=service.app,
            service=service.name,
            total=self._totals.get(service.key, _Tally()).figures(
                in_flight=sum(flying.values()), connections=connections, route_counts=route_counts
            ),
            revisions=tuple(
                RevisionTraffic(revision=number, figures=revisions[number].figures(in_flight=flying.get(number, 0)))
                for number in sorted(revisions, reverse=True)
            ),
            replicas=tuple(
                ReplicaTraffic(
                    replica_id=replica.id,
                    name=replica.name,
                    revision=replica.revision,
                    node_name=replica.node_name,
                    figures=self._by_replica.get(replica.id, _Tally()).figures(in_flight=in_flight.get(replica.id, 0)),
                )
                for replica in alive
            ),
        )

    def forget(self, replica_id: ReplicaId) -> None:
        self._by_replica.pop(replica_id, None)

    def forget_service(self, key: ServiceKey) -> None:
        for held in (self._by_revision, self._totals, self._route_counts):
            held.pop(key, None)

    def _revision(self, key: ServiceKey, number: int) -> _Tally:
        revisions = self._by_revision.setdefault(key, {})
        if number not in revisions:
            revisions[number] = _Tally()
            for old in sorted(revisions)[:-MOST_REVISIONS]:
                del revisions[old]
        return revisions.get(number) or _Tally()


def went_back(before: RouteStats, after: RouteStats) -> bool:
    """Whether a route's counters did: its proxy started anew."""
    return any(a < b for a, b in zip(_route_counts_of(after), _route_counts_of(before), strict=True))


def _over(stats: EndpointStats) -> int:
    """Requests that are over. Of TCP, which has no answers, the connections that were begun."""
    answers = sum(stats.latency_counts) + stats.errors_upstream
    return answers or (stats.requests if stats.bytes_out else 0)


def _growth(after: int, before: int) -> int:
    return min(max(0, after - before), MOST_GROWN)
