"""RotateFile: a new version of a secret or config, and a rollout of every service that has it."""

import dataclasses

from rookery.model import PastRollout, StoredFile
from rookery.v1 import control_pb2
from rookery.wire import encode

from rookery_manager.api.committing import Proposal, checked_actor, commit
from rookery_manager.api.errors import invalid
from rookery_manager.api.files import delete_versions, find_file, kind_of, unused_versions, with_version
from rookery_manager.api.find import services_of
from rookery_manager.api.needs import Api
from rookery_manager.planners.apply import Write as Planned
from rookery_manager.planners.rotate import plan_rotation
from rookery_manager.planners.validate import stored_file_fault
from rookery_manager.records import app_key, put, revision_key
from rookery_manager.rollout_history import keep_rollout
from rookery_manager.store import Write


async def rotate_file(api: Api, request: control_pb2.RotateFileRequest) -> control_pb2.RotateFileResponse:
    kind = kind_of(request.kind)
    if fault := stored_file_fault(request.name, len(request.content)):
        raise invalid(fault)
    actor = checked_actor(request.actor)

    def propose() -> Proposal[tuple[StoredFile, tuple[str, ...], bool]]:
        before = find_file(api.state, request.app, kind, request.name)
        file, sealed = with_version(api, before, request.content, actor)
        if file.versions[-1].digest == file.versions[-2].digest:
            return Proposal(answer=(before, (), True))
        services = services_of(api.state, file.app)
        revisions = {service.name: api.state.revisions.get(service.key, {}) for service in services}
        app = api.state.apps.get(file.app)
        plan = plan_rotation(file, app, services, revisions, now=api.clock(), actor=actor)
        unused = unused_versions(api.state, file)
        kept = dataclasses.replace(file, versions=tuple(version for version in file.versions if version not in unused))
        why = f"version {file.version} of {kind} {file.app}/{file.name}"
        writes: list[Write] = [put(kept, why), put(sealed, ""), *delete_versions(file, unused)]
        for write in plan.writes:
            writes += _writes(api, write)
        conditions = [*api.state.conditions([file, *services]), api.state.condition(app_key(file.app))]
        conditions += [
            api.state.condition(revision_key(file.app, n, max(found, default=0) + 1)) for n, found in revisions.items()
        ]
        return Proposal(answer=(kept, plan.services, False), writes=writes, conditions=conditions)

    (file, services, same), revision = await commit(api, propose, request.actor)
    return control_pb2.RotateFileResponse(file=encode(file), services=services, revision=revision, same=same)


def _writes(api: Api, write: Planned) -> list[Write]:
    if isinstance(write.record, PastRollout):
        return keep_rollout(api.state, write.record)
    return [put(write.record, write.why)]
