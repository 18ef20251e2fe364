"""What one place of a service needs next: to be filled, to have its replica replaced, or to be left alone.

A place is a slot number, or for a global service a node. Invariant: with start-first order a ready replica is retired only when
another one is ready in its place, when it is surplus, or when no node has room for both; with stop-first order when all that
another one needs is on its node, so that nobody waits for a pull. A place never has more than one replica of older revisions, nor
two that keep failing.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from rookery.model import (
    Availability,
    Desired,
    GlobalJob,
    NodeId,
    NodeState,
    Replica,
    ReplicaState,
    Replicated,
    ReplicatedJob,
    UpdateOrder,
)

from rookery_manager.planners.actions import Action, Create, Launch, Plan, earliest
from rookery_manager.planners.pace import pace
from rookery_manager.planners.rollout import settings
from rookery_manager.planners.stop import retire
from rookery_manager.planners.view import ServiceView, Slot, current_in, is_done

MOVE_AFTER_RESTARTS = 5
"""A replica that crashed so often on one node is tried on another: with back-off 0, 1, 2, 4, 8 s that is after some 15 s. The one
in its place is given twice as many, and so on: what fails everywhere is not moved for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A slot number, or 0 and a node. `why` is what a new replica is for, where there is more to say than that it is wanted."""

    number: int
    node_id: NodeId = NodeId("")
    slot: Slot
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What is next for one place; `replaces` when that is one of the replacements that an update's parallelism counts."""

    actions: tuple[Action, ...] = ()
    wake_at: float | None = None
    waits_for: str = ""
    replaces: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """A place's replicas by what is to become of them."""

    good: tuple[Replica, ...]  # of the wanted revision, where they may stay
    moving: tuple[Replica, ...]  # of the wanted revision, where they can't stay
    stale: tuple[Replica, ...]  # the one of an older revision that serves meanwhile
    spare: tuple[Replica, ...]  # left by updates that others overtook


def plan_places(view: ServiceView, places: Sequence[Place], now: float) -> Plan:
    """Fills empty places, replaces replicas that must go (as many at once as the update settings allow), drops doubles."""
    paced = pace(view, [place.slot for place in places], now)
    budget = paced.may_begin
    # What was started once is kept up, whatever becomes of what it depends on.
    held_back = bool(view.unmet) and not view.has_begun
    steps = []
    for place in places:
        step = _next_step(view, place, now, may_replace=budget > 0 and paced.held_until is None, held_back=held_back)
        budget -= step.replaces
        steps.append(step)
    return Plan(
        actions=tuple(action for step in steps for action in step.actions),
        wake_at=earliest(paced.held_until, *(step.wake_at for step in steps)),
        waits_for=next((step.waits_for for step in steps if step.waits_for), ""),
    )


def number_wanted(view: ServiceView, number: int) -> str:
    return f"{number} replica{'s' if number != 1 else ''} of {view.service.key} {'are' if number != 1 else 'is'} wanted"


def _next_step(view: ServiceView, place: Place, now: float, *, may_replace: bool, held_back: bool) -> _Step:
    if not place.slot.staying:
        return _fill(view, place, held_back=held_back)
    parts = _sort(view, place.slot)
    dropped = tuple(retire(view, r, replaced(view, r), now) for r in parts.spare)
    if parts.good:
        step = _settle(view, place.slot, parts, now)
    elif is_done(view, place.slot) and not parts.moving:
        step = _conclude(view, place.slot, parts, now)
    elif held_back and not parts.moving:
        step = _Step(waits_for=view.unmet)
    elif parts.moving or _never_served(parts.stale):  # the update's pace is for what still serves where it may stay
        step = _replace(view, place, parts, now)
    elif may_replace:
        step = dataclasses.replace(_replace(view, place, parts, now), replaces=True)
    else:
        step = _Step(waits_for=f"{parts.stale[0].name} to be replaced")
    return dataclasses.replace(step, actions=(*dropped, *step.actions))


def _sort(view: ServiceView, slot: Slot) -> _Parts:
    current = current_in(view, slot)
    outdated = sorted((r for r in slot.staying if r not in current), key=lambda r: (not r.ready, r.created_at, r.id))
    moving = tuple(replica for replica in current if _must_move(view, replica))
    good = tuple(replica for replica in current if replica not in moving)
    return _Parts(good=good, moving=moving, stale=tuple(outdated[:1]), spare=tuple(outdated[1:]))


def _fill(view: ServiceView, place: Place, *, held_back: bool) -> _Step:
    """A place where nothing is, or only what is on its way out."""
    if is_done(view, place.slot):
        return _Step()
    if held_back:
        return _Step(waits_for=view.unmet)
    if place.slot.leaving and _goes_stop_first(view):
        return _Step()
    return _Step(actions=(_create(view, place),))


