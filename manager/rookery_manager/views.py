"""The snapshots that planners get, cut out of the state: what belongs to one service, what a node has left."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from rookery.model import (
    OPEN,
    Canary,
    Dependency,
    DependencyCondition,
    Desired,
    Global,
    GlobalJob,
    Node,
    NodeId,
    PortMode,
    Replica,
    ReplicaId,
    ReplicaState,
    Resources,
    Revision,
    RolloutState,
    Service,
    ServiceKey,
    ServiceSpec,
)
from rookery.model.ids import service_key

from rookery_manager import scheduler
from rookery_manager.planners.compare import Comparison, Sample, compare
from rookery_manager.planners.sharing import as_before, is_shared, strategy_of
from rookery_manager.planners.template import same_template
from rookery_manager.planners.view import NodeBrief, ServiceView, is_current
from rookery_manager.records import Record
from rookery_manager.scheduler import NodeView
from rookery_manager.state import State


class NodeViews:
    """What each node has left, made anew only for nodes on which something changed."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._views: dict[NodeId, NodeView] = {}
        self._dirty: set[NodeId] = set(state.nodes)
        state.listen(self._on_record)

    def all(self) -> Mapping[NodeId, NodeView]:
        dirty, self._dirty = self._dirty, set()
        for node_id in dirty:
            node = self._state.nodes.get(node_id)
            if node is None:
                self._views.pop(node_id, None)
            else:
                self._views[node_id] = node_view(self._state, node)
        return self._views

    def _on_record(self, record: Record, after: Record | None) -> None:
        match record:
            case Replica():
                self._dirty.add(record.node_id)
                if isinstance(after, Replica):
                    self._dirty.add(after.node_id)
                if record.slot:  # it may be another one's successor, or be succeeded
                    self._dirty.update(r.node_id for r in self._state.replicas_in(record.key, record.slot).values())
            case Node():
                self._dirty.add(record.id)
            case _:
                return
        self._dirty.discard(NodeId(""))


def node_view(state: State, node: Node, *, without: ServiceKey | None = None) -> NodeView:
    """What the node has and what is on it, as the scheduler sees it; `without` leaves out the replicas of a service."""
    replicas = [r for r in state.replicas_on(node.id).values() if r.key != without]
    return view_with(state, node, replicas)


def view_with(state: State, node: Node, replicas: Collection[Replica], *, without: Collection[ReplicaId] = ()) -> NodeView:
    """The node as the scheduler sees it with just these replicas on it, and none of `without` anywhere."""
    succeeded = _succeeded(state, replicas, without)
    return scheduler.view(node, replicas, specs_of(state, replicas), succeeded=succeeded)


def _succeeded(state: State, replicas: Iterable[Replica], without: Collection[ReplicaId]) -> frozenset[ReplicaId]:
    """Those of them that another replica, placed already and none of `without`, takes over the slot from."""
    found = set()
    for replica in replicas:
        together = state.replicas_in(replica.key, replica.slot) if replica.slot else {}
        if len(together) > 1 and any(_succeeds(other, replica) for other in together.values() if other.id not in without):
            found.add(replica.id)
    return frozenset(found)


def _succeeds(other: Replica, replica: Replica) -> bool:
    is_staying = other.node_id and not other.ended and not other.leaving and other.desired is not Desired.STOP
    return bool(is_staying) and (other.created_at, other.id) > (replica.created_at, replica.id)


def specs_of(state: State, replicas: Iterable[Replica]) -> Mapping[ReplicaId, ServiceSpec]:
    found = ((r.id, state.revision_of(r.key, r.revision)) for r in replicas)
    return {replica_id: revision.spec for replica_id, revision in found if revision is not None}


class Plane(Protocol):
    """What proxies tell of replicas."""

    @property
    def latency_bounds_s(self) -> Sequence[float]:
        """The upper bounds of the buckets that answers are counted in; none until a proxy told."""

    def undrained(self, replica: Replica) -> str | None:
        """What a draining replica still waits for."""

    def seen_since(self, mark: float, replica_ids: Collection[ReplicaId]) -> Sample:
        """What proxies saw of the replicas since they were first asked for with this mark."""


