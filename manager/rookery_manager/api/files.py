"""Secrets and configs that are made by themselves: CreateFile, ListFiles, GetFile, RemoveFile. Each is of one app."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import grpc
from rookery.model import OPEN, FileContent, FileKind, FileMount, FileUse, FileVersion, SealedFile, Service, StoredFile
from rookery.v1 import control_pb2, types_pb2
from rookery.wire import encode

from rookery_manager.api.committing import Proposal, checked_actor, commit
from rookery_manager.api.errors import Refused, impossible_now, invalid, not_found
from rookery_manager.api.find import services_of
from rookery_manager.api.needs import Api
from rookery_manager.planners.rotate import mounts
from rookery_manager.planners.validate import name_fault, stored_file_fault
from rookery_manager.records import put, sealed_key, stored_file_key
from rookery_manager.sealing.reading import read_file
from rookery_manager.state import State
from rookery_manager.store import Delete, Write

KINDS: Mapping[int, FileKind] = {types_pb2.FILE_KIND_SECRET: FileKind.SECRET, types_pb2.FILE_KIND_CONFIG: FileKind.CONFIG}
MAX_FILES = 10_000
USERS_NAMED = 10


async def create_file(api: Api, request: control_pb2.CreateFileRequest) -> types_pb2.StoredFile:
    kind = kind_of(request.kind)
    fault = stored_file_fault(request.name, len(request.content))
    if app_fault := name_fault(request.app):
        fault = f"app: {app_fault}"
    if fault:
        raise invalid(fault)
    name = f"{request.app}/{request.name}"

    def propose() -> Proposal[StoredFile]:
        known = api.state.files.get((request.app, kind, request.name))
        if known is not None:
            way_out = f"a new value is given with: rookery {kind} rotate {name} FILE"
            words = f"there is a {kind} {name} already, at version {known.version}; {way_out}"
            raise Refused(grpc.StatusCode.ALREADY_EXISTS, words)
        if len(api.state.files) >= MAX_FILES:
            raise impossible_now(f"there are {MAX_FILES} secrets and configs already; remove some")
        blank = StoredFile(app=request.app, kind=kind, name=request.name, created_at=api.clock())
        # Never again a number that a revision may mean another content by.
        blank = replace(blank, version=max((m.version for m in _ever(api.state, blank)), default=0))
        file, sealed = with_version(api, blank, request.content, request.actor)
        writes = [put(file, f"version {file.version} of {kind} {name} was made"), put(sealed, "")]
        return Proposal(answer=file, writes=writes, conditions=api.state.conditions([file]))

    file, _ = await commit(api, propose, request.actor)
    message: types_pb2.StoredFile = encode(file)
    return message


async def list_files(api: Api, request: control_pb2.ListFilesRequest) -> control_pb2.ListFilesResponse:
    kind = kind_of(request.kind)
    found = [file for _, file in sorted(api.state.files.items()) if file.kind is kind and request.app in ("", file.app)]
    uses = [use for file in found for use in uses_of(api.state, file)]
    return control_pb2.ListFilesResponse(files=[encode(file) for file in found], uses=[encode(use) for use in uses])


async def get_file(api: Api, request: control_pb2.GetFileRequest) -> control_pb2.GetFileResponse:
    file = find_file(api.state, request.app, kind_of(request.kind), request.name)
    answer = control_pb2.GetFileResponse(file=encode(file), uses=[encode(use) for use in uses_of(api.state, file)])
    if file.kind is FileKind.CONFIG:
        mount = FileMount(kind=file.kind, name=file.name, target="", source=file.name, version=file.version)
        content = await read_file(api.store, api.keyring, file.app, mount)
        if content is not None:
            answer.content = content.content
    return answer


async def remove_file(api: Api, request: control_pb2.RemoveFileRequest) -> control_pb2.RemoveFileResponse:
    kind = kind_of(request.kind)

    def propose() -> Proposal[None]:
        file = find_file(api.state, request.app, kind, request.name)
        users = sorted({f"{use.app}/{use.service}" for use in uses_of(api.state, file)})
        if users:
            more = f" and {len(users) - USERS_NAMED} more" if len(users) > USERS_NAMED else ""
            named = f"{', '.join(users[:USERS_NAMED])}{more}"
            raise impossible_now(f"{kind} {file.app}/{file.name} is in use by {named}: deploy without it first")
        writes: list[Write] = [Delete(key=stored_file_key(file.app, kind, file.name), why="removed, with all its versions")]
        writes += delete_versions(file, file.versions)
        return Proposal(answer=None, writes=writes, conditions=api.state.conditions([file, *services_of(api.state, file.app)]))

    _, revision = await commit(api, propose, request.actor)
    return control_pb2.RemoveFileResponse(revision=revision)


def kind_of(kind: int) -> FileKind:
    if kind not in KINDS:
        raise invalid("kind: must be secret or config")
    return KINDS[kind]


def find_file(state: State, app: str, kind: FileKind, name: str) -> StoredFile:
    file = state.files.get((app, kind, name))
    if file is None:
        raise not_found(
            kind, f"{app}/{name}", [f"{f.app}/{f.name}" for f in state.files.values() if (f.app, f.kind) == (app, kind)]
        )
    return file


def uses_of(state: State, file: StoredFile) -> Iterator[FileUse]:
    for service in services_of(state, file.app):
        revisions = state.revisions.get(service.key, {})
        specs = [revisions[number].spec for number in _in_use(state, service) if number in revisions]
        found = {mount.version for spec in specs for mount in mounts(spec, file)}
        for version in sorted(found):
            yield FileUse(app=file.app, kind=file.kind, name=file.name, service=service.name, version=version)


def _in_use(state: State, service: Service) -> set[int]:
    """The revisions that are wanted, run, or may have to be returned to by a rollout that is under way."""
    numbers = {service.revision} | {r.revision for r in state.replicas_of(service.key).values() if not r.ended}
    rollout = service.rollout
    return numbers | {rollout.before, rollout.after} if rollout is not None and rollout.state in OPEN else numbers


def with_version(api: Api, file: StoredFile, content: bytes, actor: str) -> tuple[StoredFile, SealedFile]:
    """The file with one version more, and that version's content. Raises Locked."""
    key, now = api.keyring.key(), api.clock()
    digest = key.digest(hashlib.sha256(content).hexdigest())
    number = file.version + 1
    version = FileVersion(
        number=number, digest=digest, size_bytes=len(content), created_at=now, actor=checked_actor(actor, default="unknown")
    )
    after = replace(file, version=number, changed_at=now, versions=(*file.versions, version))
    return after, key.seal(file.app, FileContent(kind=file.kind, name=file.name, content=content, digest=digest), version=number)


def unused_versions(state: State, file: StoredFile) -> tuple[FileVersion, ...]:
    """Those before the latest that no revision of a service has: nothing can return to them."""
    used = {mount.version for mount in _ever(state, file)}
    return tuple(version for version in file.versions[:-1] if version.number not in used)


def delete_versions(file: StoredFile, versions: Iterable[FileVersion]) -> list[Delete]:
    return [Delete(key=sealed_key(file.app, file.kind, file.name, version=version.number)) for version in versions]


def _ever(state: State, file: StoredFile) -> Iterator[FileMount]:
    """The mounts of a file in all revisions of its app's services."""
    for service in services_of(state, file.app):
        for revision in state.revisions.get(service.key, {}).values():
            yield from mounts(revision.spec, file)
