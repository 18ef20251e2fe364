"""Where a service goes when an operator wants an earlier revision back, and what that writes.

Invariant: nothing is made anew. The service's record names another of its revisions; the number of replicas stays, as it is the
service's own.
"""

import dataclasses
from collections.abc import Mapping

from rookery.model import Revision, Rollout, RolloutState, Service

from rookery_manager.planners.apply import replicas_of, revision_to_keep
from rookery_manager.planners.template import same_template


def revision_before(service: Service, revisions: Mapping[int, Revision]) -> int | None:
    """What ran before the revision in force: where the latest rollout came from, else the next lower revision whose replicas
    differ. None where there is none.

    A way back that is under way already is not turned round: it stays the answer.
    """
    current, latest = revisions[service.revision].spec, service.rollout
    if latest is not None:
        if latest.state is RolloutState.ROLLING_BACK or (latest.state is RolloutState.ROLLING and latest.is_return):
            return service.revision
        came_from = revisions.get(latest.before)
        is_told = latest.state is not RolloutState.ROLLED_BACK and not latest.is_return
        if is_told and came_from is not None and not same_template(came_from.spec, current):
            return latest.before
    lower = [number for number in revisions if number < service.revision]
    return max((number for number in lower if not same_template(revisions[number].spec, current)), default=None)


def plan_rollback(service: Service, revisions: Mapping[int, Revision], to: int, *, now: float) -> Service | None:
    """The service at revision `to`, which exists; None where that is in force. A rollout begins only where replicas differ."""
    if to == service.revision:
        return None
    current, wanted = revisions[service.revision].spec, revisions[to].spec
    rollout = service.rollout
    if not same_template(current, wanted):
        # To a later revision it is a rollout like any other, so it needs one to return to that is not itself under way.
        before = service.revision if to < service.revision else revision_to_keep(service)
        rollout = Rollout(before=before, after=to, started_at=now, changed_at=now)
    return dataclasses.replace(
        service,
        revision=to,
        # One that was global knows no number of replicas.
        replicas=service.replicas if type(current.mode) is type(wanted.mode) else replicas_of(wanted),
        changed_at=now,
        why=f"returned from revision {service.revision} to {to} by hand",
        rollout=rollout,
    )
