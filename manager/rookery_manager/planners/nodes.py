"""The life of a node: it joins, goes silent, comes back, leaves."""

from collections.abc import Sequence
from dataclasses import dataclass

from rookery.model import Node, NodeCondition, NodeId, NodeInfo, NodeState, Replica

from rookery_manager.planners.actions import Action, Lose, Plan, SetNode


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """`lease_until` is when the node's silence is no longer tolerated; `heard_at` when it was last heard."""

    node: Node
    heard_at: float
    lease_until: float
    replicas: tuple[Replica, ...] = ()


def plan_node(view: NodeView, now: float) -> Plan:
    """A node whose lease ended is down (one that was leaving stays `left`), and its replicas are lost."""
    node = view.node
    if node.state is NodeState.DOWN:
        return Plan(actions=_lose(view.replicas, f"node {node.name} was lost: {node.why}"))
    if now < view.lease_until:
        return Plan(wake_at=view.lease_until)
    silence = f"silent for {now - view.heard_at:.1f} s"
    if node.state is NodeState.LEFT:
        return Plan(actions=_lose(view.replicas, f"node {node.name} left before it was empty"))
    return Plan(
        actions=(
            SetNode(node=node, node_id=node.id, state=NodeState.DOWN, why=silence),
            *_lose(view.replicas, f"node {node.name} was lost: {silence}"),
        )
    )


def plan_gone(replicas: Sequence[Replica]) -> Plan:
    """Of a node that is no longer in the cluster."""
    return Plan(actions=_lose(replicas, "its node was removed from the cluster"))


def _lose(replicas: Sequence[Replica], why: str) -> tuple[Action, ...]:
    return tuple(Lose(replica=replica, why=why) for replica in replicas if not replica.ended)


def plan_hello(node: Node | None, node_id: NodeId, info: NodeInfo) -> Plan:
    """What an agent's hello changes: it joins, comes back, or tells something new of itself."""
    if node is None:
        return Plan(actions=(SetNode(node=None, node_id=node_id, info=info, state=NodeState.READY, why="joined the cluster"),))
    if node.state is not NodeState.READY:
        why = f"came back after it was {node.state}"
        return Plan(actions=(SetNode(node=node, node_id=node_id, info=info, state=NodeState.READY, why=why),))
    if node.info != info:
        return Plan(
            actions=(SetNode(node=node, node_id=node_id, info=info, state=NodeState.READY, why="tells something new of itself"),)
        )
    return Plan()


def plan_goodbye(node: Node, why: str) -> Plan:
    if node.state is NodeState.LEFT:
        return Plan()
    return Plan(actions=(SetNode(node=node, node_id=node.id, state=NodeState.LEFT, why=why or "its agent stops"),))


def plan_conditions(node: Node, conditions: tuple[NodeCondition, ...]) -> Plan:
    """What a heartbeat's conditions change; only a change is stored."""
    if {c.name for c in node.conditions} == {c.name for c in conditions}:
        return Plan()
    why = "; ".join(f"{c.name}: {c.why}" for c in conditions) or "nothing is wrong with it any more"
    return Plan(actions=(SetNode(node=node, node_id=node.id, state=node.state, conditions=conditions, why=why),))
