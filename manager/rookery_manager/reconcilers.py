"""The manager's loops: each takes a dirty key, has it planned, and has the plan acted upon."""

import asyncio
import logging

from rookery.model import Global, GlobalJob, Node, NodeId, Replica, ReplicaId, ReplicaState, Revision, Service, ServiceKey
from rookery.model.ids import service_key

from rookery_manager import scheduler
from rookery_manager.actor import Actor
from rookery_manager.clock import Clock
from rookery_manager.leases import Leases
from rookery_manager.loops import DirtyKeys, reconcile
from rookery_manager.planners.actions import Action, Assign, Refuse, earliest
from rookery_manager.planners.nodes import NodeView, plan_node
from rookery_manager.planners.service import plan_service
from rookery_manager.records import Record
from rookery_manager.routing import RoutePlane
from rookery_manager.state import State
from rookery_manager.views import NodeViews, service_view

log = logging.getLogger("rookery.manager")

SERVICES_AT_ONCE = 8  # their commits share the store's disk writes


class Services:
    """Keeps every service at what is wanted of it."""

    def __init__(self, state: State, actor: Actor, clock: Clock, plane: RoutePlane, keys: DirtyKeys[ServiceKey]) -> None:
        self._state = state
        self._actor = actor
        self._clock = clock
        self._plane = plane
        self.keys = keys
        for key in state.services:
            keys.mark(key)
        state.listen(self._on_record)

    async def run(self) -> None:
        await reconcile(self.keys, self._step, workers=SERVICES_AT_ONCE)

    async def _step(self, key: ServiceKey) -> float | None:
        view = service_view(self._state, key, self._plane)
        if view is None:
            return None
        now = self._clock()
        plan = plan_service(view, now)
        if not await self._actor.act(plan.actions, read=[view.service]):
            self.keys.mark(key)
        return earliest(plan.wake_at, self._plane.wake_at() if view.undrained else None)

    def _on_record(self, record: Record, _after: Record | None) -> None:
        match record:
            case Service():
                self.keys.mark(record.key)
            case Revision():
                self.keys.mark(service_key(record.app, record.service))
            case Replica():
                self.keys.mark(record.key)
                self._mark_dependents(record)
            case Node():
                self._mark_node(record.id)
            case _:
                return

    def _mark_dependents(self, replica: Replica) -> None:
        """Services of the same app that wait for this one."""
        app = self._state.apps.get(replica.app)
        for name in app.services if app else ():
            key = service_key(replica.app, name)
            service = self._state.services.get(key)
            revision = self._state.revision_of(key, service.revision) if service else None
            if revision and any(dependency.service == replica.service for dependency in revision.spec.depends_on):
                self.keys.mark(key)

    def _mark_node(self, node_id: NodeId) -> None:
        for replica in self._state.replicas_on(node_id).values():
            self.keys.mark(replica.key)
        for key, service in self._state.services.items():
            revision = self._state.revision_of(key, service.revision)
            if revision and isinstance(revision.spec.mode, Global | GlobalJob):
                self.keys.mark(key)


class Nodes:
    """Judges nodes by their leases."""

    def __init__(self, state: State, actor: Actor, clock: Clock, leases: Leases) -> None:
        self._state = state
        self._actor = actor
        self._clock = clock
        self._leases = leases
        self.keys: DirtyKeys[NodeId] = DirtyKeys(clock)
        for node_id in state.nodes:
            self.keys.mark(node_id)

    async def run(self) -> None:
        await reconcile(self.keys, self._step)

    async def _step(self, node_id: NodeId) -> float | None:
        node = self._state.nodes.get(node_id)
        if node is None:
            return None
        if self._actor.failing:
            self._leases.stood_still()
        view = NodeView(
            node=node,
            heard_at=self._leases.heard_at(node_id),
            lease_until=self._leases.until(node_id),
            replicas=tuple(r for r in self._state.replicas_on(node_id).values() if not r.ended),
        )
        plan = plan_node(view, self._clock())
        if not await self._actor.act(plan.actions, read=[node]):
            self.keys.mark(node_id)
        return plan.wake_at


class Placement:
    """Finds nodes for pending replicas, all of them in one batch."""

    def __init__(self, state: State, actor: Actor, views: NodeViews) -> None:
        self._state = state
        self._actor = actor
        self._views = views
        self._pending = {r.id for r in state.replicas.values() if r.state is ReplicaState.PENDING}
        self._changed = asyncio.Event()
        self._changed.set()
        state.listen(self._on_record)

    async def run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not await self._place():
                self._changed.set()

    async def _place(self) -> bool:
        requests = []
        for replica_id in sorted(self._pending, key=lambda i: (self._state.replicas[i].created_at, i)):
            replica = self._state.replicas[replica_id]
            revision = self._state.revision_of(replica.key, replica.revision)
            if revision is not None:
                requests.append(scheduler.Request(replica_id=replica_id, key=replica.key, slot=replica.slot, spec=revision.spec))
        if not requests:
            return True
        nodes = self._views.all()
        actions: list[Action] = []
        chosen: set[NodeId] = set()
        for answer in scheduler.place(requests, nodes):
            replica = self._state.replicas[answer.replica_id]
            match answer:
                case scheduler.Placed():
                    name = nodes[answer.node_id].node.name
                    chosen.add(answer.node_id)
                    actions.append(Assign(replica=replica, node_id=answer.node_id, node_name=name, why=answer.why))
                case scheduler.Refused() if answer.why != replica.why:
                    actions.append(Refuse(replica=replica, why=answer.why))
        return await self._actor.act(actions, read=[nodes[node_id].node for node_id in chosen])

    def _on_record(self, record: Record, after: Record | None) -> None:
        match record:
            case Replica():
                replica_id = ReplicaId(record.id)
                if isinstance(after, Replica) and after.state is ReplicaState.PENDING:
                    self._pending.add(replica_id)
                    if record is after:
                        self._changed.set()
                else:
                    self._pending.discard(replica_id)
                    if self._pending and (after is None or (isinstance(after, Replica) and after.ended)):
                        self._changed.set()  # room was given back
            case Node():
                if self._pending:
                    self._changed.set()
            case _:
                return
