"""Apps, and the records of what is wanted of their services."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rookery.model.autoscale import Autoscale, ScaleByHand, ScaleDecision
from rookery.model.container import FileKind
from rookery.model.ids import ServiceKey, service_key
from rookery.model.rollout import Rollout
from rookery.model.service import ServiceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class FileContent:
    """The content of a secret or config. `digest`, in hexadecimal, is its sha256 where it is applied; from the manager it is a
    keyed one of that, which tells nobody anything of a content that can be guessed."""

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
    """`revision` is the number of its newest AppRevision."""

    name: str
    services: tuple[str, ...] = ()
    created_at: float = 0.0
    changed_at: float = 0.0
    removing: bool = False
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRevision:
    """At which revisions the services of an app were wanted from one operator's change on, numbered from 1."""

    app: str
    number: int
    services: Mapping[str, int] = field(default_factory=dict)
    created_at: float = 0.0
    actor: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service as wanted now. `replicas` has no meaning for a global one; `rollout` is the latest, if there ever was one.

    Replicas that were created before `restarted_at` are to be replaced, whatever their revision. `by_hand` goes before the
    spec's autoscaling, whose latest change of the number is `scaled`.
    """

    app: str
    name: str
    revision: int
    replicas: int = 1
    created_at: float = 0.0
    changed_at: float = 0.0
    removing: bool = False
    why: str = ""
    rollout: Rollout | None = None
    restarted_at: float = 0.0
    by_hand: ScaleByHand | None = None
    scaled: ScaleDecision | None = None

    @property
    def key(self) -> ServiceKey:
        return service_key(self.app, self.name)

    def autoscale(self, spec: ServiceSpec) -> Autoscale | None:
        """By what it is scaled, being of this spec; None where the number of replicas is the operator's."""
        return self.by_hand.policy if self.by_hand is not None else spec.autoscale


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
