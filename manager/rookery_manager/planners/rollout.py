"""Judges a rollout by its new replicas: it is done, it goes on, or it failed and is rolled back (or paused) as the spec asks.

Progress is nowhere but in the records: which replicas came with the rollout, whether they got ready, whether they crashed.
"""

from rookery.model import FailureAction, Replica, ReplicaState, Rollout, RolloutState, UpdateConfig

from rookery_manager.planners.actions import Plan, SetRollout, earliest
from rookery_manager.planners.view import ServiceView

UNDER_WAY = frozenset({RolloutState.ROLLING, RolloutState.ROLLING_BACK})


def settings(view: ServiceView) -> UpdateConfig:
    """How replicas are replaced now: a roll-back, by itself or by hand, has settings of its own."""
    rollout = view.service.rollout
    goes_back = rollout is not None and (rollout.state is RolloutState.ROLLING_BACK or rollout.is_return)
    return view.spec.rollback if goes_back else view.spec.update


def is_paused(view: ServiceView) -> bool:
    return view.service.rollout is not None and view.service.rollout.state is RolloutState.PAUSED


def plan_rollout(view: ServiceView, wanted: int, now: float) -> Plan:
    """The rollout's next state, if it changes; `wanted` is how many places the service has."""
    rollout = view.service.rollout
    if rollout is None or rollout.state not in UNDER_WAY or view.service.removing:
        return Plan()
    config = settings(view)
    since = rollout.started_at if rollout.state is RolloutState.ROLLING else rollout.changed_at
    new = [r for r in view.replicas if r.created_at >= since and view.is_current(r)]
    failed = {r.slot or r.node_id: r for r in new if _failure(r, config, now)}
    if failed and len(failed) > config.max_failure_ratio * max(wanted, 1) and config.failure_action is not FailureAction.CONTINUE:
        first = min(failed.values(), key=lambda r: (r.slot, r.id))
        words = f"{len(failed)} of {wanted} new replicas failed: {first.name} {_failure(first, config, now)}"
        return Plan(actions=(_fail(view, rollout, config, words),))
    alive = [r for r in view.replicas if not r.ended]
    completed = {r.slot or r.node_id for r in view.replicas if r.completed and view.is_current(r)}
    completed -= {r.slot or r.node_id for r in alive}
    if len(alive) <= wanted <= len(alive) + len(completed) and all(_is_settled(view, r, config, now) for r in alive):
        return Plan(actions=(_finish(view, rollout, now),))
    settles = [r.ready_at + config.monitor_s for r in alive if r.ready]
    gives_up = [r.created_at + config.progress_deadline_s + 0.001 for r in new if not r.ended and not r.ready_at]
    return Plan(wake_at=earliest(*(at for at in (*settles, *gives_up) if at > now)))


def _failure(replica: Replica, config: UpdateConfig, now: float) -> str:
    """In which way a new replica has failed; empty where it has not. One that was lost with its node has not."""
    if replica.state is ReplicaState.FAILED or replica.restarts:
        return replica.why or "crashed"
    never_ready = not replica.ended and not replica.ready_at
    if never_ready and now - replica.created_at > config.progress_deadline_s:
        return f"was not ready within {config.progress_deadline_s:g} s: {replica.why}"
    return ""


def _fail(view: ServiceView, rollout: Rollout, config: UpdateConfig, words: str) -> SetRollout:
    service = view.service
    # Whoever went back by hand left a revision that is no good: returning to it would go on for ever.
    can_return = rollout.state is RolloutState.ROLLING and not rollout.is_return and rollout.before in view.specs
    if config.failure_action is FailureAction.ROLLBACK and can_return:
        why = f"revision {rollout.after} is rolled back to {rollout.before}: {words}"
        return SetRollout(service=service, state=RolloutState.ROLLING_BACK, revision=rollout.before, why=why)
    why = f"the rollout of revision {service.revision} is paused: {words}"
    return SetRollout(service=service, state=RolloutState.PAUSED, revision=service.revision, why=why)


def _finish(view: ServiceView, rollout: Rollout, now: float) -> SetRollout:
    service = view.service
    took = f"in {now - rollout.started_at:.1f} s"
    if rollout.state is RolloutState.ROLLING:
        done = "is back" if rollout.is_return else "is rolled out"
        why = f"revision {service.revision} {done} {took}"
        return SetRollout(service=service, state=RolloutState.DONE, revision=service.revision, why=why)
    return SetRollout(service=service, state=RolloutState.ROLLED_BACK, revision=service.revision, why=rollout.why)


def _is_settled(view: ServiceView, replica: Replica, config: UpdateConfig, now: float) -> bool:
    return view.is_current(replica) and replica.ready and replica.ready_at + config.monitor_s <= now
