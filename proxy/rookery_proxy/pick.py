"""Which endpoint takes the next request: the less loaded of two random ones.

Pure: random numbers and the time are arguments. With two choices the fullest endpoint stays within a few requests of the
average whatever the number of endpoints, and no state is shared between workers (Mitzenmacher, The Power of Two Choices, 2001).
"""

from collections.abc import Collection, Sequence
from typing import Protocol, TypeVar

FIRST_EJECTION_S = 1.0
LONGEST_EJECTION_S = 10.0


class Loaded(Protocol):
    """What can be picked. `ejected_until` is an instant of the clock that `now` comes from."""

    @property
    def in_flight(self) -> int: ...

    @property
    def ejected_until(self) -> float: ...


L = TypeVar("L", bound=Loaded)


def pick(endpoints: Sequence[L], first: float, second: float, now: float, tried: Collection[L] = ()) -> L | None:
    """The endpoint for a request, or None when all were tried. `first` and `second` are random numbers in [0, 1).

    Ejected ones are passed over, unless there are no others.
    """
    count = len(endpoints)
    if count == 1 and not tried:
        return endpoints[0]
    if count > 1:
        i = int(first * count)
        j = int(second * (count - 1))
        if j >= i:
            j += 1
        a, b = endpoints[i], endpoints[j]
        if not tried and a.ejected_until <= now and b.ejected_until <= now:
            return b if b.in_flight < a.in_flight else a
    return _pick_slowly(endpoints, first, second, now, tried)


def _pick_slowly(endpoints: Sequence[L], first: float, second: float, now: float, tried: Collection[L]) -> L | None:
    fresh = [endpoint for endpoint in endpoints if endpoint not in tried]
    usable = [endpoint for endpoint in fresh if endpoint.ejected_until <= now] or fresh
    if not usable:
        return None
    a, b = usable[int(first * len(usable))], usable[int(second * len(usable))]
    return b if b.in_flight < a.in_flight else a


def ejection_s(failures: int) -> float:
    """How long an endpoint is left alone after so many connect failures in a row: 1, 2, 4, 8, 10 s."""
    return float(min(FIRST_EJECTION_S * 2 ** min(failures - 1, 10), LONGEST_EJECTION_S))


def may_eject(endpoints: Sequence[Loaded], now: float) -> bool:
    """Whether one more may be ejected: never more than half are at a time."""
    ejected = sum(1 for endpoint in endpoints if endpoint.ejected_until > now)
    return (ejected + 1) * 2 <= len(endpoints)
