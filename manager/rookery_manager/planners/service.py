"""Keeps one service at what is wanted of it: how many replicas, of which revision, on nodes that may have them.

Invariant: with start-first order a ready replica is retired only when another one is ready in its place, when it is surplus, or
when no node has room for both. A place never has more than one replica of older revisions, nor two that keep failing.
"""

from collections.abc import Iterable, Sequence

from rookery.model import (
    Availability,
    Desired,
    Global,
    GlobalJob,
    NodeId,
    NodeState,
    Replica,
    ReplicaState,
    Replicated,
    ReplicatedJob,
    UpdateOrder,
)

from rookery_manager.planners.actions import Action, Adopt, Create, Forget, ForgetService, Plan, earliest
from rookery_manager.planners.rollout import is_paused, plan_rollout, settings
from rookery_manager.planners.stop import finish_drains, retire
from rookery_manager.planners.view import ServiceView, Slot, sort_into_slots

MOVE_AFTER_RESTARTS = 5
"""A replica that crashed so often on one node is tried on another: with back-off 0, 1, 2, 4, 8 s that is after some 15 s. The one
in its place is given twice as many, and so on: what fails everywhere is not moved for ever."""

KEEP_ENDED = 3
"""Ended replicas whose records are kept per slot, for `rookery ps --all`; history keeps all."""

KEEP_ENDED_ELSEWHERE = 10
"""So many are kept of all the places together that a service no longer has: higher slots, nodes that are gone."""


