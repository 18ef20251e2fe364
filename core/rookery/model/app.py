"""Apps, and the records of what is wanted of their services."""

from dataclasses import dataclass
from enum import StrEnum

from rookery.model.container import FileKind
from rookery.model.ids import ServiceKey, service_key
from rookery.model.service import ServiceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class FileContent:
    """The content of a secret or config; `digest` is its sha256 in hexadecimal."""

    kind: FileKind
    name: str
    content: bytes
    digest: str

    def __repr__(self) -> str:
        return f"FileContent({self.kind} {self.name}, {len(self.content)} bytes)"  # a secret never gets into a log


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSpec:
    """What one compose file (or several merged) describes."""

    name: str
    services: tuple[ServiceSpec, ...] = ()
    files: tuple[FileContent, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    name: str
    services: tuple[str, ...] = ()
    created_at: float = 0.0
    changed_at: float = 0.0
    removing: bool = False


class RolloutState(StrEnum):
    ROLLING = "rolling"
    DONE = "done"
    PAUSED = "paused"  # too many new replicas failed, and the spec asks for a pause
    ROLLING_BACK = "rolling-back"
    ROLLED_BACK = "rolled-back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """The move of a service from revision `before` to `after`; `why` and `changed_at` are of the latest change of its state."""

    before: int
    after: int
    state: RolloutState = RolloutState.ROLLING
    started_at: float = 0.0
    changed_at: float = 0.0
    why: str = ""

    @property
    def is_return(self) -> bool:
        """Whether it goes back to an earlier revision, which only an operator begins: what an apply rolls out is the newest."""
        return self.after < self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service as wanted now. `replicas` has no meaning for a global one; `rollout` is the latest, if there ever was one."""

    app: str
    name: str
    revision: int
    replicas: int = 1
    created_at: float = 0.0
    changed_at: float = 0.0
    removing: bool = False
    why: str = ""
    rollout: Rollout | None = None

    @property
    def key(self) -> ServiceKey:
        return service_key(self.app, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One immutable version of a service's spec, numbered from 1."""

    app: str
    service: str
    number: int
    spec: ServiceSpec
    created_at: float = 0.0
    actor: str = ""
    why: str = ""
