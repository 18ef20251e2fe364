"""Apps and services: ListApps, GetApp, ListServices, GetService, Scale."""

import dataclasses
from dataclasses import replace

from rookery.model import (
    App,
    AppStatus,
    Global,
    GlobalJob,
    PortMode,
    Rollout,
    Service,
    ServiceDetail,
    ServiceKey,
    ServiceStatus,
)
from rookery.v1 import control_pb2
from rookery.wire import encode

from rookery_manager.api.committing import Proposal, commit
from rookery_manager.api.errors import impossible_now, invalid
from rookery_manager.api.find import find_app, find_service, services_of, spec_of
from rookery_manager.api.needs import Api
from rookery_manager.api.placing import count_eligible
from rookery_manager.planners.status import service_status
from rookery_manager.planners.validate import MAX_REPLICAS
from rookery_manager.records import put
from rookery_manager.state import State
from rookery_manager.views import unmet_dependency

REVISIONS_SHOWN = 100  # the newest; all are kept, but an answer has to fit what a client takes (4 MiB unless told)


def status_of_service(state: State, service: Service) -> ServiceStatus | None:
    """None where the wanted revision is missing, as between two steps of a removal."""
    specs = {number: revision.spec for number, revision in state.revisions.get(service.key, {}).items()}
    spec = specs.get(service.revision)
    if spec is None:
        return None
    eligible = count_eligible(state, service.key, spec) if isinstance(spec.mode, Global | GlobalJob) else 0
    unmet = unmet_dependency(state, service, specs[service.revision])
    return service_status(service, specs, tuple(state.replicas_of(service.key).values()), eligible=eligible, unmet=unmet)


def statuses(state: State, app: str) -> tuple[ServiceStatus, ...]:
    """Of an app's services, or of all where `app` is empty."""
    found = (status_of_service(state, service) for service in services_of(state, app))
    return tuple(status for status in found if status is not None)


def app_status(state: State, app: App) -> AppStatus:
    services = statuses(state, app.name)
    return AppStatus(app=app, services=services, converged=not app.removing and all(status.converged for status in services))


def with_unserved(api: Api, status: ServiceStatus) -> ServiceStatus:
    """With what proxies told of the service's ports and routes."""
    ports = {port.published for port in status.ports if port.mode is PortMode.INGRESS}
    ports |= {route.published for route in status.routes}
    if not ports:
        return status
    certificates = api.certificates.troubles_of(status.service.key) if api.certificates is not None else ()
    told = [(proxy.info.id, error) for proxy in api.proxies.list() if proxy.connected for error in proxy.listener_errors]
    return replace(
        status,
        unserved=(
            *certificates,
            *(f"proxy {name}, port {error.port}: {error.why}" for name, error in told if error.port in ports),
        ),
    )


async def list_apps(api: Api, request: control_pb2.ListAppsRequest) -> control_pb2.ListAppsResponse:  # noqa: ARG001
    found = [app_status(api.state, api.state.apps[name]) for name in sorted(api.state.apps)]
    return control_pb2.ListAppsResponse(apps=[encode(status) for status in found])


async def get_app(api: Api, request: control_pb2.GetAppRequest) -> control_pb2.AppStatus:
    message: control_pb2.AppStatus = encode(app_status(api.state, find_app(api.state, request.app)))
    return message


async def list_services(api: Api, request: control_pb2.ListServicesRequest) -> control_pb2.ListServicesResponse:
    if request.app:
        find_app(api.state, request.app)
    return control_pb2.ListServicesResponse(
        services=[encode(with_unserved(api, status)) for status in statuses(api.state, request.app)]
    )


async def get_service(api: Api, request: control_pb2.GetServiceRequest) -> control_pb2.ServiceDetail:
    service = find_service(api.state, request.app, request.service)
    spec = spec_of(api.state, service)
    status = status_of_service(api.state, service)
    assert status is not None  # its revision is there
    revisions = api.state.revisions.get(service.key, {})
    replicas = api.state.replicas_of(service.key).values()
    detail = ServiceDetail(
        status=with_unserved(api, status),
        spec=spec,
        revisions=tuple(revisions[number] for number in sorted(revisions, reverse=True)[:REVISIONS_SHOWN]),
        replicas=tuple(sorted(replicas, key=lambda r: (r.slot, r.node_name, r.created_at, r.id))),
        rollouts=past_rollouts(api.state, service),
    )
    message: control_pb2.ServiceDetail = encode(detail)
    return message


def past_rollouts(state: State, service: Service) -> tuple[Rollout, ...]:
    """The rollouts of a service that are over, but for the latest, newest first."""
    latest = service.rollout.number if service.rollout else 0
    found = state.rollouts.get(service.key, {})
    return tuple(found[number] for number in sorted(found, reverse=True) if number != latest)


async def scale(api: Api, request: control_pb2.ScaleRequest) -> control_pb2.ScaleResponse:
    if not 0 <= request.replicas <= MAX_REPLICAS:
        raise invalid(f"replicas: {request.replicas} is not between 0 and {MAX_REPLICAS}")

    def propose() -> Proposal[int]:
        service = find_service(api.state, request.app, request.service)
        _check_scalable(api.state, service)
        if service.replicas == request.replicas:
            return Proposal(answer=service.replicas)
        why = f"scaled from {service.replicas} to {request.replicas}"
        after = dataclasses.replace(service, replicas=request.replicas, changed_at=api.clock(), why=why)
        return Proposal(answer=service.replicas, writes=[put(after, why)], conditions=api.state.conditions([service]))

    before, revision = await commit(api, propose, request.actor)
    return control_pb2.ScaleResponse(before=before, after=request.replicas, revision=revision)


def _check_scalable(state: State, service: Service) -> None:
    if service.removing:
        raise impossible_now(f"{service.key} is being removed; deploy it again to have it back")
    spec = spec_of(state, service)
    if isinstance(spec.mode, Global | GlobalJob):
        raise impossible_now(f"{service.key} is global: it runs on every node that fits; narrow it by placement constraints")
    policy = service.autoscale(spec)
    if policy is not None:
        raise impossible_now(
            f"{service.key} is scaled by what is asked of it, between {policy.minimum} and {policy.maximum}: change that with "
            f"'rookery autoscale set {service.key} --min N --max N', or end it with 'rookery autoscale off {service.key}'"
        )


def service_of_key(state: State, key: ServiceKey) -> ServiceStatus | None:
    service = state.services.get(key)
    return status_of_service(state, service) if service else None