def plan_service(view: ServiceView, now: float) -> Plan:
    drains, wake_at = finish_drains(view, now)
    rollout = plan_rollout(view, _places_wanted(view), now)
    if rollout.actions:  # it may be another revision that is wanted from now on: the rest is planned for that one
        return Plan(actions=(*drains, *rollout.actions))
    if view.service.removing:
        rest = _remove(view, now)
    elif isinstance(view.spec.mode, Global | GlobalJob):
        rest = _plan_global(view, now)
    else:
        rest = _plan_replicated(view, now)
    return Plan(
        actions=(*drains, *_adopt(view), *rest.actions, *_forget(view)),
        wake_at=earliest(wake_at, rollout.wake_at, rest.wake_at),
        waits_for=rest.waits_for,
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
    done = {n for n, slot in slots.items() if not slot.staying and _is_done(view, slot)}
    taken = {n for n, slot in slots.items() if slot.staying} | {n for n in done if n <= wanted}
    surplus = sorted(taken, key=lambda n: (n not in done, any(r.ready for r in slots[n].staying), -n))[
        : max(0, len(taken) - wanted)
    ]
    actions: list[Action] = []
    for number in sorted(surplus):
        why = f"{_number_wanted(view, wanted)}, not {len(taken)}"
        actions += [retire(view, replica, why, now) for replica in slots[number].staying]
    kept = sorted(taken - set(surplus))
    fresh = _lowest_free(wanted - len(kept), taken)
    plan = _plan_places(view, [(n, NodeId(""), slots.get(n, Slot())) for n in [*kept, *fresh]], now)
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
    places = [(0, brief.id, by_node.get(brief.id, Slot())) for brief in sorted(wanted, key=lambda b: (b.name, b.id))]
    plan = _plan_places(view, [place for place in places if place[2].staying or not _is_done(view, place[2])], now)
    return Plan(actions=(*actions, *plan.actions), wake_at=plan.wake_at, waits_for=plan.waits_for)


def _plan_places(view: ServiceView, places: Sequence[tuple[int, NodeId, Slot]], now: float) -> Plan:
    """Fills empty places, replaces replicas that must go (as many at once as the update settings allow), drops doubles."""
    update = settings(view)
    budget = (
        0
        if is_paused(view)
        else (update.parallelism or len(places)) - sum(_is_unsettled(view, slot, now) for _, _, slot in places)
    )
    not_before = max((r.ready_at + update.delay_s for _, _, slot in places for r in _current(view, slot) if r.ready), default=0.0)
    held_until = not_before if update.delay_s and not_before > now else None
    actions: list[Action] = []
    wakes: list[float | None] = [held_until]
    waits: list[str] = []
    # What was started once is kept up, whatever becomes of what it depends on.
    held_back = bool(view.unmet) and not any(view.is_current(replica) for replica in view.replicas)
    for number, node_id, slot in places:
        current = _current(view, slot)
        outdated = sorted((r for r in slot.staying if r not in current), key=lambda r: (not r.ready, r.created_at, r.id))
        stale, spare = outdated[:1], outdated[1:]
        actions += [retire(view, r, _replaced(view, r), now) for r in spare]  # left by updates that others overtook
        good = [replica for replica in current if not _must_move(view, replica)]
        moving = [replica for replica in current if replica not in good]
        if not slot.staying:
            if _is_done(view, slot):
                continue
            if held_back:
                waits.append(view.unmet)
            elif not (slot.leaving and _goes_stop_first(view)):
                actions.append(_create(view, number, node_id, slot))
        elif good:
            keeper = min(good, key=lambda r: (not r.ready, r.created_at, r.id))
            doubles = [(r, f"{keeper.name} runs as {keeper.id[:8]} already") for r in good if r is not keeper]
            actions += [retire(view, replica, why, now) for replica, why in doubles]
            if keeper.ready:
                settled_at = keeper.ready_at + (update.monitor_s if stale else 0.0)
                if settled_at <= now:
                    actions += [retire(view, r, _replaced(view, r), now) for r in stale]
                    actions += [retire(view, r, _must_move(view, r), now) for r in moving]
                else:
                    wakes.append(settled_at)
            else:
                waits.append(f"{keeper.name} to be ready ({keeper.why})")
                if keeper.state is ReplicaState.PENDING:
                    actions += [retire(view, r, _must_move(view, r), now) for r in moving if _is_leaving(view, r)]
                    tight = [r for r in (*stale, *moving) if r.id in view.in_the_way and not _is_leaving(view, r)]
                    actions += [retire(view, r, f"{_out(view, r)}, and no node has room for both", now) for r in tight]
        elif _is_done(view, slot) and not moving:
            last = slot.ended[-1]
            if last.state is ReplicaState.FAILED:
                waits.append(f"{last.name} failed: {last.why}")
            else:
                actions += [retire(view, r, _replaced(view, r), now) for r in stale]
        elif held_back and not moving:
            waits.append(view.unmet)
        elif moving or _is_broken(stale) or (budget > 0 and held_until is None):
            if not moving and not _is_broken(stale):
                budget -= 1
            old = [*stale, *moving]
            if _goes_stop_first(view):
                actions += [retire(view, r, _out(view, r), now) for r in old]
            elif not node_id or not moving:
                failing = [r for r in moving if not r.ready]
                actions += [retire(view, r, _must_move(view, r), now) for r in failing[:-1]]
                actions.append(_create(view, number, node_id, slot))
        else:
            waits.append(f"{stale[0].name} to be replaced")
    return Plan(actions=tuple(actions), wake_at=earliest(*wakes), waits_for=waits[0] if waits else "")


def _current(view: ServiceView, slot: Slot) -> list[Replica]:
    return [replica for replica in slot.staying if view.is_current(replica)]


def _is_unsettled(view: ServiceView, slot: Slot, now: float) -> bool:
    """True where a place is empty, in the middle of a replacement (one that gave up, too), or not ready: it counts against the
    update's parallelism."""
    current = _current(view, slot)
    if not current:
        return bool(slot.staying) == _is_done(view, slot)
    stale = len(current) < len(slot.staying)
    settled = any(r.ready and r.ready_at + (settings(view).monitor_s if stale else 0.0) <= now for r in current)
    return not settled


def _is_broken(replicas: Sequence[Replica]) -> bool:
    """True where none of them ever served: replacing them takes nothing away."""
    return bool(replicas) and all(replica.state is ReplicaState.PENDING for replica in replicas)


def _must_move(view: ServiceView, replica: Replica) -> str:
    """Why a replica can't stay on its node; empty where it can."""
    brief = view.nodes.get(replica.node_id)
    if not replica.node_id or brief is None:
        return ""
    if brief.state is NodeState.LEFT:
        return f"node {brief.name} leaves: {brief.why}"
    if brief.availability is Availability.DRAINED:
        return f"node {brief.name} is drained"
    if replica.move_why:
        return replica.move_why
    failing = not replica.ready and replica.restarts >= MOVE_AFTER_RESTARTS and isinstance(view.spec.mode, Replicated)
    if failing and replica.restarts >= MOVE_AFTER_RESTARTS * 2 ** _moves_before(view, replica):
        return f"it failed {replica.restarts} times on node {brief.name}"
    return ""


def _moves_before(view: ServiceView, replica: Replica) -> int:
    """How many before it in its place failed as often, as far as records of them are kept."""
    before = (r for r in view.replicas if r.slot == replica.slot and r.created_at < replica.created_at)
    return sum(r.restarts >= MOVE_AFTER_RESTARTS and r.revision == replica.revision for r in before)


def _is_leaving(view: ServiceView, replica: Replica) -> bool:
    brief = view.nodes.get(replica.node_id)
    return brief is not None and brief.state is NodeState.LEFT


def _goes_stop_first(view: ServiceView) -> bool:
    return settings(view).order is UpdateOrder.STOP_FIRST or isinstance(view.spec.mode, ReplicatedJob | GlobalJob)


def _is_done(view: ServiceView, slot: Slot) -> bool:
    """True where the place's last replica ended by itself and its restart policy asks for no other."""
    last = slot.last_ended
    return (
        last is not None
        and last.desired is Desired.RUN
        and last.state in (ReplicaState.STOPPED, ReplicaState.FAILED)
        and view.is_current(last)
    )


def _replaced(view: ServiceView, replica: Replica) -> str:
    return f"revision {replica.revision} of {view.service.key} is replaced by {view.service.revision}"


def _out(view: ServiceView, replica: Replica) -> str:
    """Why a replica goes: it can't stay where it is, or is of another revision."""
    return _must_move(view, replica) or _replaced(view, replica)


def _create(view: ServiceView, slot_number: int, node_id: NodeId, slot: Slot) -> Create:
    service = view.service
    moved = next((why for r in slot.staying if (why := _must_move(view, r))), "")
    last = slot.last_ended
    if moved:
        why = f"takes the place of {slot.staying[0].name}: {moved}"
    elif stale := [r for r in (*slot.staying, *slot.leaving) if not view.is_current(r)]:
        why = _replaced(view, stale[0])
    elif last is not None and last.desired is Desired.RUN:
        why = f"takes the place of one that ended: {last.why}"
    else:
        why = _number_wanted(view, service.replicas) if slot_number else f"{service.key} is wanted on every node"
    brief = view.nodes.get(node_id)
    return Create(
        app=service.app,
        service=service.name,
        slot=slot_number,
        revision=service.revision,
        node_id=node_id,
        node_name=brief.name if brief else "",
        why=why,
    )


def _number_wanted(view: ServiceView, number: int) -> str:
    return f"{number} replica{'s' if number != 1 else ''} of {view.service.key} {'are' if number != 1 else 'is'} wanted"


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
