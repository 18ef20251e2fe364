"""Which side of a split route takes a request: the new revision's endpoints, or the others.

Pure. Each request has a point in [0, 1); below the share it goes to the new side. Invariant: a point that is on the new side at
one share is there at every larger one, so a client that saw the new revision keeps it while the share rises.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Generic, Protocol, TypeVar

from rookery.model import ReplicaId, Route

from rookery_proxy.pick import Loaded, pick
from rookery_proxy.sticky import Sticky, sticky_of

# Multiples of the golden ratio, without their whole parts: of all additive recurrences the one that fills [0, 1) most evenly,
# from wherever it starts (Knuth, The Art of Computer Programming 3, 6.4, theorem S; Roberts, The Unreasonable Effectiveness of
# Quasirandom Sequences, 2018). A share is exact to within 5 in any 10,000 requests in a row, and does not fall in step with
# clients that ask for the same things in turn, as every n-th request would.
_STEP = 0.6180339887498949  # (sqrt(5) - 1) / 2

_TRIES_OF_A_SIDE = 3  # of those that a request has: a large side that is gone as a whole must not use them all up


class Member(Loaded, Protocol):
    """What can be on a side."""

    @property
    def replica_id(self) -> ReplicaId: ...


L = TypeVar("L", bound=Loaded)
M = TypeVar("M", bound=Member)
P = TypeVar("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides(Generic[L]):
    """The two sides of a route, neither of them empty. `part` is the new one's share, from 0 to 1.

    `salt` differs between services, or the same clients would meet the new revision of each of them first.
    """

    part: float
    new: Sequence[L]
    old: Sequence[L]
    salt: bytes = b""
    sticky: Sticky | None = None


def divide(route: Route, endpoints: Sequence[M]) -> Sides[M] | None:
    """The sides of a route; None where it has no split, or all endpoints are on one side."""
    split = route.split
    if split is None:
        return None
    ids = frozenset(split.replica_ids)
    new = [endpoint for endpoint in endpoints if endpoint.replica_id in ids]
    old = [endpoint for endpoint in endpoints if endpoint.replica_id not in ids]
    if not new or not old:
        return None
    salt = blake2b(f"{route.app}/{route.service}".encode("utf-8", "replace"), digest_size=16).digest()
    return Sides(part=split.share / 100, new=new, old=old, salt=salt, sticky=sticky_of(split))


def step(point: float) -> float:
    """The point after that one."""
    point += _STEP
    return point - 1.0 if point >= 1.0 else point


def point_of(value: bytes, salt: bytes) -> float:
    """The point of a sticky value: the same in every process."""
    return int.from_bytes(blake2b(value, digest_size=6, key=salt).digest(), "big") / 2**48


def pools_at(sides: Sides[L], pools: tuple[P, P], point: float, tries: int) -> tuple[P, P]:
    """The pool of the side that has the point, and the other one; the other way round after too many tries."""
    own, other = pools if point < sides.part else (pools[1], pools[0])
    return (other, own) if tries >= _TRIES_OF_A_SIDE else (own, other)


def pick_side(sides: Sides[L], point: float, first: float, second: float, now: float, tried: Collection[L] = ()) -> L | None:
    """The endpoint for the request at that point, or None when all were tried. `first` and `second` are as in `pick`.

    The other side takes it when its own has no endpoint that is neither tried nor ejected, or took too many tries.
    """
    own, other = (sides.new, sides.old) if point < sides.part else (sides.old, sides.new)
    if len(tried) >= _TRIES_OF_A_SIDE:
        own, other = other, own
    for side in (own, other):
        if any(endpoint.ejected_until <= now and endpoint not in tried for endpoint in side):
            return pick(side, first, second, now, tried)
    return pick(own, first, second, now, tried) or pick(other, first, second, now, tried)
