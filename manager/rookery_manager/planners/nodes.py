"""The life of a node: it joins, goes silent, comes back, leaves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rookery.model import Node, NodeCondition, NodeId, NodeInfo, NodeState, OnDisconnect, Replica, ReplicaId, ServiceSpec

from rookery_manager.planners.actions import Action, Doubt, Lose, Plan, SetNode, earliest

FENCE_MARGIN_S = 2.0
"""For an agent to notice that its lease ended (it looks every 0.2 s), and for its engine to carry out a kill."""

CLOCK_DRIFT = 0.01
"""How much faster the manager's clock may go than the agent's: quartz errs by 0.01 %, a machine under load by more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldOff:
    """How long a node that keeps going down is given no work once it is back: not at all after the first time, `first_s` after
    the second, then twice as long each time, up to `longest_s`. It begins anew after `quiet_s` without going down."""

    first_s: float = 10.0
    longest_s: float = 300.0
    quiet_s: float = 600.0

    def after(self, downs: int) -> float:
        return min(self.first_s * 2 ** min(downs - 2, 30), self.longest_s) if downs > 1 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """`lease_until` is when the node's silence is no longer tolerated; `heard_at` when it was last heard. `fences` are, of
    replicas that must not run twice, how long after that they may still run."""

    node: Node
    heard_at: float
    lease_until: float
    replicas: tuple[Replica, ...] = ()
    fences: Mapping[ReplicaId, float] = field(default_factory=dict)
    hold_off: HoldOff = field(default_factory=HoldOff)


def fence_s(spec: ServiceSpec) -> float:
    """How long after the end of its node's lease a replica may still run; 0 where it does not matter.

    The agent's lease ends before the manager's, since it counts from when it sent what the manager counts from hearing. It
    stops the replica `on_disconnect_after_s` later, which takes the grace period at most (docs/decisions/0018-fencing.md).
    """
    if spec.on_disconnect is not OnDisconnect.STOP:
        return 0.0
    stopping_s = spec.on_disconnect_after_s + spec.container.stop_grace_period_s
    return stopping_s * (1 + CLOCK_DRIFT) + FENCE_MARGIN_S


def plan_node(view: NodeView, now: float) -> Plan:
    """A node whose lease ended is down (one that was leaving stays `left`), and its replicas are lost."""
    node = view.node
    if node.state is NodeState.DOWN:
        return _lose_when_sure(view, f"node {node.name} was lost: {node.why}", node.changed_at, now)
    if now < view.lease_until:
        return _wait(view, now)
    silence = f"silent for {now - view.heard_at:.1f} s"
    if node.state is NodeState.LEFT:
        return _lose_when_sure(view, f"node {node.name} left before it was empty", view.lease_until, now)
    downs = node.downs + 1 if now - node.changed_at < view.hold_off.quiet_s else 1
    down = SetNode(node=node, node_id=node.id, state=NodeState.DOWN, why=silence, downs=downs, held_off=False)
    lost = _lose_when_sure(view, f"node {node.name} was lost: {silence}", now, now)
    return Plan(actions=(down, *lost.actions), wake_at=lost.wake_at)


def _wait(view: NodeView, now: float) -> Plan:
    """Of a node that is heard: until when, and whether it is given work again."""
    node = view.node
    if not node.held_off:
        return Plan(wake_at=view.lease_until)
    until = node.changed_at + view.hold_off.after(node.downs)
    if now < until:
        return Plan(wake_at=min(view.lease_until, until))
    why = f"gets work again, {now - node.changed_at:.0f} s after it came back"
    return Plan(
        actions=(SetNode(node=node, node_id=node.id, state=node.state, why=why, held_off=False),), wake_at=view.lease_until
    )


def _lose_when_sure(view: NodeView, why: str, silent_since: float, now: float) -> Plan:
    """Its replicas are lost: at once, but for those that must not run twice and may still do so."""
    actions: list[Action] = []
    sure_at: list[float] = []
    for replica in view.replicas:
        if replica.ended:
            continue
        at = silent_since + view.fences.get(replica.id, 0.0)
        if at <= now:
            actions.append(Lose(replica=replica, why=why))
            continue
        sure_at.append(at)
        if replica.ready:
            actions.append(Doubt(replica=replica, why=f"{why}; it must not run twice and may still run for {at - now:.0f} s"))
    return Plan(actions=tuple(actions), wake_at=earliest(*sure_at))


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
        held_off = node.state is NodeState.DOWN and node.downs > 1
        why = f"came back after it was {node.state}"
        if held_off:
            why = f"{why}, {node.downs} times now: it is given no work for a while"
        back = SetNode(node=node, node_id=node_id, info=info, state=NodeState.READY, why=why, held_off=held_off)
        return Plan(actions=(back,))
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
