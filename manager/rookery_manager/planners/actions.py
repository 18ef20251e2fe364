"""What planners decide: small values, each with its why in one sentence.

The sentence is the same in the log, in `rookery events`, in `rookery explain` and in the tests.
"""

from dataclasses import dataclass

from rookery.model import Node, NodeCondition, NodeId, NodeInfo, NodeState, Replica, ReplicaStatus, RolloutState, Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """A new replica; with a node it is assigned at once (global services), else the scheduler looks for one."""

    app: str
    service: str
    slot: int
    revision: int
    why: str
    node_id: NodeId = NodeId("")
    node_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assign:
    replica: Replica
    node_id: NodeId
    node_name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """No node takes the replica; it stays pending, and says why."""

    replica: Replica
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Takes a running replica out of the route table; it stops when nothing is in flight on it, or at the deadline."""

    replica: Replica
    deadline_at: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    replica: Replica
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt:
    """The replica belongs to another revision from now on, which asks for the same container."""

    replica: Replica
    revision: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Another replica is to take its place on another node; it stays until that one is ready."""

    replica: Replica
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lose:
    """The replica's node was lost or removed, and the replica with it."""

    replica: Replica
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observe:
    """An agent saw the replica move on."""

    replica: Replica
    status: ReplicaStatus
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """An ended replica's record is no longer needed; history keeps it."""

    replica: Replica


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetService:
    """A removed service has no replica left: its records go."""

    service: Service
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRollout:
    """A service's rollout goes into another state; `revision` is the one that is wanted from now on."""

    service: Service
    state: RolloutState
    revision: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetNode:
    """A node joins, changes what it is, or changes its state."""

    node: Node | None
    node_id: NodeId
    state: NodeState
    why: str
    info: NodeInfo | None = None
    conditions: tuple[NodeCondition, ...] | None = None


Action = Create | Assign | Refuse | Drain | Stop | Adopt | Move | Lose | Observe | Forget | ForgetService | SetRollout | SetNode


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`wake_at` is when to plan anew even if nothing happens; `waits_for` says what the plan waits for, in one sentence."""

    actions: tuple[Action, ...] = ()
    wake_at: float | None = None
    waits_for: str = ""


def earliest(*times: float | None) -> float | None:
    return min((at for at in times if at is not None), default=None)
