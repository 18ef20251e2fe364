"""Which endpoint takes the next request: the less loaded of two random ones.

Pure: random numbers and the time are arguments. With two choices the fullest endpoint stays within a few requests of the
average whatever the number of endpoints, and no state is shared between workers (Mitzenmacher, The Power of Two Choices, 2001).
"""

from collections.abc import Collection, Sequence
from typing import Protocol, TypeVar


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
