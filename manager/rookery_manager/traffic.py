"""What the proxies have seen of each replica, added up over proxies, routes and their restarts.

Invariant: a replica's figures only grow, and nothing that a proxy counted before this manager heard of it is in them.
"""

from collections.abc import Callable, Collection, Container, Iterable
from dataclasses import dataclass
from itertools import zip_longest

from rookery.model import EndpointStats, ReplicaId, RouteId

from rookery_manager.planners.compare import Sample

MOST_BUCKETS = 65
"""Of a latency histogram; what a proxy says beyond them is not counted."""

MOST_GROWN = 10**9
"""More than any endpoint answers between two reports. It keeps a proxy's nonsense within what can be added up and compared."""

Reported = dict[tuple[ReplicaId, RouteId], EndpointStats]
"""What a proxy's counters stood at when they were last reported, also of endpoints that are no longer."""


@dataclass(slots=True, kw_only=True)
class _Seen:
    """A replica's figures, and what they were when `mark` was first asked for."""

    total: Sample = Sample()
    mark: float | None = None
    at_mark: Sample = Sample()


class Traffic:
    """Keeps figures of `known` replicas alone, so that a proxy's mistakes can't fill the memory.

    `grew` is told of each endpoint that was reported with other counts than before (None: it counts from 0).
    """

    def __init__(
        self,
        known: Container[ReplicaId],
        grew: Callable[[EndpointStats | None, EndpointStats], None] = lambda _before, _after: None,
    ) -> None:
        self._known = known
        self._grew = grew
        self._seen: dict[ReplicaId, _Seen] = {}

    def take(self, before: Reported | None, after: Iterable[EndpointStats], *, changes: bool = False) -> Reported:
        """What was reported by now: the `before` of the same stream's next report. Of `changes` it is the same one, brought up to
        date, so that they cost what they are.

        The first report of a stream (None before it) is only what the next one is compared with. An endpoint that comes later
        counts from 0, and so does one whose counters went back: its proxy started anew. An endpoint that is missing is kept in
        mind for as long as its replica is known: it comes back with its old counts when a proxy replaces its workers.
        """
        now = {(stats.replica_id, stats.route_id): stats for stats in after}
        if before is None:
            return now
        found = 0
        for key, stats in now.items():
            held = before.get(key)
            found += held is not None
            if held != stats and stats.replica_id in self._known:
                start = None if held is None or _went_back(held, stats) else held
                seen = self._seen.setdefault(stats.replica_id, _Seen())
                seen.total = _sum((seen.total, _grown(start, stats)))
                self._grew(start, stats)
        if changes:
            before.update({key: stats for key, stats in now.items() if stats.replica_id in self._known})
            return before
        if found < len(before):
            now.update({k: stats for k, stats in before.items() if k not in now and stats.replica_id in self._known})
        return now

    def since(self, mark: float, replica_ids: Collection[ReplicaId]) -> Sample:
        """What was seen of these replicas, of each since it was first asked for with this mark: the time at which a step began.

        Another mark begins anew. Name replicas from their creation on, and ended ones too: what was seen of one before it was
        named does not count, and neither does what one did that is no longer named.
        """
        seen = [self._seen.setdefault(replica_id, _Seen()) for replica_id in replica_ids if replica_id in self._known]
        for replica in seen:
            if replica.mark != mark:
                replica.mark, replica.at_mark = mark, replica.total
        return _sum(_less(replica.total, replica.at_mark) for replica in seen)

    def forget(self, replica_id: ReplicaId) -> None:
        self._seen.pop(replica_id, None)


def _grown(before: EndpointStats | None, after: EndpointStats) -> Sample:
    """What happened between two reports of an endpoint."""
    grown = _less(_sample(after), _sample(before) if before else Sample())
    return Sample(
        requests=min(grown.requests, MOST_GROWN),
        errors=min(grown.errors, MOST_GROWN),
        latency_counts=tuple(min(count, MOST_GROWN) for count in grown.latency_counts),
    )


def _sample(stats: EndpointStats) -> Sample:
    """A proxy's counters as requests that are over. `requests` has those in flight too, and goes down when one is tried again.

    Each answer is in a latency bucket, that of an upgrade (101) too. One that breaks off counts twice, as answered and as
    failed: the counters don't tell which ones did. A request that its client gave up before the answer counts nowhere.

    TCP has no answers. An endpoint that sent bytes and never an answer, whole or broken, speaks it: a connection counts once it
    is begun, and has failed if it was not taken. Of one that only listens, and never sends a byte, the failures alone count.
    """
    responses = stats.responses_2xx + stats.responses_3xx + stats.responses_4xx + stats.responses_5xx
    answers = max(responses, sum(stats.latency_counts))
    unanswered = stats.errors_connect + stats.errors_upstream
    is_tcp = stats.bytes_out and not answers and not stats.errors_upstream
    return Sample(
        requests=max(stats.requests, unanswered) if is_tcp else answers + unanswered,
        errors=unanswered + stats.responses_5xx,
        latency_counts=stats.latency_counts[:MOST_BUCKETS],
    )


def _went_back(before: EndpointStats, after: EndpointStats) -> bool:
    """Whether a counter did that never does while a proxy lives. Not `requests`: what is tried elsewhere is taken back there."""
    return (
        after.errors_connect < before.errors_connect
        or after.errors_upstream < before.errors_upstream
        or after.responses_5xx < before.responses_5xx
        or after.bytes_out < before.bytes_out
        or any(a < b for b, a in zip(before.latency_counts, after.latency_counts, strict=False))
    )


def _less(after: Sample, before: Sample) -> Sample:
    """The difference. Never below 0, and never more errors than requests, whatever a proxy says."""
    errors = max(0, after.errors - before.errors)
    counts = zip_longest(after.latency_counts, before.latency_counts, fillvalue=0)
    return Sample(
        requests=max(errors, after.requests - before.requests),
        errors=errors,
        latency_counts=tuple(max(0, a - b) for a, b in counts),
    )


def _sum(samples: Iterable[Sample]) -> Sample:
    """Buckets are added by their place: proxies with different bounds would blur what is slow, but for both revisions alike."""
    requests, errors = 0, 0
    counts: tuple[int, ...] = ()
    for sample in samples:
        requests += sample.requests
        errors += sample.errors
        counts = tuple(a + b for a, b in zip_longest(counts, sample.latency_counts, fillvalue=0))
    return Sample(requests=requests, errors=errors, latency_counts=counts)
