"""The set of assignments that a node holds: how messages change it, and its copy on disk.

Invariant: the set is of one generation, never older than one held before; contents of secrets and configs stay in memory.
"""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from rookery.model import Assignment, ReplicaId
from rookery.refusals import Refused
from rookery.v1 import dispatch_pb2
from rookery.wire import WireError, decode, encode


class Gap(Refused):
    """The message does not follow on what is held: the whole set is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """`generation` 0: no set was ever received."""

    generation: int = 0
    assignments: Mapping[ReplicaId, Assignment] = field(default_factory=dict)


def take_set(held: Held, generation: int, assignments: tuple[Assignment, ...]) -> Held:
    """The set as given. Raises Gap for one older than what is held."""
    if generation < held.generation:
        raise Gap("old-generation", f"the manager sent generation {generation}, which is older than {held.generation}")
    return Held(generation=generation, assignments={a.replica_id: _with_files(a, held) for a in assignments})


def take_delta(held: Held, start: int, end: int, puts: tuple[Assignment, ...], removes: tuple[ReplicaId, ...]) -> Held:
    """What is held with the changes applied. Raises Gap where they start from another generation."""
    if start != held.generation or end < start:
        raise Gap("gap", f"the manager sent changes from generation {start} to {end}, but {held.generation} is held")
    kept = dict(held.assignments)
    for replica_id in removes:
        kept.pop(replica_id, None)
    kept.update({a.replica_id: _with_files(a, held) for a in puts})
    return Held(generation=end, assignments=kept)


def _with_files(a: Assignment, held: Held) -> Assignment:
    """With the contents that are held of it, where none came: the manager may be locked. They are those of its revision."""
    known = held.assignments.get(a.replica_id)
    if a.files or known is None or known.spec.container.files != a.spec.container.files:
        return a
    return replace(a, files=known.files)


def complete(held: Held) -> bool:
    """False where contents of files are missing, as they are after a restart of the agent."""
    return all(len(a.files) >= len(a.spec.container.files) for a in held.assignments.values())


class Copy:
    """The copy on disk as it is to be written. What stays as it is is encoded once, however often the set changes."""

    def __init__(self) -> None:
        self._parts: dict[ReplicaId, tuple[Assignment, bytes]] = {}

    def of(self, held: Held) -> bytes:
        self._parts = {replica_id: self._part(a) for replica_id, a in held.assignments.items()}
        # Messages that are written one after another are read as one, with all that they repeat.
        return b"".join([_message(generation=held.generation), *[part for _, part in self._parts.values()]])

    def _part(self, a: Assignment) -> tuple[Assignment, bytes]:
        known = self._parts.get(a.replica_id)
        if known is not None and known[0] is a:
            return known
        return a, _message(assignments=[encode(replace(a, files=()))])


def _message(**fields: Any) -> bytes:
    return dispatch_pb2.AssignmentSet(**fields).SerializeToString()


def load(data: bytes) -> Held:
    """What a copy says. Raises ValueError for anything else."""
    try:
        message = dispatch_pb2.AssignmentSet.FromString(data)
        return take_set(Held(), message.generation, tuple([decode(Assignment, a) for a in message.assignments]))
    except (DecodeError, WireError) as error:
        raise ValueError(str(error)) from error


def write_durably(path: Path, data: bytes) -> None:
    """All of `data` is in `path` and on the disk, or what was there before still is."""
    temporary = path.with_suffix(".new")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)  # on a full disk every block counts
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read(path: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    return b""
