"""Which replicas a node is told of."""

import pytest
from rookery.model import Desired, NodeId, Replica, ReplicaId, ReplicaState
from rookery_manager.planners.assignments import difference, is_assigned, marks


def replica(state: ReplicaState, desired: Desired = Desired.RUN, name: str = "r") -> Replica:
    return Replica(
        id=ReplicaId(name), app="a", service="s", slot=1, revision=1, node_id=NodeId("n"), state=state, desired=desired
    )


@pytest.mark.parametrize("state", [ReplicaState.ASSIGNED, ReplicaState.RUNNING, ReplicaState.DRAINING, ReplicaState.STOPPING])
def test_what_is_not_ended_is_told(state: ReplicaState) -> None:
    assert is_assigned(replica(state))


def test_what_ended_by_itself_stays_so_that_its_log_can_be_read() -> None:
    assert is_assigned(replica(ReplicaState.FAILED))
    assert is_assigned(replica(ReplicaState.STOPPED))


def test_what_was_stopped_on_purpose_or_lost_is_not() -> None:
    assert not is_assigned(replica(ReplicaState.STOPPED, Desired.STOP))
    assert not is_assigned(replica(ReplicaState.LOST))
    assert not is_assigned(replica(ReplicaState.PENDING))


def test_the_difference_is_what_changed() -> None:
    before = marks([replica(ReplicaState.RUNNING, name="a"), replica(ReplicaState.RUNNING, name="b")])
    after = marks([replica(ReplicaState.STOPPING, name="a"), replica(ReplicaState.ASSIGNED, name="c")])
    assert difference(before, after) == (("a", "c"), ("b",))
