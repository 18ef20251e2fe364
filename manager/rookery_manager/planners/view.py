"""What the service planner sees: one service and all that belongs to it, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rookery.model import Availability, NodeId, NodeState, Replica, ReplicaId, ReplicaState, Service, ServiceSpec

from rookery_manager.planners.template import same_template

LEAVING = frozenset({ReplicaState.DRAINING, ReplicaState.STOPPING})


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeBrief:
    """The little of a node that decides whether a replica may stay on it. `refusal` is why a global service skips it."""

    id: NodeId
    name: str
    state: NodeState = NodeState.READY
    availability: Availability = Availability.ACTIVE
    why: str = ""
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """`specs` has the wanted revision and that of every replica. `nodes` has every replica's node, and for a global service all
    nodes. `undrained` names, for draining replicas, what they still wait for. `unmet` is the dependency that holds starts back.
    `in_the_way` are replicas that take the room for which the new one in their place waits in vain.
    """

    service: Service
    specs: Mapping[int, ServiceSpec]
    replicas: tuple[Replica, ...] = ()
    nodes: Mapping[NodeId, NodeBrief] = field(default_factory=dict)
    undrained: Mapping[ReplicaId, str] = field(default_factory=dict)
    unmet: str = ""
    in_the_way: frozenset[ReplicaId] = frozenset()

    @property
    def spec(self) -> ServiceSpec:
        return self.specs[self.service.revision]

    def is_current(self, replica: Replica) -> bool:
        """True where the wanted revision asks for the very container that the replica has."""
        if replica.revision == self.service.revision:
            return True
        spec = self.specs.get(replica.revision)
        return spec is not None and same_template(spec, self.spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The replicas of one place in a service (a slot number; for a global service, a node), by what is to become of them."""

    staying: tuple[Replica, ...] = ()  # neither ended nor on their way out, oldest first
    leaving: tuple[Replica, ...] = ()  # draining or stopping
    ended: tuple[Replica, ...] = ()  # oldest first

    @property
    def last_ended(self) -> Replica | None:
        return self.ended[-1] if self.ended else None


def sort_into_slots(view: ServiceView, *, by_node: bool = False) -> dict[int | NodeId, Slot]:
    """The replicas by slot number, or by node, each part ordered by age."""
    groups: dict[int | NodeId, tuple[list[Replica], list[Replica], list[Replica]]] = {}
    for replica in sorted(view.replicas, key=lambda r: (r.created_at, r.id)):
        staying, leaving, ended = groups.setdefault(replica.node_id if by_node else replica.slot, ([], [], []))
        if replica.ended:
            ended.append(replica)
        elif replica.state in LEAVING:
            leaving.append(replica)
        else:
            staying.append(replica)
    return {
        place: Slot(staying=tuple(staying), leaving=tuple(leaving), ended=tuple(ended))
        for place, (staying, leaving, ended) in groups.items()
    }
