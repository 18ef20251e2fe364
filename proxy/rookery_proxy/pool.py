"""Which endpoint takes the next request, where the service asks for more than the less loaded of two: its own method, weights,
a preferred place, a slow start, a limit of what is in flight.

Pure: random numbers and the time are arguments. Invariant: an endpoint at its limit is never chosen, one that is ejected or was
tried only as `pick` does; and a far one only when no near one can be had.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from hashlib import blake2b
from itertools import accumulate
from typing import Generic, Protocol, TypeVar

from rookery.model import BalanceMethod, Balancing, ReplicaId

from rookery_proxy.pick import Loaded

_POINTS = 100  # of an endpoint on the ring: the shares then differ by some 10 % (their deviation is 1/sqrt(points))
_TRIES = 4  # by the method itself, before all are looked at
_LEAST_RAMP = 0.1  # of its weight that a new endpoint begins with
_GOLDEN = 0.6180339887498949  # see split.py: steps of it fill [0, 1) most evenly

Random = Callable[[], float]


class Weighed(Loaded, Protocol):
    """What can be in a pool. `since` is when it was first known, on the clock that `now` comes from."""

    @property
    def replica_id(self) -> ReplicaId: ...

    @property
    def weight(self) -> int: ...

    @property
    def place(self) -> str: ...

    @property
    def since(self) -> float: ...


W = TypeVar("W", bound=Weighed)


class Pool(Generic[W]):
    """Endpoints and the way to choose between them. `share` is the part of `max_in_flight` that is this worker's."""

    __slots__ = ("_edges", "_endpoints", "_even", "_limit", "_method", "_near", "_point", "_ring", "_slow_start_s", "_turn")

    def __init__(self, balancing: Balancing, endpoints: Sequence[W], place: str = "", share: float = 1.0) -> None:
        self._endpoints = endpoints
        self._method = balancing.method
        self._slow_start_s = balancing.slow_start_s
        self._limit = max(1, int(balancing.max_in_flight * share)) if balancing.max_in_flight else 0
        self._edges = list(accumulate(endpoint.weight for endpoint in endpoints))
        self._even = all(endpoint.weight == endpoints[0].weight for endpoint in endpoints)
        self._turn = 0
        self._point = 0.5
        self._ring: list[tuple[int, W]] | None = None
        if self._method is BalanceMethod.HASH:
            points = ((point, endpoint) for endpoint in endpoints for point in _points(endpoint))
            self._ring = sorted(points, key=lambda pair: pair[0])
        near = [endpoint for endpoint in endpoints if place and endpoint.place == place]
        self._near: Pool[W] | None = None
        if near and len(near) < len(endpoints):
            self._near = Pool(balancing, near, share=share)

    def pick(self, key: bytes, random: Random, now: float, tried: Collection[W] = ()) -> W | None:
        """The endpoint for a request, or None: all were tried, or are at their limit. `key` is what is hashed."""
        if self._near is not None:
            found = self._near.usable(key, random, now, tried)
            if found is not None:
                return found
        found = self.usable(key, random, now, tried)
        if found is not None:
            return found
        left = [endpoint for endpoint in self._endpoints if endpoint not in tried and not self._is_full(endpoint)]
        return min(left, key=_load) if left else None

    def usable(self, key: bytes, random: Random, now: float, tried: Collection[W]) -> W | None:
        """As `pick`, without those that are ejected."""
        if not self._endpoints:
            return None
        match self._method:
            case BalanceMethod.HASH:
                return self._hashed(key, now, tried)
            case BalanceMethod.LEAST_IN_FLIGHT:
                return self._least(now, tried, random)
            case BalanceMethod.ROUND_ROBIN:
                for _ in range(_TRIES):
                    endpoint = self._next()
                    if self._takes(endpoint, now, tried) and random() < self._ramp(endpoint, now):
                        return endpoint
            case BalanceMethod.TWO_CHOICES:
                first, second = self._draw(random, now), self._draw(random, now)
                for _ in range(_TRIES):
                    if second is not first:
                        break
                    second = self._draw(random, now)
                fit = [endpoint for endpoint in (first, second) if self._takes(endpoint, now, tried)]
                if fit:
                    return min(fit, key=_load)
        return self._least(now, tried, random)

    @property
    def is_limited(self) -> bool:
        return self._limit > 0

    def is_full(self, besides: Collection[W] = ()) -> bool:
        """Whether all endpoints but those are at their limit, and there is one."""
        if not self._limit:
            return False
        others = [endpoint for endpoint in self._endpoints if endpoint not in besides] if besides else self._endpoints
        return bool(others) and all(self._is_full(endpoint) for endpoint in others)

    def room(self) -> int:
        """How many more requests the endpoints of a limited pool may have in flight."""
        return sum(max(0, self._limit - endpoint.in_flight) for endpoint in self._endpoints)

    def _takes(self, endpoint: W, now: float, tried: Collection[W]) -> bool:
        return endpoint.ejected_until <= now and endpoint not in tried and not self._is_full(endpoint)

    def _is_full(self, endpoint: W) -> bool:
        return 0 < self._limit <= endpoint.in_flight

    def _ramp(self, endpoint: W, now: float) -> float:
        """The part of its weight that an endpoint has by now."""
        age = now - endpoint.since
        return 1.0 if age >= self._slow_start_s else max(_LEAST_RAMP, age / self._slow_start_s)

    def _next(self) -> W:
        if self._even:
            self._turn = (self._turn + 1) % len(self._endpoints)
            return self._endpoints[self._turn]
        self._point = math.modf(self._point + _GOLDEN)[0]
        return self._at(self._point)

    def _at(self, point: float) -> W:
        """The endpoint that has the point of [0, 1) when each takes a part of it by its weight."""
        return self._endpoints[min(bisect_right(self._edges, point * self._edges[-1]), len(self._endpoints) - 1)]

    def _draw(self, random: Random, now: float) -> W:
        endpoint = self._at(random())
        if self._slow_start_s:
            for _ in range(_TRIES):
                if random() < self._ramp(endpoint, now):
                    break
                endpoint = self._at(random())
        return endpoint

    def _least(self, now: float, tried: Collection[W], random: Random) -> W | None:
        endpoints = self._endpoints
        start = int(random() * len(endpoints))  # of equal ones, none is always the first
        best: W | None = None
        least = math.inf
        for index in range(start - len(endpoints), start):
            endpoint = endpoints[index]
            if not self._takes(endpoint, now, tried):
                continue
            load = (endpoint.in_flight + 1) / (endpoint.weight * self._ramp(endpoint, now))
            if load < least:
                best, least = endpoint, load
        return best

    def _hashed(self, key: bytes, now: float, tried: Collection[W]) -> W | None:
        """The first endpoint on the ring from the key's point on that can be had: when one is gone, only its keys move."""
        ring = self._ring
        assert ring is not None
        at = bisect_right(ring, _point(key), key=lambda pair: pair[0])
        seen: set[int] = set()
        for step in range(len(ring)):
            endpoint = ring[(at + step) % len(ring)][1]
            if id(endpoint) in seen:
                continue
            if self._takes(endpoint, now, tried):
                return endpoint
            seen.add(id(endpoint))
            if len(seen) == len(self._endpoints):
                break
        return None


def pool_of(balancing: Balancing, endpoints: Sequence[W], place: str, share: float) -> Pool[W] | None:
    """The pool; None where the less loaded of two random ones is all that is asked for."""
    return None if balancing == _PLAIN else Pool(balancing, endpoints, place, share)


_PLAIN = Balancing()


def _load(endpoint: Weighed) -> float:
    return endpoint.in_flight / endpoint.weight


def _point(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


def _points(endpoint: Weighed) -> Sequence[int]:
    """Where an endpoint is on the ring, more often with more weight: the same in every process."""
    name = endpoint.replica_id.encode("utf-8", "replace")
    return [_point(b"%b#%d" % (name, number)) for number in range(_POINTS * min(endpoint.weight, 10))]
