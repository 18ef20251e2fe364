"""The Runtime protocol: what an agent asks of whatever runs its replicas.

An *instance* is what runs for a replica: a container or a process group. A replica has at most one; a restart starts the same
one again. Ownership is marked on the instance itself, so that an agent that starts again finds its own and touches nobody else's.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from rookery.model import Assignment, Endpoint, ReplicaId, ReplicaStats, RuntimeKind


class RuntimeFailure(Exception):
    """The runtime can't do it; the message holds the engine's own words, the thing and the way out."""


class ImageMissing(RuntimeFailure):
    """The image is not here and can't be had: it does not exist, or the registry is away."""


class EngineAway(RuntimeFailure):
    """The engine does not answer; it may come back."""


class InstanceState(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """`health` is the engine's own verdict (`healthy`, `unhealthy`, `starting`), empty where the image declares none. One that is
    `paused` is running, but somebody holds it."""

    replica_id: ReplicaId
    id: str
    state: InstanceState
    endpoints: tuple[Endpoint, ...] = ()
    exit_code: int | None = None
    oom_killed: bool = False
    started_at: float = 0.0
    finished_at: float = 0.0
    health: str = ""
    paused: bool = False

    @property
    def run(self) -> str:
        """What tells this run of the instance from the ones before and after it."""
        return f"{self.id}@{self.started_at}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeEvent:
    """Something happened to this instance (or, without a replica, to the engine): look at it anew. Carries no verdict."""

    replica_id: ReplicaId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    at: float
    stderr: bool
    line: bytes


class Guard(Protocol):
    """What keeps replicas from what they should not reach."""

    async def cover(self, bridges: Mapping[str, str]) -> None:
        """Called before a replica starts: what comes out of these bridges of the machine, each with the app it is of, is judged
        when this returns."""

    def moved(self) -> None:
        """Replicas have come to addresses, or left them."""


class Runtime(Protocol):
    """Every call may raise EngineAway; none blocks the event loop; each has a deadline of its own."""

    kind: RuntimeKind

    async def describe(self) -> str:
        """Name and version of the engine, and what it can't enforce. Answers soon or raises EngineAway."""

    async def data_root(self) -> Path | None:
        """Where the engine keeps images and instances; None where that can't be seen from here."""

    async def list(self) -> tuple[Instance, ...]:
        """All instances of this agent's node, running or not. To be called once before the calls on single ones."""

    async def inspect(self, replica_id: ReplicaId) -> Instance | None:
        """One instance; None where there is none."""

    async def prepare(self, assignment: Assignment) -> None:
        """Pulls the image, makes networks. Doing it twice is harmless. Raises ImageMissing."""

    async def start(self, assignment: Assignment) -> Instance:
        """Makes the instance where there is none and starts it where it does not run. Raises RuntimeFailure."""

    async def stop(self, replica_id: ReplicaId, *, grace_s: float) -> Instance | None:
        """Sends its stop signal, waits `grace_s`, kills. Returns what is left of it; None where there was none."""

    async def remove(self, replica_id: ReplicaId) -> None:
        """Removes the instance (killing it) and its anonymous volumes, if there is one."""

    async def execute(self, replica_id: ReplicaId, args: tuple[str, ...], *, timeout_s: float) -> tuple[int, bytes]:
        """Runs a command in the instance: its exit status and the first 4 KiB that it printed. Raises TimeoutError."""

    def events(self) -> AsyncIterator[RuntimeEvent]:
        """What happens to instances, as it happens; the first one, without a replica, says that the stream stands.

        Raises EngineAway when the engine goes.
        """

    def logs(self, replica_id: ReplicaId, *, follow: bool, tail: int, since_at: float) -> AsyncIterator[LogLine]:
        """What the instance printed: the last `tail` lines (-1: all) after `since_at`, then, with `follow`, what comes.

        Raises RuntimeFailure where there is no instance.
        """

    async def stats(self) -> tuple[ReplicaStats, ...]:
        """CPU and memory of the running instances, since the previous call."""

    async def close(self) -> None:
        """Lets go of the engine; instances go on."""
