"""Where a service, or an app, goes when an operator wants an earlier revision back or the same one anew, and what that writes.

Invariant: no revision is made. The service's record names another of its revisions; the number of replicas stays, as it is the
service's own.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from rookery.model import AppRevision, PastRollout, Revision, RolloutState, Service

from rookery_manager.planners.apply import replicas_of
from rookery_manager.planners.begin import begin, revision_to_keep
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A service's record as it is to be, and that of a rollout which is over with that, if there is one."""

    service: Service
    overtaken: PastRollout | None = None


def plan_rollback(
    service: Service, revisions: Mapping[int, Revision], to: int, *, now: float, actor: str, is_reverse: bool = False
) -> Changed | None:
    """The service at revision `to`, which exists; None where that is in force. A rollout begins only where replicas differ.

    With `is_reverse` it waits for the services that depend on it: they go back first.
    """
    if to == service.revision:
        return None
    current, wanted = revisions[service.revision].spec, revisions[to].spec
    rollout, overtaken = service.rollout, None
    if not same_template(current, wanted):
        # To a later revision it is a rollout like any other, so it needs one to return to that is not itself under way.
        before = service.revision if to < service.revision else revision_to_keep(service)
        begun = begin(service, before=before, after=to, now=now, actor=actor, is_reverse=is_reverse)
        rollout, overtaken = begun.rollout, begun.overtaken
    returned = dataclasses.replace(
        service,
        revision=to,
        # One that was global knows no number of replicas.
        replicas=service.replicas if type(current.mode) is type(wanted.mode) else replicas_of(wanted),
        changed_at=now,
        why=f"returned from revision {service.revision} to {to} by hand",
        rollout=rollout,
    )
    return Changed(service=returned, overtaken=overtaken)


def plan_restart(service: Service, *, now: float, actor: str) -> Changed:
    """The service with all that runs of it to be replaced by its like. An update that is under way begins anew."""
    begun = begin(service, before=revision_to_keep(service), after=service.revision, now=now, actor=actor)
    why = f"restarted at revision {service.revision}"
    restarted = dataclasses.replace(service, restarted_at=now, changed_at=now, why=why, rollout=begun.rollout)
    return Changed(service=restarted, overtaken=begun.overtaken)


def app_revision_before(in_force: Mapping[str, int], revisions: Mapping[int, AppRevision]) -> int | None:
    """Where an app returns to: its newest revision that takes some service back and none forward. None where there is none."""
    for number in sorted(revisions, reverse=True):
        then = revisions[number].services
        both = in_force.keys() & then.keys()
        if any(then[name] < in_force[name] for name in both) and all(then[name] <= in_force[name] for name in both):
            return number
    return None
