"""Apply, Plan and RemoveApp."""

import itertools

from rookery.model import AppRevision, AppSpec, ChangeKind, FileContent, FileKind, Global, GlobalJob, PastRollout, ServiceSpec
from rookery.model.ids import service_key
from rookery.v1 import control_pb2, types_pb2
from rookery.wire import WireError, decode, encode

from rookery_manager.api.certificates import certificate_faults
from rookery_manager.api.committing import Proposal, checked_actor, commit
from rookery_manager.api.errors import faulty, impossible_now
from rookery_manager.api.find import find_app, port_holders, services_of
from rookery_manager.api.needs import Api
from rookery_manager.api.placing import NewReplicas, place_new
from rookery_manager.api.resolving import resolve
from rookery_manager.api.rights import audited, check_rights
from rookery_manager.planners.apply import ApplyPlan, AppRecords, FileName, plan_apply
from rookery_manager.planners.apply import remove_app as plan_removal
from rookery_manager.planners.foresee import Foresight, foresee
from rookery_manager.planners.ports import foreign_clashes
from rookery_manager.planners.validate import app_faults
from rookery_manager.records import app_key, app_revision_key, came_with_app, put, revision_key, service_record_key
from rookery_manager.rollout_history import forget_rollouts, keep_rollout
from rookery_manager.store import Condition, Delete, Write


async def apply(api: Api, request: control_pb2.ApplyRequest) -> control_pb2.ApplyResponse:
    spec = _decode_spec(request.app)
    async with audited(api, spec.name), api.applying:
        stored = await _stored_files(api, spec)

        def propose() -> Proposal[tuple[ApplyPlan, int]]:
            _, plan, conditions = _plan(api, spec, stored, request)
            made = [write.record.number for write in plan.writes if isinstance(write.record, AppRevision)]
            number = made[0] if made else api.state.apps[spec.name].revision
            return Proposal(answer=(plan, number), writes=_writes(api, spec.name, plan), conditions=conditions)

        (plan, number), revision = await commit(api, propose, request.actor)
    changes = [encode(change) for change in plan.changes]
    return control_pb2.ApplyResponse(app=spec.name, changes=changes, revision=revision, app_revision=number)


def _writes(api: Api, app: str, plan: ApplyPlan) -> list[Write]:
    writes: list[Write] = [put(api.keyring.key().seal(app, content), "") for content in plan.contents]
    for change in plan.changes:
        if change.kind is ChangeKind.CREATE:  # it may be there still, while it is being removed
            writes += forget_rollouts(api.state, service_key(app, change.service))
    for write in plan.writes:
        if isinstance(write.record, PastRollout):
            writes += keep_rollout(api.state, write.record)
        else:
            writes.append(put(write.record, write.why))
    return writes


async def plan(api: Api, request: control_pb2.ApplyRequest) -> control_pb2.PlanResponse:
    sent = _decode_spec(request.app)
    async with audited(api, sent.name):
        spec, planned, _ = _plan(api, sent, await _stored_files(api, sent), request)
    wanted = {service.name: service for service in spec.services}
    new: list[NewReplicas] = []
    for change in planned.changes:
        key = service_key(spec.name, change.service)
        if change.kind is ChangeKind.REMOVE:
            continue
        service = wanted[change.service]
        replaced = change.kind in (ChangeKind.CREATE, ChangeKind.UPDATE)
        there = [replica for replica in api.state.replicas_of(key).values() if not replica.ended]
        slots = [0] if isinstance(service.mode, Global | GlobalJob) else list(range(1, change.replicas + 1))
        if not replaced:
            taken = {replica.slot for replica in there}
            slots = [slot for slot in slots if slot not in taken]
        gone = frozenset(replica.id for replica in there) if replaced else frozenset()
        if slots:
            new.append(NewReplicas(key=key, spec=service, slots=tuple(slots), instead_of=gone))
    gone_services = [c.service for c in planned.changes if c.kind is ChangeKind.REMOVE]
    leaving = frozenset(
        itertools.chain.from_iterable(api.state.replicas_of(service_key(spec.name, name)) for name in gone_services)
    )
    placements = place_new(api.state, new, leaving=leaving)
    app = api.state.apps.get(spec.name)
    return control_pb2.PlanResponse(
        app=spec.name,
        changes=[encode(change) for change in planned.changes],
        placements=[encode(placed) for placed in placements],
        services=[encode(one) for one in foresee(_present(api, spec, planned), placements)],
        app_revision=app.revision if app else 0,
    )


def _present(api: Api, spec: AppSpec, planned: ApplyPlan) -> Foresight:
    """What is there now of the services of a planned app."""
    there = {change.service: api.state.replicas_of(service_key(spec.name, change.service)).values() for change in planned.changes}
    images: dict[str, set[str]] = {}
    for replica in api.state.replicas.values():
        revision = api.state.revision_of(replica.key, replica.revision)
        if revision is not None and not replica.ended:
            images.setdefault(replica.node_name, set()).add(revision.spec.container.image)
    return Foresight(
        changes=planned.changes,
        specs={service.name: service for service in spec.services},
        replicas={name: tuple(r for r in found if not r.ended) for name, found in there.items()},
        images=images,
    )


