"""What the service planner sees: one service and all that belongs to it, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rookery.model import (
    OPEN,
    Availability,
    NodeId,
    NodeState,
    Replica,
    ReplicaId,
    ReplicaState,
    Service,
    ServiceKey,
    ServiceSpec,
)

from rookery_manager.planners.compare import Comparison
from rookery_manager.planners.template import same_template


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
    `in_the_way` are replicas that take the room for which the new one in their place waits in vain. `comparison` is how the new
    revision of a canary does beside the old one; None where there is nothing to compare. `updated_at` says of dependencies whose
    updates restart this service when the latest was done.
    """

    service: Service
    specs: Mapping[int, ServiceSpec]
    replicas: tuple[Replica, ...] = ()
    nodes: Mapping[NodeId, NodeBrief] = field(default_factory=dict)
    undrained: Mapping[ReplicaId, str] = field(default_factory=dict)
    unmet: str = ""
    in_the_way: frozenset[ReplicaId] = frozenset()
    comparison: Comparison | None = None
    updated_at: Mapping[ServiceKey, float] = field(default_factory=dict)

    @property
    def spec(self) -> ServiceSpec:
        return self.specs[self.service.revision]

    def is_current(self, replica: Replica) -> bool:
        return is_current(self.service, self.specs, replica)

    @property
    def has_begun(self) -> bool:
        """Whether what is wanted was started once. What ended before the rollout that is under way began is of another time."""
        rollout = self.service.rollout
        since = rollout.started_at if rollout is not None and rollout.state in OPEN else 0.0
        return any(self.is_current(replica) and not (replica.ended and replica.created_at < since) for replica in self.replicas)


def current_in(view: ServiceView, slot: "Slot") -> list[Replica]:
    """The replicas of a place that stay and are what is wanted now."""
    return [replica for replica in slot.staying if view.is_current(replica)]


def is_current(service: Service, specs: Mapping[int, ServiceSpec], replica: Replica) -> bool:
    """True where the wanted revision asks for the very container that the replica has, and no restart for another one."""
    if replica.created_at < service.restarted_at:
        return False
    if replica.revision == service.revision:
        return True
    spec = specs.get(replica.revision)
    return spec is not None and same_template(spec, specs[service.revision])


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The replicas of one place in a service (a slot number; for a global service, a node), by what is to become of them."""

    staying: tuple[Replica, ...] = ()  # neither ended nor on their way out, oldest first
    leaving: tuple[Replica, ...] = ()  # draining or stopping
    ended: tuple[Replica, ...] = ()  # oldest first

    @property
    def last_ended(self) -> Replica | None:
        return self.ended[-1] if self.ended else None


def is_done(view: ServiceView, slot: Slot) -> bool:
    """True where the place's last replica ended by itself and its restart policy asks for no other. A rollout tries anew what
    failed before it."""
    last, rollout = slot.last_ended, view.service.rollout
    if last is None or not last.ended_by_itself or not view.is_current(last):
        return False
    is_tried_anew = rollout is not None and last.created_at < rollout.judged_since
    return not (is_tried_anew and last.state is ReplicaState.FAILED)


def sort_into_slots(view: ServiceView, *, by_node: bool = False) -> dict[int | NodeId, Slot]:
    """The replicas by slot number, or by node, each part ordered by age."""
    groups: dict[int | NodeId, tuple[list[Replica], list[Replica], list[Replica]]] = {}
    for replica in sorted(view.replicas, key=lambda r: (r.created_at, r.id)):
        staying, leaving, ended = groups.setdefault(replica.node_id if by_node else replica.slot, ([], [], []))
        if replica.ended:
            ended.append(replica)
        elif replica.leaving:
            leaving.append(replica)
        else:
            staying.append(replica)
    return {
        place: Slot(staying=tuple(staying), leaving=tuple(leaving), ended=tuple(ended))
        for place, (staying, leaving, ended) in groups.items()
    }
