"""Judges a rollout by its new replicas: it is done, it goes on, or it failed and is rolled back (or paused) as the spec asks.

Progress is nowhere but in the records: which replicas came with the rollout, whether they got ready, whether they crashed.
"""

import dataclasses

from rookery.model import UNDER_WAY, FailureAction, Replica, ReplicaState, Rollout, RolloutState, Service, UpdateConfig

from rookery_manager.planners.actions import Plan, SetRollout, earliest
from rookery_manager.planners.sharing import is_shared, strategy_of
from rookery_manager.planners.steps import places_of_step, plan_step
from rookery_manager.planners.view import ServiceView


def settings(view: ServiceView) -> UpdateConfig:
    """How replicas are replaced now: a roll-back, by itself or by hand, has settings of its own."""
    rollout = view.service.rollout
    goes_back = rollout is not None and (rollout.state is RolloutState.ROLLING_BACK or rollout.is_return)
    return view.spec.rollback if goes_back else view.spec.update


def is_paused(view: ServiceView) -> bool:
    return view.service.rollout is not None and view.service.rollout.state is RolloutState.PAUSED


def plan_rollout(view: ServiceView, wanted: int, now: float) -> Plan:
    """The rollout's next state or step, if it changes; `wanted` is how many places the service has."""
    rollout = view.service.rollout
    if rollout is None or rollout.state not in UNDER_WAY or view.service.removing:
        return Plan()
    config = settings(view)
    shared = is_shared(view.service, view.specs)
    judged = places_of_step(strategy_of(view.service, view.specs), rollout, wanted) if shared else wanted
    new = [r for r in view.replicas if view.is_current(r) and (r.created_at >= rollout.judged_since or not r.ended)]
    failed = {r.slot or r.node_id: r for r in new if _failure(r, rollout, config, now)}
    if failed and len(failed) > config.max_failure_ratio * max(judged, 1) and config.failure_action is not FailureAction.CONTINUE:
        first = min(failed.values(), key=lambda r: (r.slot, r.id))
        words = f"{len(failed)} of {judged} new replicas failed: {first.name} {_failure(first, rollout, config, now)}"
        return Plan(actions=(_fail(view, rollout, config, words, now),))
    gives_up = [_judged_from(r, rollout) + config.progress_deadline_s + 0.001 for r in new if not r.ended and not r.ready_at]
    wake_at = earliest(*(at for at in gives_up if at > now))
    if shared:
        step = plan_step(view, rollout, wanted, now)
        if step.worse:
            return Plan(actions=(_fail(view, rollout, config, step.worse, now),))
        if step.over:
            return Plan(actions=(_finish(view, rollout, now),))
        moves = (_go_on(view, step.rollout),) if step.rollout else ()
        return Plan(actions=moves, wake_at=earliest(wake_at, step.wake_at), waits_for=step.waits_for)
    alive = [r for r in view.replicas if not r.ended]
    completed = {r.slot or r.node_id for r in view.replicas if r.completed and view.is_current(r)}
    completed -= {r.slot or r.node_id for r in alive}
    if len(alive) <= wanted <= len(alive) + len(completed) and all(_is_settled(view, r, config, now) for r in alive):
        return Plan(actions=(_finish(view, rollout, now),))
    settles = [r.ready_at + config.monitor_s for r in alive if r.ready]
    return Plan(wake_at=earliest(wake_at, *(at for at in settles if at > now)))


def _failure(replica: Replica, rollout: Rollout, config: UpdateConfig, now: float) -> str:
    """In which way a new replica has failed; empty where it has not. One that was lost with its node has not, and how one fared
    before the rollout began, or was resumed, does not count: from then on it has its time to get ready."""
    is_judged = replica.created_at >= rollout.judged_since
    if is_judged and (replica.state is ReplicaState.FAILED or replica.restarts):
        return replica.why or "crashed"
    if replica.state is ReplicaState.PENDING and config.waits_for_room:
        return ""
    never_ready = not replica.ended and not replica.ready_at
    if never_ready and now - _judged_from(replica, rollout) > config.progress_deadline_s:
        return f"was not ready within {config.progress_deadline_s:g} s: {replica.why}"
    return ""


def _judged_from(replica: Replica, rollout: Rollout) -> float:
    return max(replica.created_at, rollout.judged_since)


def _fail(view: ServiceView, rollout: Rollout, config: UpdateConfig, words: str, now: float) -> SetRollout:
    service = view.service
    # Whoever went back by hand left a revision that is no good: returning to it would go on for ever.
    can_return = rollout.state is RolloutState.ROLLING and rollout.after > rollout.before and rollout.before in view.specs
    if config.failure_action is FailureAction.ROLLBACK and can_return:
        why = f"revision {rollout.after} is rolled back to {rollout.before}: {words}"
        back = turned_round(rollout, why, now)
        kept = restart_to_keep(service, rollout)
        return SetRollout(service=service, rollout=back, revision=rollout.before, restarted_at=kept)
    what = "restart" if rollout.is_restart else "rollout"
    why = f"the {what} of revision {service.revision} is paused: {words}"
    return SetRollout(service=service, rollout=paused(rollout, why, now), revision=service.revision)


def turned_round(rollout: Rollout, why: str, now: float) -> Rollout:
    """The rollout on its way back to where it came from."""
    return dataclasses.replace(
        rollout, state=RolloutState.ROLLING_BACK, why=why, changed_at=now, judged_from_at=now, share=0, step=0, step_at=0.0
    )


def restart_to_keep(service: Service, rollout: Rollout) -> float:
    """The service's `restarted_at` once the rollout goes back: a restart that it is, or that began it anew, is off then, or all
    that runs of the revision before would be replaced."""
    return 0.0 if service.restarted_at >= rollout.started_at else service.restarted_at


def paused(rollout: Rollout, why: str, now: float) -> Rollout:
    return dataclasses.replace(rollout, state=RolloutState.PAUSED, paused_in=rollout.state, why=why, changed_at=now)


def _go_on(view: ServiceView, rollout: Rollout) -> SetRollout:
    return SetRollout(service=view.service, rollout=rollout, revision=view.service.revision)


def _finish(view: ServiceView, rollout: Rollout, now: float) -> SetRollout:
    service = view.service
    if rollout.state is RolloutState.ROLLING_BACK:
        ended = dataclasses.replace(rollout, state=RolloutState.ROLLED_BACK, changed_at=now)
    else:
        done = "is back" if rollout.is_return else "is restarted" if rollout.is_restart else "is rolled out"
        why = f"revision {service.revision} {done} in {now - rollout.started_at:.1f} s"
        ended = dataclasses.replace(rollout, state=RolloutState.DONE, changed_at=now, why=why, share=0, step=0, step_at=0.0)
    return SetRollout(service=service, rollout=ended, revision=service.revision)


def _is_settled(view: ServiceView, replica: Replica, config: UpdateConfig, now: float) -> bool:
    return view.is_current(replica) and replica.ready and replica.ready_at + config.monitor_s <= now
