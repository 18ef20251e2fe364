"""From what an operator sent to what is kept: which version of each stored secret and config is meant, digests that tell nothing.

Invariant: no spec that is stored has a digest by which a content could be guessed.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from rookery.model import AppSpec, FileMount, ServiceSpec, StoredFile

from rookery_manager.planners.apply import FileName
from rookery_manager.sealing.keyring import Keyring
from rookery_manager.state import State

Digest = Callable[[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """`stored` are the contents that are there already, named as they were sent; `used` the stored files that are mounted."""

    spec: AppSpec
    stored: frozenset[FileName] = frozenset()
    used: tuple[StoredFile, ...] = ()
    faults: tuple[str, ...] = ()


def resolve(state: State, keyring: Keyring, spec: AppSpec, stored: Collection[FileName]) -> Resolved:
    """`stored` are contents by their keyed digests. Raises Locked where there is a secret or config in it, and no key."""
    mounts = [mount for service in spec.services for mount in service.container.files]
    if not mounts and not spec.files:
        return Resolved(spec=spec)
    key = keyring.key()
    wanted = {mount.source: mount for mount in mounts if mount.source}
    used = (state.files.get((spec.name, mount.kind, mount.source)) for mount in wanted.values())
    services = tuple([_service(state, key.digest, spec.name, service) for service in spec.services])
    return Resolved(
        spec=replace(
            spec,
            services=services,
            files=tuple([replace(file, digest=key.digest(file.digest)) for file in spec.files]),
        ),
        stored=frozenset((m.kind, m.name, m.digest) for m in mounts if (m.kind, m.name, key.digest(m.digest)) in stored),
        used=tuple(file for file in used if file is not None),
        faults=tuple(_missing(state, spec)),
    )


def missing_versions(state: State, app: str, specs: Iterable[ServiceSpec]) -> Iterator[str]:
    """What specs that are stored mount, and is no longer there."""
    for spec in specs:
        for mount in spec.container.files:
            file = state.files.get((app, mount.kind, mount.source))
            if mount.source and (file is None or all(version.number != mount.version for version in file.versions)):
                yield f"{app}/{spec.name} needs version {mount.version} of {mount.kind} {app}/{mount.source}, which was removed"


def _missing(state: State, spec: AppSpec) -> Iterator[str]:
    for service in spec.services:
        for at, mount in enumerate(service.container.files):
            if mount.source and (spec.name, mount.kind, mount.source) not in state.files:
                name = f"{spec.name}/{mount.source}"
                yield (
                    f"services.{service.name}.container.files[{at}]: there is no {mount.kind} {name}; "
                    f"make it with: rookery {mount.kind} create {name} FILE"
                )


def _service(state: State, digest: Digest, app: str, service: ServiceSpec) -> ServiceSpec:
    if not service.container.files:
        return service
    files = tuple([_mount(state, digest, app, mount) for mount in service.container.files])
    return replace(service, container=replace(service.container, files=files))


def _mount(state: State, digest: Digest, app: str, mount: FileMount) -> FileMount:
    if not mount.source:
        return replace(mount, digest=digest(mount.digest), version=0)
    file = state.files.get((app, mount.kind, mount.source))
    return replace(mount, version=file.version if file is not None else 0)
