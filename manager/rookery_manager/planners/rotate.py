"""What a new version of a secret or config changes: a new revision, and a rollout, of each service that has it."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rookery.model import App, FileMount, Revision, Service, ServiceSpec, StoredFile

from rookery_manager.planners.apply import Write, next_app_revision
from rookery_manager.planners.begin import begin, revision_to_keep


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """`services` are the names of those that change."""

    writes: tuple[Write, ...] = ()
    services: tuple[str, ...] = ()


def mounts(spec: ServiceSpec, file: StoredFile) -> tuple[FileMount, ...]:
    """Where the file is in a service's containers."""
    return tuple(mount for mount in spec.container.files if (mount.kind, mount.source) == (file.kind, file.name))


def plan_rotation(
    file: StoredFile,
    app: App | None,
    services: Sequence[Service],
    revisions: Mapping[str, Mapping[int, Revision]],
    *,
    now: float,
    actor: str,
) -> Rotation:
    """`file` is at its new version already; `services` are all of its app, `revisions` theirs by their names.

    The number of replicas and what else is the service's own stays as it is.
    """
    writes: list[Write] = []
    in_force = {service.name: service.revision for service in services if not service.removing}
    changed: list[str] = []
    for service in services:
        current = revisions.get(service.name, {}).get(service.revision)
        if service.removing or current is None or not mounts(current.spec, file):
            continue
        number = max(revisions[service.name]) + 1
        why = f"revision {number}: {file.kind} {file.name} at version {file.version}"
        begun = begin(service, before=revision_to_keep(service), after=number, now=now, actor=actor)
        spec = _at_version(current.spec, file)
        writes.append(Write(record=dataclasses.replace(current, number=number, spec=spec, created_at=now, actor=actor, why=why)))
        after = dataclasses.replace(service, revision=number, changed_at=now, why=why, rollout=begun.rollout)
        writes.append(Write(record=after, why=why))
        if begun.overtaken is not None:
            writes.append(Write(record=begun.overtaken))
        in_force[service.name] = number
        changed.append(service.name)
    if changed and app is not None:
        why = f"{file.kind} {file.name} at version {file.version}"
        writes += next_app_revision(app, in_force, now=now, actor=actor, why=why)
    return Rotation(writes=tuple(writes), services=tuple(changed))


def _at_version(spec: ServiceSpec, file: StoredFile) -> ServiceSpec:
    wanted = mounts(spec, file)
    files = tuple([dataclasses.replace(m, version=file.version) if m in wanted else m for m in spec.container.files])
    return dataclasses.replace(spec, container=dataclasses.replace(spec.container, files=files))
