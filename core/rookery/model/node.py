"""A machine of the cluster: what it is, what is wanted of it, what was seen of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rookery.model.ids import NodeId, ReplicaId
from rookery.model.resources import Resources


class RuntimeKind(StrEnum):
    DOCKER = "docker"
    PROCESS = "process"


class Availability(StrEnum):
    ACTIVE = "active"
    DRAINED = "drained"  # gets nothing new and is emptied


class NodeState(StrEnum):
    READY = "ready"
    DOWN = "down"
    LEFT = "left"  # said goodbye


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInfo:
    """What an agent says of its machine when it connects. `address` is where the node's endpoints are reached."""

    hostname: str
    address: str = ""
    os: str = "linux"
    arch: str = ""
    capacity: Resources = field(default_factory=Resources)
    runtimes: tuple[RuntimeKind, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    engine: str = ""
    agent_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCondition:
    """Something wrong with a node that does not make it down.

    `engine-away`: its engine can't be reached, or takes calls and answers none (`why` says that it hangs). `disk-full`: there is
    little room where the agent's or the engine's data is, or something could not be written. `isolation-off`: its containers are
    not kept from what they should not reach.
    """

    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """`availability` and `labels` are the operator's (spec), the rest was observed.

    `downs` is how often it went down without a long quiet time between. One that is `held_off` is back, but gets no new work yet.
    """

    id: NodeId
    info: NodeInfo
    availability: Availability = Availability.ACTIVE
    labels: Mapping[str, str] = field(default_factory=dict)
    state: NodeState = NodeState.READY
    why: str = ""
    joined_at: float = 0.0
    changed_at: float = 0.0
    conditions: tuple[NodeCondition, ...] = ()
    downs: int = 0
    held_off: bool = False

    @property
    def name(self) -> str:
        return self.info.hostname

    @property
    def takes_work(self) -> bool:
        """True where new replicas may be placed on it, as far as its state and the operator are concerned."""
        return self.state is NodeState.READY and self.availability is Availability.ACTIVE and not self.held_off

    @property
    def all_labels(self) -> Mapping[str, str]:
        """The agent's labels with the operator's over them."""
        return {**self.info.labels, **self.labels}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStats:
    """`cpu_percent` is of all cores together, 0 to 100."""

    cpu_percent: float = 0.0
    memory_used_bytes: int = 0
    memory_total_bytes: int = 0
    disk_used_bytes: int = 0
    disk_total_bytes: int = 0
    load_1m: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaStats:
    """`cpu_percent` is of one core: 100 is one core busy."""

    replica_id: ReplicaId
    cpu_percent: float = 0.0
    memory_bytes: int = 0
