"""What an agent saw, taken over into the records: a state only goes forward, and only what changed is written."""

from dataclasses import replace

from rookery.model import NodeId, Replica, ReplicaState, ReplicaStatus, can_move

from rookery_manager.planners.actions import Observe

MANAGERS_OWN = frozenset({ReplicaState.DRAINING, ReplicaState.STOPPING})


def plan_status(replica: Replica | None, status: ReplicaStatus, node_id: NodeId) -> Observe | None:
    """The step that a status means for a replica's record; None where it tells nothing new, or nothing that the node may tell."""
    if replica is None or replica.node_id != node_id or replica.ended:
        return None
    if not can_move(replica.state, status.state) and not _is_news_without_move(replica, status):
        return None
    seen = observed(replica, status, status.at)
    if replace(seen, changed_at=replica.changed_at, why=replica.why) == replica and seen.why == replica.why:
        return None
    return Observe(replica=replica, status=status, why=seen.why)


def _is_news_without_move(replica: Replica, status: ReplicaStatus) -> bool:
    """Readiness, endpoints, restarts: they change within a state, and while the manager has the replica drain or stop."""
    if status.state is replica.state:
        return True
    return replica.state in MANAGERS_OWN and status.state is ReplicaState.RUNNING


def observed(replica: Replica, status: ReplicaStatus, now: float) -> Replica:
    """The record after the status. While it drains or stops, the reason of that stays."""
    moves = can_move(replica.state, status.state)
    state = status.state if moves else replica.state
    ready = status.ready and state is ReplicaState.RUNNING
    own = state in MANAGERS_OWN
    ended_as_wanted = state is ReplicaState.STOPPED and replica.state in MANAGERS_OWN
    return replace(
        replica,
        state=state,
        ready=ready,
        ready_at=(replica.ready_at if replica.ready else now) if ready else 0.0,
        why=replica.why if own or ended_as_wanted else status.why or replica.why,
        changed_at=now if moves else replica.changed_at,
        endpoints=tuple(replace(e, replica_id=replica.id) for e in status.endpoints) or replica.endpoints,
        restarts=max(status.restarts, replica.restarts),
        exit_code=status.exit_code,
        container_id=status.container_id or replica.container_id,
    )


def sighting(before: Replica, after: Replica) -> str:
    """What an agent saw, as the event of it: each thing once. Empty where that is none.

    What a probe says in between is in the record, for `rookery ps`, and so is that a start began: as events they hide others.
    """
    moved = (before.state, before.ready, before.restarts) != (after.state, after.ready, after.restarts)
    state, why = after.state.value, after.why
    if not moved and after.state is not ReplicaState.PREPARING:
        return ""
    if after.state is ReplicaState.STARTING and why in ("", state):
        return ""
    if after.state is ReplicaState.STOPPED and before.state in MANAGERS_OWN:
        return state  # why was told when it was drained or stopped
    if after.ready:
        return _joined("ready", "" if why == "ready" else why.removeprefix(state))
    return why if why.startswith("restarting") else _joined(state, why.removeprefix(state))


def _joined(seen: str, rest: str) -> str:
    return f"{seen}{rest}" if not rest or rest.startswith((",", " ")) else f"{seen}: {rest}"
