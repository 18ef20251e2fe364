"""Rollback: a service returns to one of its revisions."""

from collections.abc import Mapping

import grpc
from rookery.model import AppSpec, Revision, Service
from rookery.v1 import control_pb2

from rookery_manager.api.committing import Proposal, commit
from rookery_manager.api.errors import Refused, impossible_now, invalid
from rookery_manager.api.find import find_service, port_holders, services_of, spec_of
from rookery_manager.api.needs import Api
from rookery_manager.planners.ports import foreign_clashes
from rookery_manager.planners.rollback import plan_rollback, revision_before
from rookery_manager.planners.validate import app_faults
from rookery_manager.records import put

REVISIONS_NAMED = 10  # the newest


async def rollback(api: Api, request: control_pb2.RollbackRequest) -> control_pb2.RollbackResponse:
    if request.to < 0:
        raise invalid(f"to: {request.to} is no revision; they are numbered from 1, and 0 is the one before")

    def propose() -> Proposal[tuple[int, int]]:
        service = find_service(api.state, request.app, request.service)
        if service.removing:
            raise impossible_now(f"{service.key} is being removed; deploy it again to have it back")
        spec_of(api.state, service)  # refuses where the revision in force is missing
        revisions = api.state.revisions[service.key]
        after = _target(service, revisions, request.to)
        planned = plan_rollback(service, revisions, after, now=api.clock())
        if planned is None:
            return Proposal(answer=(after, after))
        _check(api, service, revisions[after])
        writes = [put(planned, planned.why)]
        return Proposal(answer=(service.revision, after), writes=writes, conditions=api.state.conditions([service]))

    async with api.applying:
        (before, after), revision = await commit(api, propose, request.actor)
    return control_pb2.RollbackResponse(before=before, after=after, revision=revision)


def _target(service: Service, revisions: Mapping[int, Revision], to: int) -> int:
    found = (to if to in revisions else None) if to else revision_before(service, revisions)
    if found is not None:
        return found
    newest = sorted(revisions, reverse=True)
    more = f" and {len(newest) - REVISIONS_NAMED} older ones" if len(newest) > REVISIONS_NAMED else ""
    there_is = f"there is {', '.join(map(str, newest[:REVISIONS_NAMED]))}{more}"
    if to:
        raise Refused(grpc.StatusCode.NOT_FOUND, f"{service.key} has no revision {to}; {there_is}")
    raise impossible_now(f"{service.key} has no revision before {service.revision} with other replicas; {there_is}")


def _check(api: Api, service: Service, wanted: Revision) -> None:
    """Refuses where the app could not be applied with that revision in it, as things are now."""
    siblings = [s for s in services_of(api.state, service.app) if s.key != service.key and not s.removing]
    app = AppSpec(name=service.app, services=(*(spec_of(api.state, s) for s in siblings), wanted.spec))
    files = {(file.kind, file.name, file.digest) for spec in app.services for file in spec.container.files}  # kept with the app
    faults = [*app_faults(app, others=(), stored=files), *foreign_clashes(app, port_holders(api.state, app, set()).items())]
    if faults:
        raise impossible_now("\n".join([f"{service.key} can't return to revision {wanted.number} as things are:", *faults]))
