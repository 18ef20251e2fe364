"""What passes between the manager and an agent about one replica: what is wanted of it, what was seen of it."""

from dataclasses import dataclass

from rookery.model.app import FileContent
from rookery.model.ids import ReplicaId, replica_name
from rookery.model.replica import Desired, Endpoint, ReplicaState
from rookery.model.service import ServiceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaStatus:
    """What an agent saw of one replica at `at`."""

    replica_id: ReplicaId
    state: ReplicaState
    ready: bool = False
    why: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    restarts: int = 0
    exit_code: int | None = None
    container_id: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A replica that the manager wants on a node, with all that the agent needs to make it so."""

    replica_id: ReplicaId
    app: str
    service: str
    slot: int
    revision: int
    spec: ServiceSpec
    desired: Desired = Desired.RUN
    why: str = ""
    files: tuple[FileContent, ...] = ()

    @property
    def name(self) -> str:
        return replica_name(self.app, self.service, self.slot, self.replica_id)
