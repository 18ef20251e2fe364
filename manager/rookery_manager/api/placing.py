"""What the scheduler says of questions that operators ask: where would it go, and why is it where it is."""

from collections.abc import Sequence
from dataclasses import dataclass

from rookery.model import (
    Global,
    GlobalJob,
    Node,
    NodeId,
    NodeVerdict,
    PlannedReplica,
    Replica,
    ReplicaId,
    ServiceKey,
    ServiceSpec,
)

from rookery_manager import scheduler
from rookery_manager.scheduler import NodeView, Placed, Request
from rookery_manager.state import State
from rookery_manager.views import view_with


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReplicas:
    """Replicas of a service that do not exist yet. `instead_of` are those that go when these are there."""

    key: ServiceKey
    spec: ServiceSpec
    slots: tuple[int, ...]
    instead_of: frozenset[ReplicaId] = frozenset()


def node_views(state: State, *, without: frozenset[ReplicaId] = frozenset()) -> dict[NodeId, NodeView]:
    """All nodes with what is on them, but for the replicas to be left out."""
    return {node.id: _view(state, node, without) for node in state.nodes.values()}


def count_eligible(state: State, key: ServiceKey, spec: ServiceSpec) -> int:
    """On how many nodes a global service has to run: those that it is on and stays on, and others that fit."""
    own = state.replicas_of(key)
    staying = {replica.node_id for replica in own.values() if not replica.ended and not replica.leaving}
    others = [node for node in state.nodes.values() if node.id not in staying]
    return len(staying) + sum(not scheduler.eligible(spec, _view(state, node, frozenset(own))) for node in others)


def place_new(state: State, wanted: Sequence[NewReplicas], *, leaving: frozenset[ReplicaId]) -> list[PlannedReplica]:
    """Where replicas would go once those that they replace, and those that leave, are gone."""
    gone = leaving.union(*(new.instead_of for new in wanted))
    nodes = node_views(state, without=gone)
    planned = [placed for new in wanted if _is_global(new.spec) for placed in _place_global(new, nodes)]
    requests: list[Request] = []
    slots: dict[ReplicaId, tuple[str, int]] = {}
    for new in wanted:
        service = new.key.partition("/")[2]
        for slot in () if _is_global(new.spec) else new.slots:
            replica_id = ReplicaId(f"{new.key}.{slot}")
            slots[replica_id] = (service, slot)
            requests.append(Request(replica_id=replica_id, key=new.key, slot=slot, spec=new.spec))
    for answer in scheduler.place(requests, nodes) if requests else ():
        service, slot = slots[answer.replica_id]
        if isinstance(answer, Placed):
            node = nodes[answer.node_id].node
            planned.append(PlannedReplica(service=service, slot=slot, node_id=node.id, node_name=node.name, why=answer.why))
        else:
            planned.append(PlannedReplica(service=service, slot=slot, why=answer.why))
    return sorted(planned, key=lambda placed: (placed.service, placed.slot, placed.node_name))


def explain_replica(state: State, replica: Replica, spec: ServiceSpec) -> tuple[NodeVerdict, ...]:
    """What each node is for this replica, as if it had to be placed now."""
    request = Request(replica_id=replica.id, key=replica.key, slot=replica.slot, spec=spec)
    return tuple(scheduler.explain(request, node_views(state, without=frozenset([replica.id]))))


def explain_next(state: State, key: ServiceKey, spec: ServiceSpec) -> tuple[NodeVerdict, ...]:
    """What each node is for one more replica of the service."""
    slot = 0 if _is_global(spec) else 1 + max((r.slot for r in state.replicas_of(key).values() if not r.ended), default=0)
    request = Request(replica_id=ReplicaId(f"{key}.{slot}"), key=key, slot=slot, spec=spec)
    return tuple(scheduler.explain(request, node_views(state)))


def _place_global(new: NewReplicas, nodes: dict[NodeId, NodeView]) -> list[PlannedReplica]:
    planned = []
    for view in nodes.values():
        refusal = scheduler.eligible(new.spec, view) or ""
        node_id = NodeId("") if refusal else view.node.id
        why = refusal or "it runs on every node that fits"
        planned.append(
            PlannedReplica(service=new.key.partition("/")[2], slot=0, node_id=node_id, node_name=view.node.name, why=why)
        )
    return planned


def _is_global(spec: ServiceSpec) -> bool:
    return isinstance(spec.mode, Global | GlobalJob)


def _view(state: State, node: Node, without: frozenset[ReplicaId]) -> NodeView:
    replicas = [replica for replica in state.replicas_on(node.id).values() if replica.id not in without]
    return view_with(state, node, replicas, without=without)
