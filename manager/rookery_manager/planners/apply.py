"""What an applied spec changes in the records of its app.

Invariant: the same spec again writes nothing. Revisions are never changed, only added. How many replicas are wanted is the
service's, not its revision's: a change of that alone makes no revision.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from rookery.diff import diff_specs
from rookery.model import (
    App,
    AppRevision,
    AppSpec,
    ChangeKind,
    FieldChange,
    FileContent,
    FileKind,
    PastRollout,
    Replicated,
    ReplicatedJob,
    Revision,
    Service,
    ServiceChange,
    ServiceSpec,
)

from rookery_manager.planners.begin import Begun, begin, revision_to_keep
from rookery_manager.planners.template import same_template

CHANGES_TOLD = 3  # of a revision, in its why

FileName = tuple[FileKind, str, str]  # kind, name, digest


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRecords:
    """What is stored of one app. `services` and `revisions` go by the service, `files` are those whose content is stored."""

    app: App | None = None
    services: Mapping[str, Service] = field(default_factory=dict)
    revisions: Mapping[str, Mapping[int, Revision]] = field(default_factory=dict)
    files: frozenset[FileName] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A record as it is to be. A write without a why is part of another one that has it."""

    record: App | AppRevision | Service | Revision | PastRollout
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyPlan:
    """`contents` are to be kept with the app, sealed."""

    writes: tuple[Write, ...] = ()
    contents: tuple[FileContent, ...] = ()
    changes: tuple[ServiceChange, ...] = ()


def plan_apply(spec: AppSpec, records: AppRecords, *, now: float, actor: str, prune: bool) -> ApplyPlan:
    """The spec must be valid (rookery_manager.planners.validate)."""
    writes: list[Write] = []
    changes: list[ServiceChange] = []
    for wanted in spec.services:
        more, change = _plan_service(spec.name, wanted, records, now=now, actor=actor)
        writes += more
        changes.append(change)
    named = {wanted.name for wanted in spec.services}
    others = [service for name, service in sorted(records.services.items()) if name not in named and not service.removing]
    for service in others if prune else ():
        writes.append(remove_service(service, f"no longer in the spec of {spec.name}", now=now))
        changes.append(ServiceChange(service=service.name, kind=ChangeKind.REMOVE, revision=service.revision))
    kept = () if prune else tuple(service.name for service in others)
    app = _plan_app(spec, tuple(sorted({*named, *kept})), records.app, now=now, changed=bool(writes))
    if app is not None:
        revisions = {name: records.services[name].revision for name in kept}
        revisions |= {change.service: change.revision for change in changes if change.kind is not ChangeKind.REMOVE}
        why = ", ".join(f"{change.kind} {change.service}" for change in changes if change.kind is not ChangeKind.KEEP)
        writes += next_app_revision(app, revisions, now=now, actor=actor, why=why or "wanted again")
    return ApplyPlan(writes=tuple(writes), contents=_new_contents(spec, records), changes=tuple(changes))


def next_app_revision(app: App, services: Mapping[str, int], *, now: float, actor: str, why: str) -> tuple[Write, Write]:
    """The app's record, one revision further, and that revision."""
    number = app.revision + 1
    revision = AppRevision(app=app.name, number=number, services=services, created_at=now, actor=actor, why=why)
    created = "created" if not app.created_at or app.created_at == now else ""
    return Write(record=dataclasses.replace(app, revision=number, changed_at=now), why=created), Write(record=revision)


def remove_service(service: Service, why: str, *, now: float) -> Write:
    return Write(record=dataclasses.replace(service, removing=True, changed_at=now, why=why), why=why)


def remove_app(records: AppRecords, *, now: float) -> tuple[Write, ...]:
    """The writes that have an app and its services drained and deleted; none where that is under way already."""
    if records.app is None or records.app.removing:
        return ()
    why = f"app {records.app.name} is removed"
    services = [service for _, service in sorted(records.services.items()) if not service.removing]
    app = dataclasses.replace(records.app, removing=True, changed_at=now)
    return (*(remove_service(service, why, now=now) for service in services), Write(record=app, why="to be removed"))


def replicas_of(spec: ServiceSpec) -> int:
    """How many replicas a spec asks for; of a global service it is one a node, whatever this says."""
    return spec.mode.replicas if isinstance(spec.mode, Replicated | ReplicatedJob) else 1


def _replicas_from_now_on(wanted: ServiceSpec, service: Service | None) -> int:
    """What the spec asks for; of an autoscaled service that is where it starts, and what it came to since then stays."""
    policy = wanted.autoscale
    if policy is None:
        return replicas_of(wanted)
    number = replicas_of(wanted) if service is None or service.removing else service.replicas
    return number if policy.may_be_zero and not number else min(max(number, policy.minimum), policy.maximum)