async def remove_app(api: Api, request: control_pb2.RemoveAppRequest) -> control_pb2.RemoveAppResponse:
    find_app(api.state, request.app)
    files = came_with_app((await api.store.snapshot(f"sealed/{request.app}/")).entries)

    def propose() -> Proposal[None]:
        app = find_app(api.state, request.app)
        records = _records(api, app.name, frozenset())
        writes: list[Write] = _writes(api, app.name, ApplyPlan(writes=plan_removal(records, now=api.clock())))
        if not records.services:  # else it goes when the last of them has
            numbers = api.state.app_revisions.get(app.name, {})
            others = [*files, *(app_revision_key(app.name, number) for number in numbers)]
            writes = [Delete(key=app_key(app.name), why="removed"), *(Delete(key=key) for key in others)]
        return Proposal(answer=None, writes=writes, conditions=_conditions(api, app.name, records))

    _, revision = await commit(api, propose, request.actor)
    return control_pb2.RemoveAppResponse(revision=revision)


def _plan(
    api: Api, spec: AppSpec, stored: frozenset[FileName], request: control_pb2.ApplyRequest
) -> tuple[AppSpec, ApplyPlan, list[Condition]]:
    """The spec as it is to be kept, the plan on the state as it is, and the conditions under which it holds."""
    records = _records(api, spec.name, stored)
    if request.HasField("if_revision"):
        _check_revision(api, spec.name, request.if_revision)
    staying = {name for name, service in records.services.items() if not service.removing and not request.prune}
    resolved = resolve(api.state, api.keyring, spec, stored)
    faults = [*app_faults(spec, others=staying, stored=resolved.stored), *resolved.faults]
    if faults:
        raise faulty(faults)
    clashes = [*foreign_clashes(spec, port_holders(api.state, spec, staying).items()), *certificate_faults(api, spec)]
    if clashes:
        raise impossible_now("\n".join(clashes))
    actor = checked_actor(request.actor)
    planned = plan_apply(resolved.spec, records, now=api.clock(), actor=actor, prune=request.prune)
    made = {change.service for change in planned.changes if change.kind in (ChangeKind.CREATE, ChangeKind.UPDATE)}
    check_rights(api, spec.name, [service for service in spec.services if service.name in made])
    return resolved.spec, planned, [*_conditions(api, spec.name, records), *api.state.conditions(resolved.used)]


def _check_revision(api: Api, app: str, wanted: int) -> None:
    """Refuses where someone was faster."""
    found = api.state.apps.get(app)
    number = found.revision if found is not None else 0
    if number == wanted:
        return
    newest = api.state.app_revisions.get(app, {}).get(number)
    who = f", by {newest.actor}: {newest.why}" if newest is not None else ""
    what = f"is at revision {number}{who}" if number else "does not exist"
    raise impossible_now(f"{app} {what}; not at revision {wanted}, as you asked. Nothing was changed; plan anew and look")


def _records(api: Api, app: str, stored: frozenset[FileName]) -> AppRecords:
    services = {service.name: service for service in services_of(api.state, app)} if app else {}
    prefix = f"{app}/"
    revisions = {key.removeprefix(prefix): found for key, found in api.state.revisions.items() if key.startswith(prefix)}
    return AppRecords(app=api.state.apps.get(app), services=services, revisions=revisions, files=stored)


def _conditions(api: Api, app: str, records: AppRecords) -> list[Condition]:
    """That the app and its services are as they were read, and that no one else takes the next revision's number."""
    keys = [app_key(app)]
    keys += [service_record_key(app, name) for name in records.services]
    keys += [revision_key(app, name, max(found, default=0) + 1) for name, found in records.revisions.items()]
    return [api.state.condition(key) for key in keys]


async def _stored_files(api: Api, spec: AppSpec) -> frozenset[FileName]:
    """Which contents came with the app before, by their keyed digests."""
    if not any(service.container.files for service in spec.services):
        return frozenset()
    snapshot = await api.store.snapshot(f"sealed/{spec.name}/")
    found = set()
    for key in came_with_app(snapshot.entries):
        kind, name, digest = key.split("/")[2:5]
        found.add((FileKind(kind), name, digest))
    return frozenset(found)


def _decode_spec(message: types_pb2.AppSpec) -> AppSpec:
    """The spec, or all that is no value of the model, each with its path."""
    services: list[ServiceSpec] = []
    files: list[FileContent] = []
    faults: list[str] = []
    for index, service in enumerate(message.services):
        try:
            services.append(decode(ServiceSpec, service))
        except WireError as error:
            faults.append(f"services[{index}]: {error}")
    for index, file in enumerate(message.files):
        try:
            files.append(decode(FileContent, file))
        except WireError as error:
            faults.append(f"files[{index}]: {error}")
    if faults:
        raise faulty(faults)
    return AppSpec(name=message.name, services=tuple(services), files=tuple(files))
