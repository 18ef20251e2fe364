"""What proxies counted, added up by the manager: of a service, of its revisions, of its replicas."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from rookery.model.ids import ReplicaId


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficFigures:
    """Counts that only grow while the manager runs, but for `in_flight` and `connections`, which are now.

    `requests` are over; of TCP they are the connections that were begun. `latency_counts` are by the bounds of the report, with
    one more for all above. What follows `latency_sum_s` is known of a service as a whole only.
    """

    requests: int = 0
    in_flight: int = 0
    errors_connect: int = 0
    errors_upstream: int = 0
    responses_2xx: int = 0
    responses_3xx: int = 0
    responses_4xx: int = 0
    responses_5xx: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    ejections: int = 0
    latency_counts: tuple[int, ...] = ()
    latency_sum_s: float = 0.0
    refused: int = 0
    connections: int = 0
    resends: int = 0
    resends_denied: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionTraffic:
    revision: int
    figures: TrafficFigures = TrafficFigures()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaTraffic:
    """`name` is the replica's, as in `shop/web.3`."""

    replica_id: ReplicaId
    name: str = ""
    revision: int = 0
    node_name: str = ""
    figures: TrafficFigures = TrafficFigures()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTraffic:
    """`revisions` are the newest that served, newest first."""

    app: str
    service: str
    total: TrafficFigures = TrafficFigures()
    revisions: tuple[RevisionTraffic, ...] = ()
    replicas: tuple[ReplicaTraffic, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficReport:
    """`at` is by the manager's clock; `proxies` is how many report."""

    at: float = 0.0
    latency_bounds_s: tuple[float, ...] = ()
    proxies: int = 0
    services: tuple[ServiceTraffic, ...] = ()


def quantile(bounds: Sequence[float], counts: Sequence[int], part: float) -> float | None:
    """The latency that `part` (0 to 1) of the counted answers kept within, in the unit of the bounds; None without answers.

    Within a bucket answers are taken to lie evenly, as Prometheus' histogram_quantile takes them; above the last bound it is that
    bound, since nothing more is known.
    """
    total = sum(counts)
    if total <= 0 or not bounds:
        return None
    rank = part * total
    for index, (count, below) in enumerate(zip(counts, itertools.accumulate(counts), strict=True)):
        if below >= rank and count:
            if index >= len(bounds):
                break
            low = bounds[index - 1] if index else 0.0
            return low + (bounds[index] - low) * (rank - (below - count)) / count
    return bounds[-1]