def _settle(view: ServiceView, slot: Slot, parts: _Parts, now: float) -> _Step:
    """A place that has what is wanted: once that is ready, and stayed so, the others go."""
    keeper = min(parts.good, key=lambda r: (not r.ready, r.created_at, r.id))
    doubles = [r for r in parts.good if r is not keeper]
    actions = [retire(view, r, f"{keeper.name} runs as {keeper.id[:8]} already", now) for r in doubles]
    if keeper.desired is Desired.PREPARE:
        return _take_over(view, slot, keeper, parts, actions, now)
    if not keeper.ready:
        if keeper.state is ReplicaState.PENDING:
            actions += _make_room(view, parts, now)
        return _Step(actions=tuple(actions), waits_for=f"{keeper.name} to be ready ({keeper.why})")
    settled_at = keeper.ready_at + (settings(view).monitor_s if parts.stale else 0.0)
    if settled_at > now:
        return _Step(actions=tuple(actions), wake_at=settled_at)
    actions += [retire(view, r, _out(view, r), now) for r in (*parts.stale, *parts.moving)]
    return _Step(actions=tuple(actions))


def _take_over(view: ServiceView, slot: Slot, keeper: Replica, parts: _Parts, actions: list[Action], now: float) -> _Step:
    """A place in which one is prepared while another still runs: that one stops when the new one could start."""
    before = (*parts.stale, *parts.moving)
    is_prepared = keeper.state is ReplicaState.STARTING
    if not before and not slot.leaving:
        return _Step(actions=(*actions, Launch(replica=keeper, why="nothing is left in its place that has to stop first")))
    if before and (is_prepared or keeper.state is ReplicaState.PENDING):
        tight = [r for r in before if is_prepared or r.id in view.in_the_way or _is_leaving(view, r)]
        actions += [retire(view, r, _out(view, r), now) for r in tight]
    waits_for = f"{before[0].name} to stop" if before and is_prepared else f"{keeper.name} to be prepared ({keeper.why})"
    return _Step(actions=tuple(actions), waits_for=waits_for)


def _make_room(view: ServiceView, parts: _Parts, now: float) -> list[Action]:
    """For a replacement that no node takes: its predecessor goes first where the node leaves anyway, or has no room for both and
    the spec does not ask to wait."""
    leaving = [r for r in parts.moving if _is_leaving(view, r)]
    if settings(view).waits_for_room:
        return [retire(view, r, _must_move(view, r), now) for r in leaving]
    tight = [r for r in (*parts.stale, *parts.moving) if r.id in view.in_the_way and not _is_leaving(view, r)]
    actions = [retire(view, r, _must_move(view, r), now) for r in leaving]
    return actions + [retire(view, r, f"{_out(view, r)}, and no node has room for both", now) for r in tight]


def _conclude(view: ServiceView, slot: Slot, parts: _Parts, now: float) -> _Step:
    """A place whose new replica ended by itself: one that failed leaves the old one serving."""
    last = slot.ended[-1]
    if last.state is ReplicaState.FAILED:
        return _Step(waits_for=f"{last.name} failed: {last.why}")
    return _Step(actions=tuple(retire(view, r, replaced(view, r), now) for r in parts.stale))


def _replace(view: ServiceView, place: Place, parts: _Parts, now: float) -> _Step:
    """The beginning of a replacement: the new one is created, with stop-first order to be prepared only. Jobs stop at once."""
    if isinstance(view.spec.mode, ReplicatedJob | GlobalJob):
        return _Step(actions=tuple(retire(view, r, _out(view, r), now) for r in (*parts.stale, *parts.moving)))
    if place.node_id and parts.moving:
        return _Step()  # a global service's replica has nowhere else to go
    if _goes_stop_first(view):
        return _Step(actions=(_create(view, place, desired=Desired.PREPARE),))
    failing = [r for r in parts.moving if not r.ready]
    given_up = [retire(view, r, _must_move(view, r), now) for r in failing[:-1]]
    return _Step(actions=(*given_up, _create(view, place)))


def _never_served(replicas: Sequence[Replica]) -> bool:
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


def replaced(view: ServiceView, replica: Replica) -> str:
    """Why a replica goes that is not what is wanted now."""
    service = view.service
    if replica.revision == service.revision:
        return f"{service.key} is restarted"
    return f"revision {replica.revision} of {service.key} is replaced by {service.revision}"


def _out(view: ServiceView, replica: Replica) -> str:
    """Why a replica goes: it can't stay where it is, or is of another revision."""
    return _must_move(view, replica) or replaced(view, replica)


def _create(view: ServiceView, place: Place, *, desired: Desired = Desired.RUN) -> Create:
    service, slot = view.service, place.slot
    moved = next((why for r in slot.staying if (why := _must_move(view, r))), "")
    last = slot.last_ended
    if moved:
        why = f"takes the place of {slot.staying[0].name}: {moved}"
    elif stale := [r for r in (*slot.staying, *slot.leaving) if not view.is_current(r)]:
        why = replaced(view, stale[0])
    elif last is not None and last.desired is Desired.RUN:
        why = f"takes the place of one that ended: {last.why}"
    else:
        wanted = number_wanted(view, service.replicas) if place.number else f"{service.key} is wanted on every node"
        why = place.why or wanted
    brief = view.nodes.get(place.node_id)
    return Create(
        app=service.app,
        service=service.name,
        slot=place.number,
        revision=service.revision,
        node_id=place.node_id,
        node_name=brief.name if brief else "",
        why=why,
        desired=desired,
    )
