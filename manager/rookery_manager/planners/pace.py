"""How many replacements of an update may begin now.

The first ones are a trial: until one new replica stayed ready for `monitor`, no more than `parallelism` are begun. From then on
`parallelism` bounds those that start at the same time, and the old replica of each stays until its own monitor time is over; what
runs twice meanwhile is bounded by `most_at_once`. So an update spends one monitor time at its beginning and one at its end, not
one on every group, and a revision that fails soon after its start finds every old replica still there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from rookery.model import Replica

from rookery_manager.planners.rollout import is_paused, settings
from rookery_manager.planners.view import ServiceView, Slot, current_in, is_done

SURGE = 0.25
"""How much of a service may run twice while new replicas are watched; Kubernetes' `maxSurge` is the same by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """`may_begin` more replacements, none of them before `held_until` (Unix time, s) where that is set."""

    may_begin: int
    held_until: float | None = None


def pace(view: ServiceView, slots: Sequence[Slot], now: float) -> Pace:
    if is_paused(view):
        return Pace(may_begin=0)
    update = settings(view)
    current = [current_in(view, slot) for slot in slots]
    ready_at = [replica.ready_at for replicas in current for replica in replicas if replica.ready]
    not_before = max(ready_at, default=0.0) + update.delay_s
    held_until = not_before if update.delay_s and not_before > now else None
    parallelism = update.parallelism or len(slots)
    proven = any(at + update.monitor_s <= now for at in ready_at)
    starting = sum(_starts(view, slot, replicas) for slot, replicas in zip(slots, current, strict=True))
    watched = sum(_is_watched(slot, replicas, update.monitor_s, now) for slot, replicas in zip(slots, current, strict=True))
    if not proven:
        return Pace(may_begin=parallelism - starting - watched, held_until=held_until)
    room = most_at_once(parallelism, len(slots)) - starting - watched
    return Pace(may_begin=min(parallelism - starting, room), held_until=held_until)


def most_at_once(parallelism: int, places: int) -> int:
    """How many places may be in the middle of a replacement once a first one is proven: those that start, and as many whose new
    replica is watched, or a quarter of the service where that is more."""
    return max(2 * parallelism, ceil(SURGE * places))


def _starts(view: ServiceView, slot: Slot, current: Sequence[Replica]) -> bool:
    """True where a place is empty, has nothing ready of what is wanted, or its new replica gave up."""
    if not current:
        return bool(slot.staying) == is_done(view, slot)
    return not any(replica.ready for replica in current)


def _is_watched(slot: Slot, current: Sequence[Replica], monitor_s: float, now: float) -> bool:
    """True where a place has its new replica ready, and the old one still beside it."""
    is_double = len(current) < len(slot.staying)
    ready_at = [replica.ready_at for replica in current if replica.ready]
    return is_double and bool(ready_at) and min(ready_at) + monitor_s > now
