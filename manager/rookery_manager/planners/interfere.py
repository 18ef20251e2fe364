"""What an operator may do to a rollout that is under way: pause it, let it go on, send it back.

Each returns the service's record as it is to be, or says why that makes no sense now.
"""

import dataclasses

from rookery.model import OPEN, UNDER_WAY, Rollout, RolloutState, Service

from rookery_manager.planners.rollout import paused, restart_to_keep, turned_round


class NotNow(Exception):
    """It can't be done to the rollout as it is; the message says how it is, and what can be done."""


def pause(service: Service, *, now: float, actor: str) -> Service:
    rollout = _open(service)
    if rollout.state not in UNDER_WAY:
        raise NotNow(f"{_name(service, rollout)} is paused already: {rollout.why}")
    return _with(service, paused(rollout, f"{_what(rollout)} is paused by {actor}", now))


def resume(service: Service, *, now: float, actor: str) -> Service:
    """It goes on in the state in which it was paused; what failed before that is tried anew, and no longer held against it."""
    rollout = _open(service)
    if rollout.state is not RolloutState.PAUSED:
        raise NotNow(f"{_name(service, rollout)} is not paused, it is {rollout.state}")
    step_at = now if rollout.step_at else 0.0  # requests that a paused step saw are not compared
    why = f"{_what(rollout)} is resumed by {actor}"
    return _with(
        service,
        dataclasses.replace(rollout, state=rollout.paused_in, changed_at=now, judged_from_at=now, step_at=step_at, why=why),
    )


def abort(service: Service, *, now: float, actor: str) -> Service:
    """It goes back to the revision that it came from; an aborted restart leaves what is restarted. The replicas of the revision
    before are not restarted with that of the later one."""
    rollout = _open(service)
    back = RolloutState.ROLLING_BACK
    if rollout.state is back or (rollout.state is RolloutState.PAUSED and rollout.paused_in is back):
        raise NotNow(f"{_name(service, rollout)} goes back to revision {rollout.before} already; it is {rollout.state}")
    why = f"{_what(rollout)} is aborted by {actor}"
    after = _with(service, turned_round(rollout, why, now))
    return dataclasses.replace(after, revision=rollout.before, restarted_at=restart_to_keep(service, rollout))


def _open(service: Service) -> Rollout:
    rollout = service.rollout
    if rollout is None:
        raise NotNow(f"nothing was ever rolled out of {service.key}: revision {service.revision} is its first")
    if rollout.state not in OPEN:
        hint = f"to go back: rookery rollback {service.key}"
        raise NotNow(f"{_name(service, rollout)} is over, it is {rollout.state}: {rollout.why}; {hint}")
    return rollout


def _with(service: Service, rollout: Rollout) -> Service:
    return dataclasses.replace(service, rollout=rollout, changed_at=rollout.changed_at, why=rollout.why)


def _what(rollout: Rollout) -> str:
    return f"the restart of revision {rollout.after}" if rollout.is_restart else f"the rollout of revision {rollout.after}"


def _name(service: Service, rollout: Rollout) -> str:
    return f"{_what(rollout)} of {service.key}"
