"""How a replica is stopped: out of the route table first, then the stop signal. Every path that ends a replica takes this one."""

from rookery.model import PortMode, Replica, ReplicaState, ServiceSpec

from rookery_manager.planners.actions import Action, Drain, Stop
from rookery_manager.planners.view import ServiceView


def is_routed(spec: ServiceSpec) -> bool:
    """True where proxies may have sent it something: it has a route."""
    return bool(spec.routes) or any(port.mode is PortMode.INGRESS for port in spec.ports)


def retire(view: ServiceView, replica: Replica, why: str, now: float) -> Action:
    """The first step towards a replica's end."""
    spec = view.specs.get(replica.revision, view.spec)
    if replica.state is ReplicaState.RUNNING and is_routed(spec):
        return Drain(replica=replica, deadline_at=now + spec.drain_timeout_s, why=why)
    return Stop(replica=replica, why=why)


def finish_drains(view: ServiceView, now: float) -> tuple[tuple[Action, ...], float | None]:
    """The stops that are due (of draining replicas with nothing in flight, or past their deadline), and the next deadline."""
    actions: list[Action] = []
    wake_at: float | None = None
    for replica in view.replicas:
        if replica.state is not ReplicaState.DRAINING:
            continue
        waits_for = view.undrained.get(replica.id)
        if waits_for is None:
            actions.append(Stop(replica=replica, why=replica.why))
        elif replica.drain_deadline_at <= now:
            actions.append(Stop(replica=replica, why=f"{replica.why}; its drain timeout passed although {waits_for}"))
        else:
            wake_at = min(replica.drain_deadline_at, wake_at or replica.drain_deadline_at)
    return tuple(actions), wake_at