def service_view(state: State, key: ServiceKey, plane: Plane) -> ServiceView | None:
    """All that the planner of a service looks at; None where there is no such service."""
    service = state.services.get(key)
    wanted = state.revision_of(key, service.revision) if service else None
    if service is None or wanted is None:
        return None
    replicas = tuple(state.replicas_of(key).values())
    draining = ((r.id, plane.undrained(r)) for r in replicas if r.state is ReplicaState.DRAINING)
    return ServiceView(
        service=service,
        specs=state.specs_in_use(service),
        replicas=replicas,
        nodes=_briefs(state, wanted, replicas),
        undrained={replica_id: waits_for for replica_id, waits_for in draining if waits_for is not None},
        unmet=unmet_dependency(state, service, wanted.spec),
        in_the_way=_in_the_way(state, wanted, replicas),
        comparison=_comparison(state, service, replicas, plane),
        updated_at=_updates_to_follow(state, service, wanted),
    )


def _updates_to_follow(state: State, service: Service, wanted: Revision) -> dict[ServiceKey, float]:
    """When the latest updates of dependencies that restart the service were done. One that was done before the revision in force
    was made is none of its business."""
    found: dict[ServiceKey, float] = {}
    for dependency in wanted.spec.depends_on:
        other = state.services.get(service_key(service.app, dependency.service)) if dependency.restart else None
        if other is None or other.rollout is None or other.rollout.state is not RolloutState.DONE:
            continue
        if other.rollout.changed_at > wanted.created_at:
            found[other.key] = other.rollout.changed_at
    return found


def _comparison(state: State, service: Service, replicas: tuple[Replica, ...], plane: Plane) -> Comparison | None:
    """How the new revision of a canary does beside the old one since its step began."""
    specs = state.specs_in_use(service)
    rollout, strategy = service.rollout, strategy_of(service, specs)
    in_force = rollout is not None and rollout.step_at and rollout.share < 100
    if rollout is None or not in_force or not isinstance(strategy, Canary) or not is_shared(service, specs):
        return None
    before = as_before(service, rollout)
    new = frozenset(r.id for r in replicas if is_current(service, specs, r))
    old = frozenset(r.id for r in replicas if is_current(before, specs, r))
    return compare(
        plane.seen_since(rollout.step_at, new),
        plane.seen_since(rollout.step_at, old),
        bounds_s=plane.latency_bounds_s,
        min_requests=strategy.min_requests,
        names=(f"revision {service.revision}", f"revision {rollout.before}"),
    )


def _in_the_way(state: State, wanted: Revision, replicas: tuple[Replica, ...]) -> frozenset[ReplicaId]:
    """Of the places whose new replica was refused by every node: the old ones whose nodes would take it in their stead."""
    refused = {r.slot for r in replicas if r.state is ReplicaState.PENDING and r.why.startswith(scheduler.NO_NODE)}
    found = set()
    for replica in replicas:
        node = state.nodes.get(replica.node_id)
        if replica.slot not in refused or replica.ended or replica.leaving or node is None:
            continue
        others = [r for r in state.replicas_on(node.id).values() if r.id != replica.id]
        without = view_with(state, node, others)
        request = scheduler.Request(replica_id=replica.id, key=replica.key, slot=replica.slot, spec=wanted.spec)
        if isinstance(scheduler.place([request], {node.id: without})[0], scheduler.Placed):
            found.add(replica.id)
    return frozenset(found)


