"""The agent's metrics."""

from rookery.metrics import Family
from rookery.model import Assignment, NodeStats, ReplicaId, ReplicaState, ReplicaStats, ReplicaStatus, ServiceSpec
from rookery_agent.metrics import families

A = ReplicaId("a")
ASSIGNMENT = Assignment(replica_id=A, app="shop", service="web", slot=2, revision=1, spec=ServiceSpec(name="web"))


def named(made: list[Family]) -> dict[str, dict[tuple[str, ...], object]]:
    return {family.name: dict(family.samples) for family in made}


def test_the_machine_its_replicas_and_the_manager_are_shown() -> None:
    found = named(
        families(
            NodeStats(cpu_percent=12.5, memory_used_bytes=100),
            connected=True,
            silent_s=0.0,
            conditions=["disk-full"],
            statuses=[ReplicaStatus(replica_id=A, state=ReplicaState.RUNNING, ready=True, restarts=3)],
            assignments={A: ASSIGNMENT},
            usage=[ReplicaStats(replica_id=A, cpu_percent=50.0, memory_bytes=1000), ReplicaStats(replica_id=ReplicaId("gone"))],
        )
    )
    labels = ("shop", "web", "2", "a")
    assert found["rookery_agent_connected"] == {(): 1.0}
    assert found["rookery_node_cpu_percent"] == {(): 12.5}
    assert found["rookery_node_condition"] == {("disk-full",): 1.0}
    assert found["rookery_agent_replicas"]["running",] == 1
    assert found["rookery_replica_ready"] == {labels: 1.0}
    assert found["rookery_replica_restarts"] == {labels: 3}
    assert found["rookery_replica_memory_bytes"] == {labels: 1000}
