"""Keeps two revisions of a service side by side: the old one in all of its places, the new one in some of them.

So it is in a blue-green or canary rollout, and while an update waits for what the service depends on (the new one in no place).
Each revision is planned as if it were alone (planners/places.py): what crashes is replaced by its like, a drained node is left
start-first, and neither is retired for the other, but where no node has room for both: then a canary takes the place of an old
replica, a few at a time. Invariant: every place has one of the two.
"""

import dataclasses
from collections.abc import Sequence

from rookery.model import Canary, Desired, NodeId, Replica, Rollout, RolloutState

from rookery_manager.planners.actions import Plan, earliest
from rookery_manager.planners.places import Place, plan_places, replaced
from rookery_manager.planners.sharing import as_before, has_two_sides, is_forward, is_shared, strategy_of
from rookery_manager.planners.steps import places_of_step
from rookery_manager.planners.stop import retire
from rookery_manager.planners.view import ServiceView, Slot, is_done


def keeps_both(view: ServiceView) -> bool:
    return is_shared(view.service, view.specs) or _is_held(view)


def plan_beside(view: ServiceView, places: Sequence[Place], now: float) -> Plan:
    rollout = view.service.rollout
    assert rollout is not None
    before = dataclasses.replace(view, service=as_before(view.service, rollout), unmet="")
    old = [dataclasses.replace(place, slot=_old(view, before, place.slot)) for place in places]
    new = [dataclasses.replace(place, slot=_only(view, place.slot), why=_tried(view, rollout)) for place in places]
    coming_back = _coming_back(before, old, now)
    opened = [place for place in _opened(view, rollout, new) if place.slot.staying or _name(place) not in coming_back]
    tight = _tight(view, opened, old)
    given_up = [retire(view, r, f"{replaced(view, r)}, and no node has room for both", now) for r in tight]
    # Where there is a new one, what went to give it room is not made again, nor what is lost once no requests go to it.
    has_new = {_name(place) for place in opened if place.slot.staying}
    kept = [
        place
        for place in old
        if place.slot.staying or _name(place) not in has_new or (rollout.share < 100 and _was_lost(place.slot))
    ]
    kept = [place for place in kept if not set(place.slot.staying) & set(tight)]
    plans = (plan_places(before, kept, now), plan_places(view, opened, now))
    return Plan(
        actions=(*given_up, *(action for plan in plans for action in plan.actions)),
        wake_at=earliest(*coming_back.values(), *(plan.wake_at for plan in plans)),
        waits_for=view.unmet or next((plan.waits_for for plan in reversed(plans) if plan.waits_for), ""),
    )


def _is_held(view: ServiceView) -> bool:
    """True while an update waits with its first new replica for a service that it depends on."""
    rollout = view.service.rollout
    waits = rollout is not None and is_forward(rollout) and bool(view.unmet)
    if rollout is None or not waits or not has_two_sides(view.service, view.specs):
        return False
    # Which kind of service it is decides what its places are.
    same_kind = type(view.specs[rollout.before].mode) is type(view.spec.mode)
    return same_kind and not view.has_begun


def _opened(view: ServiceView, rollout: Rollout, places: Sequence[Place]) -> list[Place]:
    """The places that have, or are to have, a new replica beside the old one. None is added to those of a paused rollout."""
    if not is_shared(view.service, view.specs):
        return []
    if rollout.state is RolloutState.PAUSED:
        return [place for place in places if place.slot.staying]
    count = places_of_step(strategy_of(view.service, view.specs), rollout, len(places))
    return [place for i, place in enumerate(places) if i < count or place.slot.staying]


def _tight(view: ServiceView, opened: Sequence[Place], old: Sequence[Place]) -> list[Replica]:
    """Old replicas that go so that canaries have room: as many at a time as an update replaces, unless the spec asks to wait.

    In a blue-green rollout none does: its new replicas get no requests until all of them are there.
    """
    update = view.spec.update
    if not isinstance(strategy_of(view.service, view.specs), Canary) or update.waits_for_room:
        return []
    here = {_name(place): place.slot.staying for place in old}
    alone = [place for place in opened if not here[_name(place)]]
    coming = sum(not any(replica.ready for replica in place.slot.staying) for place in alone)
    found = [r for place in opened for r in here[_name(place)] if r.id in view.in_the_way]
    return found[: max(0, (update.parallelism or len(opened)) - coming)]


def _name(place: Place) -> tuple[int, NodeId]:
    return place.number, place.node_id


def _coming_back(before: ServiceView, old: Sequence[Place], now: float) -> dict[tuple[int, NodeId], float]:
    """Where what a rollout that was overtaken left serves until the old revision is there again, and until when that is waited
    for: no third one is added meanwhile. None where the old revision fails: then only a new one can be better."""
    staying = [r for place in old for r in place.slot.staying if before.is_current(r)]
    if any(r.restarts for r in staying) or any(is_done(before, place.slot) for place in old):
        return {}
    began_at = min((r.created_at for r in staying if not r.ready), default=now)
    until = began_at + before.spec.update.progress_deadline_s
    left = [place for place in old if not all(before.is_current(replica) for replica in place.slot.staying)]
    return {_name(place): until for place in left if now < until}


def _was_lost(slot: Slot) -> bool:
    """True where the latest of a place was not asked to go, or where there was none."""
    gone = max((*slot.ended, *slot.leaving), key=lambda r: r.created_at, default=None)
    return gone is None or gone.desired is Desired.RUN


def _tried(view: ServiceView, rollout: Rollout) -> str:
    return f"revision {view.service.revision} of {view.service.key} is tried beside {rollout.before}"


def _old(view: ServiceView, before: ServiceView, slot: Slot) -> Slot:
    """What is in a slot and not new: the old one, and what a rollout that was overtaken left, which is replaced by its like."""
    return Slot(
        staying=tuple(r for r in slot.staying if not view.is_current(r)),
        leaving=tuple(r for r in slot.leaving if not view.is_current(r)),
        ended=tuple(r for r in slot.ended if before.is_current(r)),
    )


def _only(view: ServiceView, slot: Slot) -> Slot:
    """What is in a slot of the view's revision."""

    def of(replicas: tuple[Replica, ...]) -> tuple[Replica, ...]:
        return tuple(replica for replica in replicas if view.is_current(replica))

    return Slot(staying=of(slot.staying), leaving=of(slot.leaving), ended=of(slot.ended))
