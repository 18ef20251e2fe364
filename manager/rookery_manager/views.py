"""The snapshots that planners get, cut out of the state: what belongs to one service, what a node has left."""

from collections.abc import Iterable, Mapping

from rookery.model import (
    Dependency,
    DependencyCondition,
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
    Service,
    ServiceKey,
    ServiceSpec,
)
from rookery.model.ids import service_key

from rookery_manager import scheduler
from rookery_manager.planners.template import same_template
from rookery_manager.planners.view import LEAVING, NodeBrief, ServiceView
from rookery_manager.records import Record
from rookery_manager.routing import RoutePlane
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
            case Node():
                self._dirty.add(record.id)
            case _:
                return
        self._dirty.discard(NodeId(""))


def node_view(state: State, node: Node, *, without: ServiceKey | None = None) -> NodeView:
    """What the node has and what is on it, as the scheduler sees it; `without` leaves out the replicas of a service."""
    replicas = [r for r in state.replicas_on(node.id).values() if r.key != without]
    return scheduler.view(node, replicas, specs_of(state, replicas))


def specs_of(state: State, replicas: Iterable[Replica]) -> Mapping[ReplicaId, ServiceSpec]:
    found = ((r.id, state.revision_of(r.key, r.revision)) for r in replicas)
    return {replica_id: revision.spec for replica_id, revision in found if revision is not None}


def service_view(state: State, key: ServiceKey, plane: RoutePlane) -> ServiceView | None:
    """All that the planner of a service looks at; None where there is no such service."""
    service = state.services.get(key)
    wanted = state.revision_of(key, service.revision) if service else None
    if service is None or wanted is None:
        return None
    replicas = tuple(state.replicas_of(key).values())
    numbers = {replica.revision for replica in replicas} | ({service.rollout.before} if service.rollout else set())
    found = (state.revision_of(key, number) for number in numbers)
    specs = {revision.number: revision.spec for revision in found if revision is not None}
    draining = ((r.id, plane.undrained(r)) for r in replicas if r.state is ReplicaState.DRAINING)
    return ServiceView(
        service=service,
        specs={**specs, wanted.number: wanted.spec},
        replicas=replicas,
        nodes=_briefs(state, wanted, replicas),
        undrained={replica_id: waits_for for replica_id, waits_for in draining if waits_for is not None},
        unmet=unmet_dependency(state, service, wanted.spec),
        in_the_way=_in_the_way(state, wanted, replicas),
    )


def _in_the_way(state: State, wanted: Revision, replicas: tuple[Replica, ...]) -> frozenset[ReplicaId]:
    """Of the places whose new replica was refused by every node: the old ones whose nodes would take it in their stead."""
    refused = {r.slot for r in replicas if r.state is ReplicaState.PENDING and r.why.startswith(scheduler.NO_NODE)}
    found = set()
    for replica in replicas:
        node = state.nodes.get(replica.node_id)
        if replica.slot not in refused or replica.ended or replica.state in LEAVING or node is None:
            continue
        others = [r for r in state.replicas_on(node.id).values() if r.id != replica.id]
        without = scheduler.view(node, others, specs_of(state, others))
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
    """What the service has to wait for before it starts; empty when every dependency is met."""
    return next((why for dependency in spec.depends_on if (why := _unmet(state, service, dependency))), "")


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
