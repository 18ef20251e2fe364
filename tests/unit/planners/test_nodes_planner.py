"""The life of a node, as tables."""

from dataclasses import replace

import pytest
from rookery.model import (
    ContainerSpec,
    Node,
    NodeCondition,
    NodeId,
    NodeInfo,
    NodeState,
    OnDisconnect,
    Replica,
    ReplicaId,
    ReplicaState,
    ServiceSpec,
)
from rookery_manager.planners.actions import Doubt, Lose, Plan, SetNode
from rookery_manager.planners.nodes import (
    HoldOff,
    NodeView,
    fence_s,
    plan_conditions,
    plan_goodbye,
    plan_hello,
    plan_node,
)

N1 = NodeId("n1")
NODE = Node(id=N1, info=NodeInfo(hostname="n1"))
REPLICA = Replica(id=ReplicaId("r"), app="a", service="s", slot=1, revision=1, node_id=N1, state=ReplicaState.RUNNING)


def test_a_node_that_is_heard_keeps_its_lease() -> None:
    plan = plan_node(NodeView(node=NODE, heard_at=10.0, lease_until=13.0, replicas=(REPLICA,)), 12.9)
    assert plan.actions == ()
    assert plan.wake_at == 13.0


def test_silence_beyond_the_lease_is_death() -> None:
    plan = plan_node(NodeView(node=NODE, heard_at=10.0, lease_until=13.0, replicas=(REPLICA,)), 13.1)
    node, lost = plan.actions
    assert isinstance(node, SetNode)
    assert (node.state, node.why) == (NodeState.DOWN, "silent for 3.1 s")
    assert isinstance(lost, Lose)
    assert lost.why == "node n1 was lost: silent for 3.1 s"


def test_a_node_that_is_down_already_loses_what_was_still_given_to_it() -> None:
    down = replace(NODE, state=NodeState.DOWN, why="silent for 3.1 s")
    plan = plan_node(NodeView(node=down, heard_at=0.0, lease_until=3.0, replicas=(REPLICA,)), 100.0)
    assert [type(action) for action in plan.actions] == [Lose]


def test_what_must_not_run_twice_is_lost_only_when_it_has_surely_stopped() -> None:
    ready = replace(REPLICA, ready=True, ready_at=5.0)
    view = NodeView(node=NODE, heard_at=10.0, lease_until=13.0, replicas=(ready,), fences={ready.id: 12.0})
    down = plan_node(view, 13.1)
    node, doubt = down.actions
    assert isinstance(node, SetNode)
    assert isinstance(doubt, Doubt)
    assert doubt.why == "node n1 was lost: silent for 3.1 s; it must not run twice and may still run for 12 s"
    assert down.wake_at == 25.1
    after = replace(view, node=replace(NODE, state=NodeState.DOWN, changed_at=13.1), replicas=(REPLICA,))
    assert plan_node(after, 25.0) == Plan(wake_at=25.1)
    assert [type(action) for action in plan_node(after, 25.1).actions] == [Lose]


def test_the_fence_is_as_long_as_the_agent_may_take() -> None:
    kept = ServiceSpec(name="s", container=ContainerSpec(stop_grace_period_s=10.0), on_disconnect_after_s=5.0)
    assert fence_s(kept) == 0.0
    assert fence_s(replace(kept, on_disconnect=OnDisconnect.STOP)) == pytest.approx(15 * 1.01 + 2)


def test_a_node_that_keeps_going_down_is_held_off_for_longer_each_time() -> None:
    hold_off = HoldOff(first_s=10.0, longest_s=35.0, quiet_s=100.0)
    assert [hold_off.after(downs) for downs in range(6)] == [0.0, 0.0, 10.0, 20.0, 35.0, 35.0]
    assert HoldOff(first_s=0.0).after(9) == 0.0

    def goes_down(node: Node, now: float) -> int | None:
        (action,) = plan_node(NodeView(node=node, heard_at=now - 4, lease_until=now - 1, hold_off=hold_off), now).actions
        assert isinstance(action, SetNode)
        return action.downs

    assert goes_down(replace(NODE, changed_at=50.0, downs=2), 149.0) == 3
    assert goes_down(replace(NODE, changed_at=50.0, downs=2), 150.0) == 1  # it was quiet for long enough

    def comes_back(downs: int, state: NodeState = NodeState.DOWN) -> tuple[bool | None, str]:
        (action,) = plan_hello(replace(NODE, state=state, downs=downs), N1, NODE.info).actions
        assert isinstance(action, SetNode)
        return action.held_off, action.why

    assert comes_back(1) == (False, "came back after it was down")
    assert comes_back(3) == (True, "came back after it was down, 3 times now: it is given no work for a while")
    assert comes_back(3, NodeState.LEFT) == (False, "came back after it was left")
    held = NodeView(
        node=replace(NODE, held_off=True, downs=3, changed_at=200.0), heard_at=219.0, lease_until=222.0, hold_off=hold_off
    )
    assert plan_node(held, 219.0) == Plan(wake_at=220.0)
    (again,) = plan_node(held, 220.0).actions
    assert isinstance(again, SetNode)
    assert (again.held_off, again.why) == (False, "gets work again, 20 s after it came back")


def test_a_leaving_node_that_goes_silent_stays_left() -> None:
    left = replace(NODE, state=NodeState.LEFT)
    plan = plan_node(NodeView(node=left, heard_at=0.0, lease_until=3.0, replicas=(REPLICA,)), 4.0)
    assert [type(action) for action in plan.actions] == [Lose]


def test_hello_joins_returns_updates_or_changes_nothing() -> None:
    def why(node: Node | None, info: NodeInfo = NODE.info) -> str:
        actions = plan_hello(node, N1, info).actions
        return actions[0].why if actions and isinstance(actions[0], SetNode) else ""

    assert why(None) == "joined the cluster"
    assert why(replace(NODE, state=NodeState.DOWN)) == "came back after it was down"
    assert why(NODE, NodeInfo(hostname="n1", address="10.0.0.9")) == "tells something new of itself"
    assert why(NODE) == ""


def test_goodbye_once() -> None:
    assert len(plan_goodbye(NODE, "").actions) == 1
    assert plan_goodbye(replace(NODE, state=NodeState.LEFT), "").actions == ()


def test_conditions_are_stored_when_they_change() -> None:
    away = NodeCondition(name="engine-away", why="no answer for 5 s")
    assert len(plan_conditions(NODE, (away,)).actions) == 1
    longer = replace(away, why="no answer for 6 s")
    assert plan_conditions(replace(NODE, conditions=(away,)), (longer,)).actions == ()
    assert len(plan_conditions(replace(NODE, conditions=(away,)), ()).actions) == 1
