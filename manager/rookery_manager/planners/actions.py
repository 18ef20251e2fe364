"""What planners decide: small values, each with its why in one sentence.

The sentence is the same in the log, in `rookery events`, in `rookery explain` and in the tests.
"""

from dataclasses import dataclass

from rookery.model import (
    AcmeAccount,
    Availability,
    Desired,
    ManagedCertificate,
    Node,
    NodeCondition,
    NodeId,
    NodeInfo,
    NodeState,
    Pool,
    Replica,
    ReplicaStatus,
    Rollout,
    ScaleDecision,
    SealedFile,
    Service,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """A new replica; with a node it is assigned at once (global services), else the scheduler looks for one.

    One that is desired to be prepared waits for its Launch.
    """

    app: str
    service: str
    slot: int
    revision: int
    why: str
    node_id: NodeId = NodeId("")
    node_name: str = ""
    desired: Desired = Desired.RUN


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A prepared replica is to start: the one before it is gone."""

    replica: Replica
    why: str


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
class Doubt:
    """The replica's node is down, so it gets no requests; but it may still run, and must not run twice: it is not lost yet."""

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
    """A service's rollout goes on to its next state or step; `revision` is the one that is wanted from now on. A `restarted_at`
    of None stays as it was."""

    service: Service
    rollout: Rollout
    revision: int
    restarted_at: float | None = None

    @property
    def why(self) -> str:
        return self.rollout.why


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReplicas:
    """As many replicas of the service are wanted from now on as the autoscaler decided."""

    service: Service
    decision: ScaleDecision
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetNode:
    """A node joins, changes what it is, or changes its state. What is None stays as it was."""

    node: Node | None
    node_id: NodeId
    state: NodeState
    why: str
    info: NodeInfo | None = None
    conditions: tuple[NodeCondition, ...] | None = None
    downs: int | None = None
    held_off: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAvailability:
    """A node of a pool is to be emptied, or to have work again after all."""

    node: Node
    availability: Availability
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetNode:
    """A node's machine was removed, and its record goes."""

    node: Node
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPool:
    """A pool goes on: other members, or other states of them. An empty `why` is no event."""

    pool: Pool
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetPool:
    """A removed pool has no node left."""

    pool: Pool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCertificate:
    """What is known of a certificate changes, with the `sealed` keys and chains that belong to it; those under `dropped` (keys
    of the store) go. An empty `why` is no event."""

    certificate: ManagedCertificate
    why: str = ""
    sealed: tuple[SealedFile, ...] = ()
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetCertificate:
    """A certificate goes, with what lies under `dropped`."""

    certificate: ManagedCertificate
    why: str
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAccount:
    """The account at a certificate authority, with its sealed key where that is new."""

    account: AcmeAccount
    why: str
    sealed: tuple[SealedFile, ...] = ()


Action = (
    Create
    | Launch
    | Assign
    | Refuse
    | Drain
    | Stop
    | Adopt
    | Move
    | Lose
    | Doubt
    | Observe
    | Forget
    | ForgetService
    | SetRollout
    | SetReplicas
    | SetNode
    | SetAvailability
    | ForgetNode
    | SetPool
    | ForgetPool
    | SetCertificate
    | ForgetCertificate
    | SetAccount
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`wake_at` is when to plan anew even if nothing happens; `waits_for` says what the plan waits for, in one sentence."""

    actions: tuple[Action, ...] = ()
    wake_at: float | None = None
    waits_for: str = ""


def earliest(*times: float | None) -> float | None:
    return min((at for at in times if at is not None), default=None)
