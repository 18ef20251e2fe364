"""Rollback and Restart: a service, or all services of an app, return to a revision of theirs, or begin the same one anew."""

from collections.abc import Iterable, Mapping, Sequence

import grpc
from rookery.model import UNDER_WAY, AppRevision, AppSpec, Revision, Service, ServiceReturn
from rookery.v1 import control_pb2
from rookery.wire import encode

from rookery_manager.api.committing import Proposal, checked_actor, commit
from rookery_manager.api.errors import Refused, impossible_now, invalid
from rookery_manager.api.find import find_app, find_service, port_holders, services_of, spec_of
from rookery_manager.api.needs import Api
from rookery_manager.api.resolving import missing_versions
from rookery_manager.api.rights import audited, check_rights
from rookery_manager.planners.apply import next_app_revision
from rookery_manager.planners.ports import foreign_clashes
from rookery_manager.planners.rollback import (
    Changed,
    app_revision_before,
    plan_restart,
    plan_rollback,
    revision_before,
)
from rookery_manager.planners.validate import app_faults
from rookery_manager.records import put
from rookery_manager.rollout_history import keep_rollout
from rookery_manager.store import Write

REVISIONS_NAMED = 10  # the newest


async def rollback(api: Api, request: control_pb2.RollbackRequest) -> control_pb2.RollbackResponse:
    if request.to < 0:
        raise invalid(f"to: {request.to} is no revision; they are numbered from 1, and 0 is the one before")
    actor = checked_actor(request.actor)
    propose = _return_service if request.service else _return_app
    async with audited(api, request.app), api.applying:
        answer, revision = await commit(api, lambda: propose(api, request, actor), request.actor)
    answer.revision = revision
    return answer


async def restart(api: Api, request: control_pb2.RestartRequest) -> control_pb2.RestartResponse:
    actor = checked_actor(request.actor)

    def propose() -> Proposal[list[str]]:
        found = _named(api, request.app, request.service)
        changed = [plan_restart(service, now=api.clock(), actor=actor) for service in found]
        names = [service.name for service in found]
        return Proposal(answer=names, writes=_writes(api, changed), conditions=api.state.conditions(found))

    names, revision = await commit(api, propose, request.actor)
    return control_pb2.RestartResponse(services=names, revision=revision)


def _return_service(api: Api, request: control_pb2.RollbackRequest, actor: str) -> Proposal[control_pb2.RollbackResponse]:
    (service,) = _named(api, request.app, request.service)
    revisions = api.state.revisions[service.key]
    after = _target(service.key, revisions, request.to, revision_before(service, revisions), service.revision)
    changed = plan_rollback(service, revisions, after, now=api.clock(), actor=actor)
    if changed is None:
        return Proposal(answer=control_pb2.RollbackResponse(before=after, after=after))
    _check(api, service.app, [revisions[after]])
    returned = ServiceReturn(service=service.name, before=service.revision, after=after)
    answer = control_pb2.RollbackResponse(before=service.revision, after=after, services=[encode(returned)])
    why = f"{service.name} returned from revision {service.revision} to {after}"
    return _proposal(api, answer, [changed], service.app, why, actor)


def _return_app(api: Api, request: control_pb2.RollbackRequest, actor: str) -> Proposal[control_pb2.RollbackResponse]:
    found = _named(api, request.app, "")
    app = find_app(api.state, request.app)
    in_force = {service.name: service.revision for service in found}
    if not request.to and any(_is_returning(service) for service in found):  # asked again, it does not go back once more
        return Proposal(answer=control_pb2.RollbackResponse(before=app.revision, after=app.revision))
    known = api.state.app_revisions.get(app.name, {})
    after = _target(app.name, known, request.to, app_revision_before(in_force, known), app.revision)
    wanted = known[after]
    back = [service for service in found if _was_there(service, wanted, api.state.revisions[service.key])]
    changed: list[Changed] = []
    returned: list[ServiceReturn] = []
    for service in back:
        to, revisions = wanted.services[service.name], api.state.revisions[service.key]
        one = plan_rollback(service, revisions, to, now=api.clock(), actor=actor, is_reverse=True)
        if one is not None:
            changed.append(one)
            returned.append(ServiceReturn(service=service.name, before=service.revision, after=to))
    answer = control_pb2.RollbackResponse(
        before=app.revision,
        after=after,
        services=[encode(one) for one in returned],
        left=sorted(in_force.keys() - wanted.services.keys()),
        gone=sorted(wanted.services.keys() - {service.name for service in back}),
    )
    if not changed:
        return Proposal(answer=answer)
    _check(api, app.name, [api.state.revisions[one.service.key][one.service.revision] for one in changed])
    return _proposal(api, answer, changed, app.name, f"returned to revision {after} of {app.name}", actor)


