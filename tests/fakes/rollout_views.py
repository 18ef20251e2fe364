"""Views of a service in the middle of a rollout, for tables: what is planned of them, as lines."""

from dataclasses import replace

from rookery.model import (
    Canary,
    ContainerSpec,
    Endpoint,
    NodeId,
    Port,
    Replica,
    ReplicaId,
    ReplicaState,
    Rollout,
    Service,
    ServiceSpec,
    UpdateConfig,
)
from rookery_manager.planners.actions import Action, Adopt, Create, Drain, SetRollout, Stop
from rookery_manager.planners.service import plan_service
from rookery_manager.planners.view import NodeBrief, ServiceView

NOW = 1_000.0
STARTED = 900.0
CANARY = Canary(steps=(25, 50, 100), interval_s=30.0, min_requests=50)


def spec(image: str, strategy: object = CANARY, **changes: object) -> ServiceSpec:
    base = ServiceSpec(
        name="web",
        container=ContainerSpec(image=image),
        ports=(Port(target=80, published=8080),),
        update=UpdateConfig(monitor_s=5.0, progress_deadline_s=600.0),
        strategy=strategy,  # type: ignore[arg-type]
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def replica(slot: int, revision: int, *, ready: bool = True, **changes: object) -> Replica:
    """One of revision 1 is older than the rollout; it has been ready for long, as a new one has."""
    replica_id = ReplicaId(f"r{slot}v{revision}")
    made = Replica(
        id=replica_id,
        app="shop",
        service="web",
        slot=slot,
        revision=revision,
        node_id=NodeId(f"n{slot}"),
        node_name=f"n{slot}",
        state=ReplicaState.RUNNING,
        ready=ready,
        ready_at=STARTED + 20 if ready else 0.0,
        created_at=100.0 if revision == 1 else STARTED + 10 * (revision - 1),
        endpoints=(Endpoint(replica_id=replica_id, address="10.0.0.1", port=1, target=80),),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def old(count: int) -> tuple[Replica, ...]:
    return tuple(replica(slot, 1) for slot in range(1, count + 1))


def view(
    *replicas: Replica,
    specs: dict[int, ServiceSpec] | None = None,
    wanted: int = 4,
    revision: int = 2,
    restarted_at: float = 0.0,
    nodes: dict[str, NodeBrief] | None = None,
    **rollout: object,
) -> ServiceView:
    """A rollout from 1 to 2, in which `rollout` says what is different."""
    latest = Rollout(before=1, after=2, started_at=STARTED, changed_at=STARTED, number=1, actor="ann", why="why it was")
    briefs = {NodeId(f"n{i}"): NodeBrief(id=NodeId(f"n{i}"), name=f"n{i}") for i in range(1, 10)}
    briefs.update({NodeId(name): brief for name, brief in (nodes or {}).items()})
    return ServiceView(
        service=Service(
            app="shop",
            name="web",
            revision=revision,
            replicas=wanted,
            rollout=replace(latest, **rollout),  # type: ignore[arg-type]
            restarted_at=restarted_at,
        ),
        specs=specs or {1: spec("web:1"), 2: spec("web:2")},
        replicas=replicas,
        nodes=briefs,
    )


def show(action: Action) -> str:
    match action:
        case Create():
            return f"create {action.slot or action.node_name} of {action.revision}: {action.why}"
        case Drain() | Stop():
            return f"{type(action).__name__.lower()} {action.replica.id}: {action.why}"
        case SetRollout():
            rollout = action.rollout
            return f"{rollout.state} to {action.revision}, step {rollout.step}, {rollout.share} %: {action.why}"
        case Adopt():
            return f"adopt {action.replica.id} into {action.revision}"
    return repr(action)


def planned(of: ServiceView, now: float = NOW) -> list[str]:
    return [show(action) for action in plan_service(of, now).actions]
