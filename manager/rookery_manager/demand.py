"""What is asked of services now, as their proxies report it: in memory only, of the last seconds.

Invariant: figures are whole, or missing. A proxy that is connected and silent, or was lost a moment ago, may have traffic that
nobody tells of, so what the others tell is not taken for all of it.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import zip_longest

from rookery.model import EndpointStats, ReplicaId, RouteId, RouteStats, ServiceKey

from rookery_manager.traffic import MOST_BUCKETS, MOST_GROWN

MEAN_S = 2.0  # what is in flight goes up and down from one report to the next: the mean over so long counts
RATE_S = 3.0
ANSWERS_S = 5.0  # answers are counted in so long
STALE_S = 3.5  # a proxy reports every second
GONE_S = 60.0  # a proxy that was lost may go on serving; after so long it is taken to be gone for good

Counts = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All proxies together. `missing` says why nothing is known; `busy_at` is when there was last a request, 0: never."""

    concurrency: float = 0.0
    rps: float = 0.0
    latency_counts: Counts = ()
    held: int = 0
    missing: str = ""
    busy_at: float = 0.0


@dataclass(frozen=True, slots=True)
class _Tick:
    """One report: what is in flight (held ones too), and what came since the one before, `span_s` ago."""

    at: float
    in_flight: int
    held: int
    arrived: int
    span_s: float
    latency_counts: Counts


@dataclass(slots=True)
class _Proxy:
    heard_at: float
    is_gone: bool = False
    requests: dict[RouteId, int] = field(default_factory=dict)
    counts: dict[tuple[ReplicaId, RouteId], Counts] = field(default_factory=dict)
    ticks: dict[ServiceKey, deque[_Tick]] = field(default_factory=dict)


