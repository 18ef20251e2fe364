"""A placement of one revision on one node, and the one table of the moves its state may make."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from rookery.model.ids import NodeId, ReplicaId, ServiceKey, replica_name, service_key


class ReplicaState(StrEnum):
    """In the order in which a replica goes through them; it never goes back."""

    PENDING = "pending"
    ASSIGNED = "assigned"
    PREPARING = "preparing"
    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A legal move, who makes it, and what it means."""

    before: ReplicaState
    after: ReplicaState
    by: str
    why: str


def _moves() -> tuple[Transition, ...]:
    s = ReplicaState
    line = [
        (s.PENDING, s.ASSIGNED, "manager", "the scheduler found a node for it"),
        (s.PENDING, s.STOPPED, "manager", "no longer wanted before it had a node"),
        (s.ASSIGNED, s.PREPARING, "agent", "the agent pulls its image and makes its volumes and networks"),
        (s.PREPARING, s.STARTING, "agent", "all it needs is on the node; it is being made and started"),
        (s.STARTING, s.RUNNING, "agent", "its process runs"),
        (s.RUNNING, s.DRAINING, "manager", "it leaves the route table and finishes what is in flight"),
        (s.ASSIGNED, s.STOPPING, "manager", "no longer wanted before it ran"),
        (s.PREPARING, s.STOPPING, "manager", "no longer wanted before it ran"),
        (s.STARTING, s.STOPPING, "manager", "no longer wanted before it ran"),
        (s.RUNNING, s.STOPPING, "manager", "no longer wanted, and no proxy ever sent it anything"),
        (s.DRAINING, s.STOPPING, "manager", "nothing is in flight on it, or its drain timeout passed"),
        (s.STOPPING, s.STOPPED, "agent", "its process ended after the stop signal"),
        (s.RUNNING, s.STOPPED, "agent", "its process ended by itself and is not to be restarted"),
    ]
    moves = [Transition(before=a, after=b, by=by, why=why) for a, b, by, why in line]
    # An agent may have gone through several steps before the manager hears of it: any of its own steps may be passed over.
    steps = [s.ASSIGNED, s.PREPARING, s.STARTING, s.RUNNING]
    for i, before in enumerate(steps):
        skipped = steps[i + 2 :] if before is s.RUNNING else [*steps[i + 2 :], s.STOPPED]
        moves += [Transition(before=before, after=after, by="agent", why="several steps in one report") for after in skipped]
    moves.append(Transition(before=s.DRAINING, after=s.STOPPED, by="agent", why="its process ended while it drained"))
    alive = [*steps, s.DRAINING, s.STOPPING]
    for before in alive:
        moves.append(Transition(before=before, after=s.FAILED, by="agent", why="it can't run here, or its restarts are used up"))
        moves.append(Transition(before=before, after=s.LOST, by="manager", why="its node was lost or removed"))
    moves.append(Transition(before=s.PENDING, after=s.FAILED, by="manager", why="it can't be run at all"))
    return tuple(moves)


TRANSITIONS: Mapping[tuple[ReplicaState, ReplicaState], Transition] = MappingProxyType(
    {(move.before, move.after): move for move in _moves()}
)
ENDED = frozenset({ReplicaState.STOPPED, ReplicaState.FAILED, ReplicaState.LOST})
LEAVING = frozenset({ReplicaState.DRAINING, ReplicaState.STOPPING})


def can_move(before: ReplicaState, after: ReplicaState) -> bool:
    return (before, after) in TRANSITIONS


def is_ended(state: ReplicaState) -> bool:
    """True for the states that nothing follows."""
    return state in ENDED


class Desired(StrEnum):
    RUN = "run"
    PREPARE = "prepare"  # all it needs is to be on its node, but it is not started yet
    STOP = "stop"


class PortProtocol(StrEnum):
    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a replica answers for its port `target`. The replica's `revision`, `weight` and `place` (its node's value of what is
    preferred) are told in routes only."""

    replica_id: ReplicaId
    address: str
    port: int
    target: int
    protocol: PortProtocol = PortProtocol.TCP
    revision: int = 0
    weight: int = 1
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """`why` is the reason of the latest transition, made at `changed_at`. A `ready_at` or `drain_deadline_at` of 0 is none.

    `desired` is what the manager wants: an ended replica that was not to stop has ended by itself. `move_why` is why another one
    is to take its place on another node; empty where it may stay.
    """

    id: ReplicaId
    app: str
    service: str
    slot: int
    revision: int
    node_id: NodeId = NodeId("")
    node_name: str = ""
    state: ReplicaState = ReplicaState.PENDING
    ready: bool = False
    why: str = ""
    created_at: float = 0.0
    changed_at: float = 0.0
    ready_at: float = 0.0
    drain_deadline_at: float = 0.0
    endpoints: tuple[Endpoint, ...] = ()
    restarts: int = 0
    exit_code: int | None = None
    container_id: str = ""
    desired: Desired = Desired.RUN
    move_why: str = ""

    @property
    def name(self) -> str:
        return replica_name(self.app, self.service, self.slot, self.node_name)

    @property
    def key(self) -> ServiceKey:
        return service_key(self.app, self.service)

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def leaving(self) -> bool:
        """True where it is on its way out, drained or stopping."""
        return self.state in LEAVING

    @property
    def ended_by_itself(self) -> bool:
        """True where nobody asked for its end, and no node was lost."""
        return self.state in (ReplicaState.STOPPED, ReplicaState.FAILED) and self.desired is not Desired.STOP

    @property
    def completed(self) -> bool:
        """True where it ended by itself with status 0, as those of jobs do."""
        return self.state is ReplicaState.STOPPED and self.exit_code == 0 and self.desired is Desired.RUN
