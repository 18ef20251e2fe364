"""Gives a node that came (back) its share: one replica of a service at a time, started there before the old one goes.

Invariant: a replica is moved only when the scheduler itself would now put it on a node with at least two fewer replicas of the
service; so every move makes the spread evener, and moves come to an end.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from rookery.model import (
    OPEN,
    NodeId,
    Replica,
    ReplicaState,
    Replicated,
    Service,
    ServiceSpec,
    UpdateOrder,
    VolumeMount,
)

from rookery_manager.planners.actions import Move, Plan
from rookery_manager.scheduler import NodeView, Placed, Request, place

SETTLE_S = 5.0
"""How long a node must have been there before it is given work that others do well: one that flaps gets none."""

LOOK_AGAIN_S = 2.0
"""Between looks at a service that is in the middle of something, one of these moves included."""

IMBALANCE = 2
"""A difference of one can't be made smaller by a move."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceView:
    """A service with its replicas that have not ended, and all nodes."""

    service: Service
    spec: ServiceSpec
    replicas: tuple[Replica, ...]
    nodes: Mapping[NodeId, NodeView]


def plan_rebalance(view: BalanceView, now: float) -> Plan:
    """At most one move. Without a `wake_at` the service is even, or is not to be touched."""
    if not _may_move(view.service, view.spec):
        return Plan()
    settled_at = max((n.node.changed_at + SETTLE_S for n in view.nodes.values() if n.node.takes_work), default=0.0)
    if not _is_at_rest(view) or now < settled_at:
        return Plan(wake_at=max(settled_at, now + LOOK_AGAIN_S))
    counts: dict[NodeId, int] = {}
    for replica in view.replicas:
        counts[replica.node_id] = counts.get(replica.node_id, 0) + 1
    candidate = max(view.replicas, key=lambda r: (counts[r.node_id], r.slot), default=None)
    if candidate is None:
        return Plan()
    request = Request(replica_id=candidate.id, key=view.service.key, slot=candidate.slot, spec=view.spec)
    (answer,) = place([request], view.nodes)
    if not isinstance(answer, Placed):
        return Plan()
    there, here = counts.get(answer.node_id, 0), counts[candidate.node_id]
    if here - there < IMBALANCE:
        return Plan()
    names = view.nodes[answer.node_id].node.name, view.nodes[candidate.node_id].node.name
    why = f"node {names[0]} has {there} of {view.service.key} and node {names[1]} has {here}"
    return Plan(actions=(Move(replica=candidate, why=why),), wake_at=now + LOOK_AGAIN_S)


def _may_move(service: Service, spec: ServiceSpec) -> bool:
    """Not where a move would be an interruption (stop-first), or would leave data behind on a node (volumes)."""
    has_volumes = any(isinstance(mount, VolumeMount) and mount.volume for mount in spec.container.mounts)
    start_first = spec.update.order is UpdateOrder.START_FIRST
    return spec.rebalance and isinstance(spec.mode, Replicated) and start_first and not has_volumes and not service.removing


def _is_at_rest(view: BalanceView) -> bool:
    rollout = view.service.rollout
    if rollout is not None and rollout.state in OPEN:
        return False
    return len(view.replicas) == view.service.replicas and all(
        r.state is ReplicaState.RUNNING and r.ready and not r.move_why and r.revision == view.service.revision
        for r in view.replicas
    )
