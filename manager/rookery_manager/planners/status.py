"""How a service stands: what is wanted, what is there, and what it waits for."""

from collections.abc import Iterable, Mapping, Sequence

from rookery.model import (
    OPEN,
    Global,
    GlobalJob,
    Mode,
    Replica,
    ReplicaState,
    Replicated,
    ReplicatedJob,
    RolloutState,
    Service,
    ServiceSpec,
    ServiceStatus,
)

from rookery_manager.planners.view import is_current


def service_status(
    service: Service, specs: Mapping[int, ServiceSpec], replicas: Sequence[Replica], *, eligible: int = 0, unmet: str = ""
) -> ServiceStatus:
    """`specs` has the specs of the service by revision number. `eligible` is on how many nodes a global service has to run.

    `unmet` is what the service depends on and holds its starts back (`shop/db to be healthy`); empty where nothing does.
    """
    spec = specs[service.revision]
    wanted = _wanted(service, spec.mode, eligible)
    alive = [replica for replica in replicas if not replica.ended]
    current = [replica for replica in replicas if is_current(service, specs, replica)]
    ready = [replica for replica in alive if replica.state is ReplicaState.RUNNING and replica.ready]
    current_ids = frozenset(replica.id for replica in current)
    updated = [replica for replica in ready if replica.id in current_ids]
    if isinstance(spec.mode, ReplicatedJob | GlobalJob):
        done = {replica.slot or replica.node_id for replica in current if _completed(replica)}
        converged = not alive and (service.removing or len(done) >= wanted)
    else:
        places = {replica.slot or replica.node_id for replica in alive}
        done = {r.slot or r.node_id for r in current if r.completed} - places
        converged = len(updated) == len(alive) and len(updated) + len(done) == wanted
    converged = converged and not service.removing
    return ServiceStatus(
        service=service,
        image=spec.container.image,
        mode=mode_name(spec.mode),
        wanted=wanted,
        running=sum(replica.state is ReplicaState.RUNNING for replica in alive),
        ready=len(ready),
        updated=len(updated),
        converged=converged,
        why="" if converged else _why(service, wanted, alive, updated, current, unmet),
        ports=spec.ports,
        routes=spec.routes,
    )


def mode_name(mode: Mode) -> str:
    match mode:
        case Replicated():
            return "replicated"
        case Global():
            return "global"
        case ReplicatedJob():
            return "replicated-job"
        case GlobalJob():
            return "global-job"


def _wanted(service: Service, mode: Mode, eligible: int) -> int:
    if service.removing:
        return 0
    return eligible if isinstance(mode, Global | GlobalJob) else service.replicas


def _completed(replica: Replica) -> bool:
    return replica.state is ReplicaState.STOPPED and replica.exit_code == 0


_TELLING = (  # the states by how much they say of why a service is not there yet
    ReplicaState.PENDING,
    ReplicaState.PREPARING,
    ReplicaState.STARTING,
    ReplicaState.RUNNING,
    ReplicaState.ASSIGNED,
)


def _why(
    service: Service, wanted: int, alive: Sequence[Replica], updated: Sequence[Replica], current: Sequence[Replica], unmet: str
) -> str:
    if service.removing:
        return f"it is being removed: {_count(len(alive), 'replica')} to stop" if alive else "it is being removed"
    current_ids = frozenset(replica.id for replica in current)
    updated_ids = frozenset(replica.id for replica in updated)
    waiting = [replica for replica in alive if replica.id in current_ids and replica.id not in updated_ids]
    restarting = [replica for replica in waiting if replica.restarts and replica.state in _TELLING]
    if restarting:
        return _told(restarting)
    for state in _TELLING:
        if state is not ReplicaState.ASSIGNED:
            told = [replica for replica in waiting if replica.state is state and replica.why]
            if told:
                return _told(told)
    if len(updated) < wanted:
        given_up = _given_up(current, alive)
        if given_up:
            return _told(given_up)
        coming = sum(replica.state in _TELLING for replica in waiting)
        if coming:
            return f"{_count(coming, 'replica')} to start"
        stale = [replica for replica in alive if replica.id not in current_ids]
        if stale and (kept_why := _why_old_ones_stay(service)):
            return kept_why
        if unmet:
            return f"it waits for {unmet}"
        if stale:
            return f"{_count(wanted - len(updated), 'replica')} to be replaced by revision {service.revision}"
        return f"{_count(wanted - len(updated), 'replica')} to be created" if wanted else "no replica is left to start"
    if kept_why := _why_old_ones_stay(service):
        return kept_why
    left = [replica for replica in alive if replica.id not in updated_ids]
    if left:
        return f"{_count(len(left), 'replica')} to stop ({left[0].name} is {left[0].state})"
    if len(updated) == wanted:  # a job's: it runs, and has not ended
        return f"{_count(len(updated), 'replica')} to complete"
    return f"{_count(len(updated) - wanted, 'replica')} more than wanted"


def _why_old_ones_stay(service: Service) -> str:
    """Why there are old replicas on purpose, in a step of a rollout or in a pause; empty where there are none."""
    rollout = service.rollout
    if rollout is None or not (rollout.state is RolloutState.PAUSED or (rollout.share > 0 and rollout.state in OPEN)):
        return ""
    return rollout.why


def _given_up(current: Iterable[Replica], alive: Sequence[Replica]) -> list[Replica]:
    """Ended ones in whose place nothing runs: the newest of each place."""
    taken = {replica.slot or replica.node_id for replica in alive}
    latest = {
        replica.slot or replica.node_id: replica for replica in sorted(current, key=lambda r: r.created_at) if replica.ended
    }
    return [
        replica
        for place, replica in latest.items()
        if place not in taken and replica.state is not ReplicaState.LOST and not _completed(replica) and replica.why
    ]


def _told(replicas: Sequence[Replica]) -> str:
    """The first by name, with its reason, and how many others there are."""
    first = min(replicas, key=lambda replica: (replica.slot, replica.name, replica.id))
    more = f" (and {len(replicas) - 1} more)" if len(replicas) > 1 else ""
    now = {ReplicaState.FAILED: "failed", ReplicaState.STOPPED: "ended"}.get(first.state, f"is {first.state}")
    return f"{first.name} {now}: {first.why}{more}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