def _plan_service(
    app: str, wanted: ServiceSpec, records: AppRecords, *, now: float, actor: str
) -> tuple[list[Write], ServiceChange]:
    service = records.services.get(wanted.name)
    revisions = records.revisions.get(wanted.name, {})
    replicas = _replicas_from_now_on(wanted, service)
    current = revisions.get(service.revision) if service else None
    fields = diff_specs(current.spec, wanted) if current else ()
    scaled = (
        FieldChange(path="replicas", before=str(service.replicas), after=str(replicas))
        if service is not None and service.replicas != replicas
        else None
    )
    kind = _kind(service, current, wanted, scaled is not None)
    by_hand = service.by_hand if service is not None and kind is not ChangeKind.CREATE else None
    if by_hand is not None:  # the spec's word is in force again
        kind = ChangeKind.SETTINGS if kind in (ChangeKind.KEEP, ChangeKind.SCALE) else kind
        before = "by hand" if by_hand.policy else "off by hand"
        fields = (*fields, FieldChange(path="autoscale", before=before, after="by the spec"))
    number = max([*revisions, service.revision if service else 0])
    change = ServiceChange(
        service=wanted.name,
        kind=kind,
        revision=number,
        replicas=replicas,
        fields=(*fields, *((scaled,) if scaled else ())),
    )
    if kind is ChangeKind.KEEP:
        return [], dataclasses.replace(change, revision=service.revision if service else 0)
    writes: list[Write] = []
    needs_revision = current is None or _spec_without_count(current.spec) != _spec_without_count(wanted)
    if needs_revision:
        number += 1
    elif current is not None:
        number = current.number
    why = _why(kind, number, change.fields)
    begun = _rollout(service, kind, number, now, actor)
    if needs_revision:
        writes.append(
            Write(record=Revision(app=app, service=wanted.name, number=number, spec=wanted, created_at=now, actor=actor, why=why))
        )
    record = Service(
        app=app,
        name=wanted.name,
        revision=number,
        replicas=replicas,
        created_at=service.created_at if service and not service.removing else now,
        changed_at=now,
        why=why,
        rollout=begun.rollout if begun is not None else service.rollout if service and kind is not ChangeKind.CREATE else None,
        restarted_at=service.restarted_at if service and kind is not ChangeKind.CREATE else 0.0,
    )
    writes.append(Write(record=record, why=why))
    if begun is not None and begun.overtaken is not None:
        writes.append(Write(record=begun.overtaken))
        change = dataclasses.replace(change, overtakes=begun.overtaken.rollout.after)
    return writes, dataclasses.replace(change, revision=number)


def _rollout(service: Service | None, kind: ChangeKind, number: int, now: float, actor: str) -> Begun | None:
    """The rollout that an update begins."""
    if service is None or kind is not ChangeKind.UPDATE:
        return None
    return begin(service, before=revision_to_keep(service), after=number, now=now, actor=actor)


def _kind(service: Service | None, current: Revision | None, wanted: ServiceSpec, scaled: bool) -> ChangeKind:
    if service is None or current is None or service.removing:
        return ChangeKind.CREATE
    if not same_template(current.spec, wanted):
        return ChangeKind.UPDATE
    if _spec_without_count(current.spec) != _spec_without_count(wanted):
        return ChangeKind.SETTINGS
    return ChangeKind.SCALE if scaled else ChangeKind.KEEP


def _spec_without_count(spec: ServiceSpec) -> ServiceSpec:
    match spec.mode:
        case Replicated() | ReplicatedJob():
            return dataclasses.replace(spec, mode=dataclasses.replace(spec.mode, replicas=1))
    return spec


def _why(kind: ChangeKind, number: int, fields: tuple[FieldChange, ...]) -> str:
    match kind:
        case ChangeKind.CREATE:
            return "created"
        case ChangeKind.SCALE:
            return f"scaled from {fields[-1].before} to {fields[-1].after}"
    told = [_told(change) for change in fields[:CHANGES_TOLD]] or ["its spec"]
    more = f" and {len(fields) - CHANGES_TOLD} more" if len(fields) > CHANGES_TOLD else ""
    return f"revision {number}: {', '.join(told)}{more}"


def _told(change: FieldChange) -> str:
    """The image with both values; of the others only which they are, since a value may be for few eyes."""
    if change.path in ("container.image", "replicas"):
        return f"{change.path.removeprefix('container.')} {change.before or 'none'} -> {change.after or 'none'}"
    return change.path.removeprefix("container.")


def _plan_app(spec: AppSpec, services: tuple[str, ...], app: App | None, *, now: float, changed: bool) -> App | None:
    """The app's record, where anything of the app changes."""
    if app is None:
        return App(name=spec.name, services=services, created_at=now, changed_at=now)
    after = dataclasses.replace(app, services=services, removing=False)
    return None if after == app and not changed else after


def _new_contents(spec: AppSpec, records: AppRecords) -> tuple[FileContent, ...]:
    """Contents that a service mounts and that are not stored yet."""
    used = {(file.kind, file.name, file.digest) for service in spec.services for file in service.container.files}
    fresh = {(file.kind, file.name, file.digest): file for file in spec.files}
    return tuple(file for name, file in fresh.items() if name in used and name not in records.files)
