"""What happened between two looks at the proxies' figures: rates and latencies, as values and as rows of a table. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rookery.cli.grid import Cell, Column
from rookery.cli.text import size
from rookery.model import ServiceTraffic, TrafficFigures, TrafficReport
from rookery.model.traffic import quantile

COLUMNS = [
    Column("SERVICE"), Column("REQ/S", right=True), Column("IN FLIGHT", right=True), Column("P50", right=True),
    Column("P99", right=True), Column("ERRORS", right=True), Column("4XX/S", right=True, rank=2),
    Column("5XX/S", right=True, rank=1), Column("IN/S", right=True, rank=3), Column("OUT/S", right=True, rank=3),
    Column("REFUSED/S", right=True, rank=4), Column("RESENDS/S", right=True, rank=6), Column("EJECTIONS", right=True, rank=5),
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Of a service, a revision or a replica, a second unless the name says otherwise.

    `errors` is the part of the requests, 0 to 1, that got a 5xx or no whole answer; `p50_s` and `p99_s` are None without answers.
    `ejections` counts.
    """

    name: str
    level: str  # service, revision, replica
    requests: float = 0.0
    in_flight: int = 0
    connections: int = 0
    p50_s: float | None = None
    p99_s: float | None = None
    errors: float = 0.0
    responses_2xx: float = 0.0
    responses_3xx: float = 0.0
    responses_4xx: float = 0.0
    responses_5xx: float = 0.0
    connect_failures: float = 0.0
    bytes_in: float = 0.0
    bytes_out: float = 0.0
    refused: float = 0.0
    resends: float = 0.0
    ejections: int = 0


def rates(before: TrafficReport, after: TrafficReport, *, replicas: bool = False) -> list[Rates]:
    """What happened between two reports: of each service; of its revisions where several had requests; of replicas if asked."""
    seconds = max(after.at - before.at, 1e-3)
    known = {(s.app, s.service): s for s in before.services}
    found = []
    for service in after.services:
        held = known.get((service.app, service.service))
        for name, level, was, now in _pairs(held, service, replicas=replicas):
            found.append(_rates(name, level, was, now, after.latency_bounds_s, seconds))
    return found


def rows(found: Sequence[Rates]) -> list[list[Cell | str]]:
    return [_row(one) for one in found]


def _pairs(
    held: ServiceTraffic | None, service: ServiceTraffic, *, replicas: bool
) -> Iterator[tuple[str, str, TrafficFigures, TrafficFigures]]:
    nothing = TrafficFigures()
    yield f"{service.app}/{service.service}", "service", held.total if held else nothing, service.total
    was = {revision.revision: revision.figures for revision in held.revisions} if held else {}
    moved = [r for r in service.revisions if r.figures.requests > was.get(r.revision, nothing).requests or r.figures.in_flight]
    for revision in moved if len(moved) > 1 else ():
        yield f"  revision {revision.revision}", "revision", was.get(revision.revision, nothing), revision.figures
    were: Mapping[str, TrafficFigures] = {replica.replica_id: replica.figures for replica in held.replicas} if held else {}
    for replica in service.replicas if replicas else ():
        where = f" on {replica.node_name}" if replica.node_name else ""
        yield f"  {replica.name}{where}", "replica", were.get(replica.replica_id, nothing), replica.figures


def _rates(name: str, level: str, was: TrafficFigures, now: TrafficFigures, bounds_s: Sequence[float], seconds: float) -> Rates:
    def grown(field: str) -> int:
        return max(0, int(getattr(now, field)) - int(getattr(was, field)))

    held = was.latency_counts or (0,) * len(now.latency_counts)
    counts = [max(0, a - b) for a, b in zip(now.latency_counts, held, strict=False)]
    failed = grown("responses_5xx") + grown("errors_upstream")
    return Rates(
        name=name,
        level=level,
        requests=grown("requests") / seconds,
        in_flight=now.in_flight,
        connections=now.connections,
        p50_s=quantile(bounds_s, counts, 0.5),
        p99_s=quantile(bounds_s, counts, 0.99),
        errors=min(1.0, failed / grown("requests")) if grown("requests") else 0.0,
        responses_2xx=grown("responses_2xx") / seconds,
        responses_3xx=grown("responses_3xx") / seconds,
        responses_4xx=grown("responses_4xx") / seconds,
        responses_5xx=grown("responses_5xx") / seconds,
        connect_failures=grown("errors_connect") / seconds,
        bytes_in=grown("bytes_in") / seconds,
        bytes_out=grown("bytes_out") / seconds,
        refused=grown("refused") / seconds,
        resends=grown("resends") / seconds,
        ejections=grown("ejections"),
    )


def _row(one: Rates) -> list[Cell | str]:
    errors = "" if not one.requests else f"{one.errors:.1%}"
    return [
        one.name, _rate(one.requests), str(one.in_flight), _latency(one.p50_s), _latency(one.p99_s),
        Cell(errors, "red" if one.errors >= 0.01 else None), _rate(one.responses_4xx), _rate(one.responses_5xx),
        size(one.bytes_in) if one.bytes_in else "", size(one.bytes_out) if one.bytes_out else "", _rate(one.refused),
        _rate(one.resends), str(one.ejections or ""),
    ]  # fmt: skip


def _rate(value: float) -> str:
    """`0.25`, `7.1`, `1234`; nothing for none."""
    if not value:
        return ""
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _latency(seconds: float | None) -> str:
    """`0.8 ms`, `120 ms`, `2.50 s`."""
    if seconds is None:
        return ""
    milliseconds = seconds * 1000
    return f"{seconds:.2f} s" if seconds >= 1 else f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"
