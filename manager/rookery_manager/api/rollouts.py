"""UpdateRollout and GetRollout: how a service's latest rollout goes, and what an operator may do to it. ListAppRevisions."""

from rookery.model import Canary, RolloutStatus, Service
from rookery.v1 import control_pb2
from rookery.wire import encode

from rookery_manager.api.committing import Proposal, checked_actor, commit
from rookery_manager.api.errors import impossible_now, invalid
from rookery_manager.api.find import find_app, find_service, spec_of
from rookery_manager.api.needs import Api
from rookery_manager.api.services import past_rollouts, status_of_service
from rookery_manager.planners.interfere import NotNow, abort, pause, resume
from rookery_manager.planners.service import plan_service
from rookery_manager.planners.sharing import shares_of
from rookery_manager.planners.steps import strategy_name
from rookery_manager.records import put
from rookery_manager.views import service_view

REVISIONS_SHOWN = 100

ACTIONS = {
    control_pb2.ROLLOUT_ACTION_PAUSE: pause,
    control_pb2.ROLLOUT_ACTION_RESUME: resume,
    control_pb2.ROLLOUT_ACTION_ABORT: abort,
}


async def update_rollout(api: Api, request: control_pb2.UpdateRolloutRequest) -> control_pb2.RolloutStatus:
    actor = checked_actor(request.actor)
    act = ACTIONS.get(request.action)
    if act is None:
        raise invalid(f"action: {request.action} is none of pause, resume and abort")

    def propose() -> Proposal[None]:
        service = find_service(api.state, request.app, request.service)
        if service.removing:
            raise impossible_now(f"{service.key} is being removed; deploy it again to have it back")
        try:
            after = act(service, now=api.clock(), actor=actor)
        except NotNow as error:
            raise impossible_now(str(error)) from error
        if after.revision not in api.state.revisions.get(service.key, {}):
            raise impossible_now(f"{service.key} has no revision {after.revision} to go back to")
        return Proposal(answer=None, writes=[put(after, after.why)], conditions=api.state.conditions([service]))

    await commit(api, propose, request.actor)
    return _status(api, find_service(api.state, request.app, request.service))


async def get_rollout(api: Api, request: control_pb2.GetRolloutRequest) -> control_pb2.RolloutStatus:
    return _status(api, find_service(api.state, request.app, request.service))


async def list_app_revisions(api: Api, request: control_pb2.ListAppRevisionsRequest) -> control_pb2.ListAppRevisionsResponse:
    found = api.state.app_revisions.get(find_app(api.state, request.app).name, {})
    newest = sorted(found, reverse=True)[:REVISIONS_SHOWN]
    return control_pb2.ListAppRevisionsResponse(revisions=[encode(found[number]) for number in newest])


def _status(api: Api, service: Service) -> control_pb2.RolloutStatus:
    spec, counts = spec_of(api.state, service), status_of_service(api.state, service)
    assert counts is not None  # its revision is there
    view = service_view(api.state, service.key, api.proxies)
    assert view is not None
    compared = view.comparison
    strategy = spec.strategy
    status = RolloutStatus(
        app=service.app,
        service=service.name,
        rollout=service.rollout,
        strategy=strategy_name(strategy),
        steps=shares_of(strategy) if isinstance(strategy, Canary) else (),
        wanted=counts.wanted,
        updated=counts.updated,
        ready=counts.ready,
        waits_for="" if counts.converged else plan_service(view, api.clock()).waits_for or counts.why,
        new=compared.new if compared else None,
        old=compared.old if compared else None,
        slow_s=compared.slow_s if compared else 0.0,
        past=past_rollouts(api.state, service),
    )
    message: control_pb2.RolloutStatus = encode(status)
    return message