class Demand:
    """Of the services that are `watched`."""

    def __init__(self) -> None:
        self.watched: set[ServiceKey] = set()
        self._proxies: dict[str, _Proxy] = {}
        self._busy_at: dict[ServiceKey, float] = {}
        self._on_report: Callable[[ServiceKey], None] = lambda _: None

    def listen(self, on_report: Callable[[ServiceKey], None]) -> None:
        """Calls it for each watched service that a report tells of."""
        self._on_report = on_report

    def take(self, proxy_id: str, now: float, endpoints: Iterable[EndpointStats], routes: Iterable[RouteStats]) -> None:
        """A proxy's report."""
        proxy = self._proxies.setdefault(proxy_id, _Proxy(heard_at=now))
        proxy.heard_at, proxy.is_gone = now, False
        if not self.watched:
            return
        held: dict[ServiceKey, int] = {}
        arrived: dict[ServiceKey, int] = {}
        requests: dict[RouteId, int] = {}
        for route in routes:
            key = service_of(route.route_id)
            if key in self.watched:
                held[key] = held.get(key, 0) + max(0, route.held)
                arrived[key] = arrived.get(key, 0) + _growth(proxy.requests.get(route.route_id), route.requests)
                requests[route.route_id] = route.requests
        in_flight: dict[ServiceKey, int] = {}
        answers: dict[ServiceKey, Counts] = {}
        counts: dict[tuple[ReplicaId, RouteId], Counts] = {}
        for endpoint in endpoints:
            key = service_of(endpoint.route_id)
            if key in held:
                in_flight[key] = in_flight.get(key, 0) + max(0, endpoint.in_flight)
                at = (endpoint.replica_id, endpoint.route_id)
                counts[at] = endpoint.latency_counts[:MOST_BUCKETS]
                answers[key] = _plus(answers.get(key, ()), _more(proxy.counts.get(at, ()), counts[at]))
        is_first = not proxy.requests and not proxy.counts
        proxy.requests, proxy.counts = requests, counts
        for key in held:
            ticks = proxy.ticks.setdefault(key, deque())
            tick = _Tick(
                at=now,
                in_flight=min(in_flight.get(key, 0) + held[key], MOST_GROWN),
                held=min(held[key], MOST_GROWN),
                arrived=arrived[key],
                span_s=now - ticks[-1].at if ticks else 0.0,
                latency_counts=() if is_first else answers.get(key, ()),
            )
            ticks.append(tick)
            while ticks[0].at < now - ANSWERS_S:
                ticks.popleft()
            if tick.in_flight or tick.arrived:
                self._busy_at[key] = now
            self._on_report(key)
        for key in proxy.ticks.keys() - held.keys():
            del proxy.ticks[key]

    def lose(self, proxy_id: str, now: float) -> None:
        """A proxy's stream is over."""
        proxy = self._proxies.get(proxy_id)
        if proxy is not None:
            proxy.heard_at, proxy.is_gone = now, True
            proxy.requests, proxy.counts = {}, {}  # it may come back as another process

    def unwatch(self, key: ServiceKey) -> None:
        self.watched.discard(key)
        self._busy_at.pop(key, None)
        for proxy in self._proxies.values():
            proxy.ticks.pop(key, None)

    def seen(self, key: ServiceKey, now: float) -> Seen:
        concurrency = rps = 0.0
        latency_counts: Counts = ()
        held, missing = 0, ""
        self._proxies = {i: p for i, p in self._proxies.items() if not p.is_gone or p.heard_at + GONE_S > now}
        for proxy_id, proxy in self._proxies.items():
            ticks = proxy.ticks.get(key)
            if proxy.is_gone:
                missing = f"proxy {proxy_id} is away since {now - proxy.heard_at:.0f} s, and may have traffic all the same"
            elif not ticks or ticks[-1].at + STALE_S < now:
                missing = f"proxy {proxy_id} has not reported of it{f' for {now - ticks[-1].at:.0f} s' if ticks else ' yet'}"
            else:
                recent = [tick.in_flight for tick in ticks if tick.at > now - MEAN_S] or [ticks[-1].in_flight]
                concurrency += sum(recent) / len(recent)
                rps += _rate(ticks, now)
                held += ticks[-1].held
                for tick in ticks:
                    latency_counts = _plus(latency_counts, tick.latency_counts)
        if not self._proxies:
            missing = "no proxy is connected"
        return Seen(
            concurrency=concurrency,
            rps=rps,
            latency_counts=latency_counts,
            held=min(held, MOST_GROWN),
            missing=missing,
            busy_at=self._busy_at.get(key, 0.0),
        )


def service_of(route_id: RouteId) -> ServiceKey:
    """The service of a route, by the beginning of its id."""
    return ServiceKey(route_id.partition(":")[0])


def quantile_s(counts: Counts, bounds_s: Iterable[float], share: float) -> float:
    """The seconds that this share of the answers did not exceed; 0 where there was none.

    Within a bucket answers are taken to be spread evenly, and those above the last bound are taken for that bound: what
    Prometheus' histogram_quantile does.
    """
    wanted = share * sum(counts)
    below, seen = 0.0, 0
    for count, bound in zip(counts, bounds_s, strict=False):
        if count and seen + count >= wanted:
            return below + (bound - below) * (wanted - seen) / count
        seen, below = seen + count, bound
    return below if sum(counts) else 0.0


def _rate(ticks: Iterable[_Tick], now: float) -> float:
    recent = [tick for tick in ticks if tick.at > now - RATE_S]
    span_s = sum(tick.span_s for tick in recent)
    return sum(tick.arrived for tick in recent) / span_s if span_s else 0.0


def _growth(before: int | None, after: int) -> int:
    """Of a counter; one that went back has begun anew. What it stood at when it was first told of happened before."""
    if before is None:
        return 0
    return min(max(0, after if after < before else after - before), MOST_GROWN)


def _more(before: Counts, after: Counts) -> Counts:
    if any(a < b for b, a in zip(before, after, strict=False)):
        before = ()
    return tuple(min(max(0, a - b), MOST_GROWN) for b, a in zip_longest(before, after, fillvalue=0))


def _plus(a: Counts, b: Counts) -> Counts:
    return tuple(x + y for x, y in zip_longest(a, b, fillvalue=0))
