"""Whether a service is restarted because one that it depends on was updated (`depends_on.NAME.restart`).

Invariant: what was created after that update is not restarted for it, so one update restarts a replica once at most.
"""

from rookery.model import OPEN

from rookery_manager.planners.actions import Plan, SetRollout
from rookery_manager.planners.begin import begin
from rookery_manager.planners.view import ServiceView

ACTOR = "manager"


def plan_following(view: ServiceView, now: float) -> Plan:
    """The restart that an update of a dependency asks for, where the service is not in the middle of something."""
    service = view.service
    is_open = service.rollout is not None and service.rollout.state in OPEN
    if service.removing or is_open or not view.updated_at:
        return Plan()
    key, at = max(view.updated_at.items(), key=lambda updated: updated[1])
    older = any(not replica.ended and replica.created_at < at for replica in view.replicas)
    if not older or service.restarted_at >= at:
        return Plan()
    why = f"{service.key} is restarted: {key}, which it depends on, was updated"
    begun = begin(service, before=service.revision, after=service.revision, now=now, actor=ACTOR, why=why)
    return Plan(actions=(SetRollout(service=service, rollout=begun.rollout, revision=service.revision, restarted_at=at),))