def _briefs(state: State, wanted: Revision, replicas: tuple[Replica, ...]) -> dict[NodeId, NodeBrief]:
    is_global = isinstance(wanted.spec.mode, Global | GlobalJob)
    # What else is on the nodes is looked at only where it may matter: it is the whole cluster.
    takes_room = wanted.spec.reservations != Resources() or any(port.mode is PortMode.HOST for port in wanted.spec.ports)
    node_ids = set(state.nodes) if is_global else {r.node_id for r in replicas if r.node_id}
    briefs = {}
    for node_id in node_ids:
        node = state.nodes.get(node_id)
        if node is None:
            continue
        refusal = ""
        if is_global:  # a replica that is there must not be in its own way
            key = service_key(wanted.app, wanted.service)
            around = node_view(state, node, without=key) if takes_room else scheduler.view(node, (), {})
            refusal = scheduler.eligible(wanted.spec, around) or ""
        briefs[node_id] = NodeBrief(
            id=node_id, name=node.name, state=node.state, availability=node.availability, why=node.why, refusal=refusal
        )
    return briefs


def unmet_dependency(state: State, service: Service, spec: ServiceSpec) -> str:
    """What the service has to wait for before it starts, or goes on to another revision; empty where nothing holds it back.

    Updates go in the order of starts: not before those that it depends on have had theirs. The return of an app goes the other
    way round.
    """
    if service.rollout is not None and service.rollout.is_reverse:
        return next((why for other in dependents(state, service) if (why := _returning(other))), "")
    found = (_unmet(state, service, dependency) or _updating(state, service, dependency) for dependency in spec.depends_on)
    return next((why for why in found if why), "")


def dependents(state: State, service: Service) -> list[Service]:
    """The services that depend on this one, by name."""
    app = state.apps.get(service.app)
    siblings = (state.services.get(service_key(service.app, name)) for name in (app.services if app else ()))
    found = []
    for sibling in siblings:
        revision = state.revision_of(sibling.key, sibling.revision) if sibling is not None else None
        if sibling and revision and any(dependency.service == service.name for dependency in revision.spec.depends_on):
            found.append(sibling)
    return found


def _updating(state: State, service: Service, dependency: Dependency) -> str:
    """Why an update waits although what it depends on serves: that has an update of its own to go through first."""
    other = state.services.get(service_key(service.app, dependency.service))
    under_way = service.rollout is not None and service.rollout.state is RolloutState.ROLLING
    if other is None or other.rollout is None or other.rollout.state not in OPEN or other.rollout.is_reverse or not under_way:
        return ""
    return f"revision {other.rollout.after} of {other.key}, which is {other.rollout.state}"


def _returning(service: Service) -> str:
    rollout = service.rollout
    if rollout is None or rollout.state not in OPEN or not rollout.is_reverse:
        return ""
    return f"{service.key}, which depends on it, to be back at revision {rollout.after}"


def _unmet(state: State, service: Service, dependency: Dependency) -> str:
    key = service_key(service.app, dependency.service)
    wanted = state.services.get(key)
    if wanted is None:
        return f"{key}, which it depends on and which does not exist" if dependency.required else ""
    replicas = state.replicas_of(key).values()
    match dependency.condition:
        case DependencyCondition.SERVICE_STARTED:
            met = any(replica.state is ReplicaState.RUNNING or replica.completed for replica in replicas)
            return "" if met else f"{key} to be started"
        case DependencyCondition.SERVICE_HEALTHY:
            return "" if any(replica.ready for replica in replicas) else f"{key} to be healthy"
        case DependencyCondition.SERVICE_COMPLETED_SUCCESSFULLY:
            return "" if _all_completed(state, wanted) else f"{key} to complete"


def _all_completed(state: State, service: Service) -> bool:
    """True where every place of the service completed with what is wanted of it now, not with what an older revision was."""
    specs = {number: revision.spec for number, revision in state.revisions.get(service.key, {}).items()}
    wanted = specs.get(service.revision)
    if wanted is None:
        return False
    replicas = state.replicas_of(service.key).values()
    completed = [r for r in replicas if r.completed and r.revision in specs and same_template(specs[r.revision], wanted)]
    if isinstance(wanted.mode, Global | GlobalJob):
        return bool(completed) and all(replica.ended for replica in replicas)
    return len({replica.slot for replica in completed}) >= max(1, service.replicas)
