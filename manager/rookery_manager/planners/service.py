"""Keeps one service at what is wanted of it: which places it has, and that nothing is left outside of them.

What happens within a place is planners/places.py. Invariant: a plan is made of the service's records alone, so it is the same
after a restart as before.
"""

from collections.abc import Iterable, Sequence

from rookery.model import Global, GlobalJob, NodeId, Replica

from rookery_manager.planners.actions import Action, Adopt, Forget, ForgetService, Plan, earliest
from rookery_manager.planners.beside import keeps_both, plan_beside
from rookery_manager.planners.following import plan_following
from rookery_manager.planners.places import Place, number_wanted, plan_places
from rookery_manager.planners.rollout import plan_rollout
from rookery_manager.planners.stop import finish_drains, retire
from rookery_manager.planners.view import ServiceView, Slot, is_done, sort_into_slots

KEEP_ENDED = 3
"""Ended replicas whose records are kept per slot, for `rookery ps --all`; history keeps all."""

KEEP_ENDED_ELSEWHERE = 10
"""So many are kept of all the places together that a service no longer has: higher slots, nodes that are gone."""


def plan_service(view: ServiceView, now: float) -> Plan:
    drains, wake_at = finish_drains(view, now)
    rollout = plan_rollout(view, _places_wanted(view), now)
    if rollout.actions:  # it may be another revision that is wanted from now on: the rest is planned for that one
        return Plan(actions=(*drains, *rollout.actions))
    following = plan_following(view, now)
    if following.actions:
        return Plan(actions=(*drains, *following.actions))
    if view.service.removing:
        rest = _remove(view, now)
    elif isinstance(view.spec.mode, Global | GlobalJob):
        rest = _plan_global(view, now)
    else:
        rest = _plan_replicated(view, now)
    return Plan(
        actions=(*drains, *_adopt(view), *rest.actions, *_forget(view)),
        wake_at=earliest(wake_at, rollout.wake_at, rest.wake_at),
        waits_for=rollout.waits_for or rest.waits_for,
    )


def _places_wanted(view: ServiceView) -> int:
    if isinstance(view.spec.mode, Global | GlobalJob):
        return sum(not brief.refusal for brief in view.nodes.values())
    return view.service.replicas


def _remove(view: ServiceView, now: float) -> Plan:
    alive = [replica for replica in view.replicas if not replica.ended]
    if not alive:
        return Plan(actions=(ForgetService(service=view.service, why=view.service.why or f"{view.service.key} was removed"),))
    slots = sort_into_slots(view).values()
    why = f"{view.service.key} is removed"
    return Plan(
        actions=tuple(retire(view, replica, why, now) for slot in slots for replica in slot.staying),
        waits_for=f"{len(alive)} replicas to stop",
    )


def _plan_replicated(view: ServiceView, now: float) -> Plan:
    wanted = view.service.replicas
    slots = {int(number): slot for number, slot in sort_into_slots(view).items()}
    done = {n for n, slot in slots.items() if not slot.staying and is_done(view, slot)}
    taken = {n for n, slot in slots.items() if slot.staying} | {n for n in done if n <= wanted}
    surplus = sorted(taken, key=lambda n: (n not in done, any(r.ready for r in slots[n].staying), -n))[
        : max(0, len(taken) - wanted)
    ]
    actions: list[Action] = []
    for number in sorted(surplus):
        why = f"{number_wanted(view, wanted)}, not {len(taken)}"
        actions += [retire(view, replica, why, now) for replica in slots[number].staying]
    kept = sorted(taken - set(surplus))
    fresh = _lowest_free(wanted - len(kept), taken)
    plan = _plan(view, [Place(number=n, slot=slots.get(n, Slot())) for n in sorted([*kept, *fresh])], now)
    return Plan(actions=(*actions, *plan.actions), wake_at=plan.wake_at, waits_for=plan.waits_for)


def _plan_global(view: ServiceView, now: float) -> Plan:
    by_node = {NodeId(str(place)): slot for place, slot in sort_into_slots(view, by_node=True).items()}
    wanted = [brief for brief in view.nodes.values() if not brief.refusal]
    actions: list[Action] = []
    for node_id, slot in by_node.items():
        brief = view.nodes.get(node_id)
        if brief is None or brief.refusal:
            why = f"{view.service.key} does not run on {brief.name if brief else node_id}: {brief.refusal if brief else 'gone'}"
            actions += [retire(view, replica, why, now) for replica in slot.staying]
    in_order = sorted(wanted, key=lambda brief: (brief.name, brief.id))
    places = [Place(number=0, node_id=brief.id, slot=by_node.get(brief.id, Slot())) for brief in in_order]
    plan = _plan(view, places, now)
    return Plan(actions=(*actions, *plan.actions), wake_at=plan.wake_at, waits_for=plan.waits_for)


def _plan(view: ServiceView, places: Sequence[Place], now: float) -> Plan:
    return plan_beside(view, places, now) if keeps_both(view) else plan_places(view, places, now)


def _lowest_free(count: int, taken: Iterable[int]) -> list[int]:
    """The `count` lowest slot numbers from 1 that are not taken."""
    used = set(taken)
    free: list[int] = []
    number = 1
    while len(free) < count:
        if number not in used:
            free.append(number)
        number += 1
    return free


def _adopt(view: ServiceView) -> list[Action]:
    service = view.service
    why = f"the settings of revision {service.revision} apply without a restart"
    return [
        Adopt(replica=replica, revision=service.revision, why=why)
        for replica in view.replicas
        if not replica.ended and replica.revision != service.revision and view.is_current(replica)
    ]


def _forget(view: ServiceView) -> list[Action]:
    """All but the last few ended replicas of each place that the service has, and of all other places together."""
    is_global = isinstance(view.spec.mode, Global | GlobalJob)
    old: list[Replica] = []
    elsewhere: list[Replica] = []
    for place, slot in sort_into_slots(view, by_node=is_global).items():
        has = slot.staying or (place in view.nodes if is_global else int(place) <= view.service.replicas)
        if has:
            old += slot.ended[:-KEEP_ENDED]
        else:
            elsewhere += slot.ended
    elsewhere.sort(key=lambda r: (r.created_at, r.id))
    return [Forget(replica=replica) for replica in (*old, *elsewhere[:-KEEP_ENDED_ELSEWHERE])]
