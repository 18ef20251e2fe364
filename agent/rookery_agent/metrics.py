"""The agent's metrics: its machine, its replicas, and whether the manager is there. Pure but for what it is given."""

from collections import Counter
from collections.abc import Mapping, Sequence

from rookery.metrics import Family, Kind, gauge
from rookery.model import Assignment, NodeStats, ReplicaId, ReplicaState, ReplicaStats, ReplicaStatus
from rookery.model.replica import ENDED

_REPLICA = ("app", "service", "slot", "replica")


def families(
    machine: NodeStats,
    *,
    connected: bool,
    silent_s: float,
    conditions: Sequence[str],
    statuses: Sequence[ReplicaStatus],
    assignments: Mapping[ReplicaId, Assignment],
    usage: Sequence[ReplicaStats],
) -> list[Family]:
    """What is shown of a node. `silent_s` is how long the manager's lease is over, `conditions` what is wrong, by name."""
    states = Counter(status.state for status in statuses)
    named = [(_labels(assignments[s.replica_id]), s) for s in statuses if s.replica_id in assignments]
    used = [(_labels(assignments[u.replica_id]), u) for u in usage if u.replica_id in assignments]
    return [
        gauge("rookery_agent_connected", "Whether the manager is there.", float(connected)),
        gauge("rookery_agent_silent_seconds", "How long ago the manager's lease ended; 0 while it holds.", silent_s),
        gauge("rookery_node_cpu_percent", "Use of all cores, 0 to 100.", machine.cpu_percent),
        gauge("rookery_node_memory_used_bytes", "Memory in use.", machine.memory_used_bytes),
        gauge("rookery_node_memory_bytes", "Memory that there is.", machine.memory_total_bytes),
        gauge("rookery_node_disk_used_bytes", "Disk in use, where replicas keep their data.", machine.disk_used_bytes),
        gauge("rookery_node_disk_bytes", "Disk that there is.", machine.disk_total_bytes),
        gauge("rookery_node_load", "Load average of a minute.", machine.load_1m),
        Family(
            name="rookery_node_condition",
            help="What is wrong with the node.",
            kind=Kind.GAUGE,
            labels=("condition",),
            samples=[((name,), 1.0) for name in conditions],
        ),
        Family(
            name="rookery_agent_replicas",
            help="Replicas of this node, by state.",
            kind=Kind.GAUGE,
            labels=("state",),
            samples=[((str(state),), states[state]) for state in ReplicaState if state in states or state not in ENDED],
        ),
        Family(
            name="rookery_replica_ready",
            help="Whether a replica is ready.",
            kind=Kind.GAUGE,
            labels=_REPLICA,
            samples=[(labels, float(status.ready)) for labels, status in named],
        ),
        Family(
            name="rookery_replica_restarts",
            help="How often a replica was restarted.",
            kind=Kind.COUNTER,
            labels=_REPLICA,
            samples=[(labels, status.restarts) for labels, status in named],
        ),
        Family(
            name="rookery_replica_cpu_percent",
            help="Use of one core: 100 is one core busy.",
            kind=Kind.GAUGE,
            labels=_REPLICA,
            samples=[(labels, u.cpu_percent) for labels, u in used],
        ),
        Family(
            name="rookery_replica_memory_bytes",
            help="Memory in use.",
            kind=Kind.GAUGE,
            labels=_REPLICA,
            samples=[(labels, u.memory_bytes) for labels, u in used],
        ),
    ]


def _labels(assignment: Assignment) -> tuple[str, ...]:
    return assignment.app, assignment.service, str(assignment.slot), assignment.replica_id
