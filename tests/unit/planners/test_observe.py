"""What an agent's status does to a record: forward only, and only what is new."""

from dataclasses import replace

from rookery.model import Endpoint, NodeId, Replica, ReplicaId, ReplicaState, ReplicaStatus
from rookery_manager.planners.observe import observed, plan_status

N1 = NodeId("n1")
R1 = ReplicaId("r1")
ENDPOINT = Endpoint(replica_id=R1, address="10.0.0.1", port=32768, target=80)


def replica(state: ReplicaState = ReplicaState.ASSIGNED, **changes: object) -> Replica:
    made = Replica(id=R1, app="shop", service="web", slot=1, revision=1, node_id=N1, state=state, why="wanted")
    return replace(made, **changes)  # type: ignore[arg-type]


def status(state: ReplicaState, **changes: object) -> ReplicaStatus:
    return replace(ReplicaStatus(replica_id=R1, state=state, why="seen", at=10.0), **changes)  # type: ignore[arg-type]


def test_a_state_goes_forward_and_takes_the_agents_reason() -> None:
    step = plan_status(replica(), status(ReplicaState.RUNNING, ready=True, endpoints=(ENDPOINT,)), N1)
    assert step is not None
    after = observed(step.replica, step.status, 11.0)
    assert (after.state, after.ready, after.ready_at, after.why) == (ReplicaState.RUNNING, True, 11.0, "seen")
    assert after.endpoints == (ENDPOINT,)


def test_an_older_state_is_no_news() -> None:
    assert plan_status(replica(ReplicaState.RUNNING), status(ReplicaState.STARTING), N1) is None


def test_the_same_again_is_no_news() -> None:
    known = replica(ReplicaState.RUNNING, ready=True, ready_at=5.0, why="seen", endpoints=(ENDPOINT,))
    assert plan_status(known, status(ReplicaState.RUNNING, ready=True, endpoints=(ENDPOINT,)), N1) is None


def test_readiness_that_is_lost_is_news_within_a_state() -> None:
    known = replica(ReplicaState.RUNNING, ready=True, ready_at=5.0)
    step = plan_status(known, status(ReplicaState.RUNNING, restarts=1, why="restarting: exited with status 1"), N1)
    assert step is not None
    after = observed(known, step.status, 11.0)
    assert (after.ready, after.ready_at, after.restarts) == (False, 0.0, 1)


def test_ready_since_stays_when_it_was_ready_already() -> None:
    known = replica(ReplicaState.RUNNING, ready=True, ready_at=5.0)
    assert observed(known, status(ReplicaState.RUNNING, ready=True), 11.0).ready_at == 5.0


def test_a_draining_replica_keeps_its_reason_and_never_gets_ready() -> None:
    known = replica(ReplicaState.DRAINING, why="surplus")
    after = observed(known, status(ReplicaState.RUNNING, ready=True), 11.0)
    assert (after.state, after.ready, after.why) == (ReplicaState.DRAINING, False, "surplus")


def test_a_stop_that_was_asked_for_keeps_the_reason_why() -> None:
    known = replica(ReplicaState.STOPPING, why="node n1 is drained")
    after = observed(known, status(ReplicaState.STOPPED, why="exited with status 143", exit_code=143), 11.0)
    assert (after.state, after.why, after.exit_code) == (ReplicaState.STOPPED, "node n1 is drained", 143)


def test_a_node_tells_nothing_of_others_replicas_nor_of_ended_ones() -> None:
    assert plan_status(replica(), status(ReplicaState.RUNNING), NodeId("n2")) is None
    assert plan_status(replica(ReplicaState.LOST), status(ReplicaState.STOPPED), N1) is None
    assert plan_status(None, status(ReplicaState.RUNNING), N1) is None
