"""What the scheduler is asked, and what it answers."""

from dataclasses import dataclass

from rookery.model import NodeId, ReplicaId, Score, ServiceKey, ServiceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One replica that wants a place. A replica of a global service is `pinned` to its node; `exclude` are nodes not to use.

    `slot` is that of the replica it replaces, if there is one: the node that has it counts as if it were gone.
    """

    replica_id: ReplicaId
    key: ServiceKey
    slot: int
    spec: ServiceSpec
    pinned: NodeId | None = None
    exclude: frozenset[NodeId] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """`scores` are in the order in which they decide, lower is better."""

    replica_id: ReplicaId
    node_id: NodeId
    why: str
    scores: tuple[Score, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """`why` is one sentence that counts the nodes by their reason."""

    replica_id: ReplicaId
    why: str
