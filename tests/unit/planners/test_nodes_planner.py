"""The life of a node, as tables."""

from dataclasses import replace

from rookery.model import Node, NodeCondition, NodeId, NodeInfo, NodeState, Replica, ReplicaId, ReplicaState
from rookery_manager.planners.actions import Lose, SetNode
from rookery_manager.planners.nodes import NodeView, plan_conditions, plan_goodbye, plan_hello, plan_node

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
