"""GetAutoscale and SetAutoscale; and how a service stands in this."""

import dataclasses

from rookery.model import Autoscale, AutoscaleStatus, ScaleByHand, Service
from rookery.v1 import control_pb2
from rookery.wire import WireError, decode, encode

from rookery_manager.api.committing import Proposal, commit
from rookery_manager.api.errors import faulty, impossible_now
from rookery_manager.api.find import find_service, spec_of
from rookery_manager.api.needs import Api
from rookery_manager.decisions import decisions_of
from rookery_manager.planners.autoscale import bounds_at
from rookery_manager.planners.validate import value_faults
from rookery_manager.planners.validate_autoscale import autoscale_faults
from rookery_manager.records import put


async def get_autoscale(api: Api, request: control_pb2.GetAutoscaleRequest) -> control_pb2.AutoscaleStatus:
    return await _answer(api, find_service(api.state, request.app, request.service))


async def set_autoscale(api: Api, request: control_pb2.SetAutoscaleRequest) -> control_pb2.AutoscaleStatus:
    try:
        policy = decode(Autoscale, request.policy) if request.HasField("policy") else None
    except WireError as error:
        raise faulty([f"policy: {error}"]) from error

    def propose() -> Proposal[None]:
        service = find_service(api.state, request.app, request.service)
        spec = spec_of(api.state, service)
        if service.removing:
            raise impossible_now(f"{service.key} is being removed; deploy it again to have it back")
        if policy is not None:
            faults = list(value_faults(policy, "policy")) or list(autoscale_faults(spec, policy, "policy"))
            if faults:
                raise faulty(faults)
        by_hand = ScaleByHand(policy=policy) if policy != spec.autoscale else None
        if by_hand == service.by_hand:
            return Proposal(answer=None)
        why = _told(service.autoscale(spec), policy)
        after = dataclasses.replace(service, by_hand=by_hand, changed_at=api.clock(), why=why)
        return Proposal(answer=None, writes=[put(after, why)], conditions=api.state.conditions([service]))

    await commit(api, propose, request.actor)
    return await _answer(api, find_service(api.state, request.app, request.service))


def _told(before: Autoscale | None, after: Autoscale | None) -> str:
    if after is None:
        return "autoscaling is off: the number of replicas stays as it is"
    targets = ", ".join(f"{target.metric} {target.value:g}" for target in after.targets)
    how = f"between {after.minimum} and {after.maximum} by {targets}"
    return f"autoscaling is on: {how}" if before is None else f"autoscaling is changed: {how}"


async def _answer(api: Api, service: Service) -> control_pb2.AutoscaleStatus:
    decisions = await decisions_of(api.store, service)
    message: control_pb2.AutoscaleStatus = encode(dataclasses.replace(status_of(api, service), decisions=decisions))
    return message


def status_of(api: Api, service: Service) -> AutoscaleStatus:
    """How it stands now, without the decisions before."""
    key = service.key
    policy = service.autoscale(spec_of(api.state, service))
    bounds = bounds_at(policy, api.clock()) if policy is not None else None
    return AutoscaleStatus(
        app=service.app,
        service=service.name,
        policy=policy,
        by_hand=service.by_hand is not None,
        minimum=bounds.least if bounds else 0,
        maximum=bounds.most if bounds else 0,
        replicas=service.replicas,
        ready=sum(replica.ready and not replica.ended for replica in api.state.replicas_of(key).values()),
        held=api.scaling.demand_of(key).held if policy is not None else 0,
        latest=api.scaling.latest(key) if policy is not None else None,
    )