def _is_returning(service: Service) -> bool:
    rollout = service.rollout
    return rollout is not None and rollout.is_reverse and rollout.state in UNDER_WAY


def _was_there(service: Service, then: AppRevision, revisions: Mapping[int, Revision]) -> bool:
    """Whether the app had this very service then: one that was removed and came anew has other revisions of the same numbers."""
    revision = revisions.get(then.services.get(service.name, 0))
    return revision is not None and revision.created_at <= then.created_at


def _named(api: Api, app: str, service: str) -> list[Service]:
    """The service, or all services of the app; refused where one can't be changed."""
    if not service:
        find_app(api.state, app)
    found = [find_service(api.state, app, service)] if service else [s for s in services_of(api.state, app) if not s.removing]
    if not found:
        raise impossible_now(f"{app} has no services, or they are being removed; deploy it again to have them back")
    for one in found:
        if one.removing:
            raise impossible_now(f"{one.key} is being removed; deploy it again to have it back")
        spec_of(api.state, one)  # refuses where the revision in force is missing
    return found


def _writes(api: Api, changed: Iterable[Changed]) -> list[Write]:
    writes: list[Write] = []
    for one in changed:
        writes.append(put(one.service, one.service.why))
        if one.overtaken is not None:
            writes += keep_rollout(api.state, one.overtaken)
    return writes


def _proposal(
    api: Api, answer: control_pb2.RollbackResponse, changed: Sequence[Changed], app_name: str, why: str, actor: str
) -> Proposal[control_pb2.RollbackResponse]:
    """The changed services, and the revision that the app is at with them."""
    app = find_app(api.state, app_name)
    services = {service.name: service.revision for service in services_of(api.state, app_name) if not service.removing}
    services |= {one.service.name: one.service.revision for one in changed}
    app_writes = next_app_revision(app, services, now=api.clock(), actor=actor, why=why)
    writes = [*_writes(api, changed), *(put(write.record, write.why) for write in app_writes)]
    read = [api.state.services[one.service.key] for one in changed]
    return Proposal(answer=answer, writes=writes, conditions=api.state.conditions([*read, app]))


def _target(
    what: str, revisions: Mapping[int, Revision] | Mapping[int, AppRevision], to: int, before: int | None, in_force: int
) -> int:
    """The revision to return to: the one asked for, or the one before."""
    found = (to if to in revisions else None) if to else before
    if found is not None:
        return found
    newest = sorted(revisions, reverse=True)
    more = f" and {len(newest) - REVISIONS_NAMED} older ones" if len(newest) > REVISIONS_NAMED else ""
    there_is = f"there is {', '.join(map(str, newest[:REVISIONS_NAMED]))}{more}"
    if to:
        raise Refused(grpc.StatusCode.NOT_FOUND, f"{what} has no revision {to}; {there_is}")
    raise impossible_now(f"{what} has no revision before {in_force} with other replicas; {there_is}")


def _check(api: Api, app_name: str, wanted: Sequence[Revision]) -> None:
    """Refuses where the app could not be applied with those revisions in it, as things are now."""
    returning = {revision.service: revision for revision in wanted}
    siblings = [s for s in services_of(api.state, app_name) if s.name not in returning and not s.removing]
    specs = (*(spec_of(api.state, s) for s in siblings), *(revision.spec for revision in wanted))
    app = AppSpec(name=app_name, services=specs)
    files = {(file.kind, file.name, file.digest) for spec in app.services for file in spec.container.files}  # kept with the app
    faults = [*missing_versions(api.state, app_name, specs), *app_faults(app, others=(), stored=files)]
    faults += foreign_clashes(app, port_holders(api.state, app, set()).items())
    if faults:
        what = ", ".join(f"{app_name}/{revision.service} can't return to revision {revision.number}" for revision in wanted)
        raise impossible_now("\n".join([f"{what} as things are:", *faults]))
    check_rights(api, app_name, [revision.spec for revision in wanted])
