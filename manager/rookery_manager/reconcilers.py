"""The manager's loops: each takes a dirty key, has it planned, and has the plan acted upon."""

import asyncio
import logging
from dataclasses import replace

from rookery.model import Desired, Node, NodeId, NodeState, Replica, ReplicaId, ReplicaState, Revision, Service, ServiceKey
from rookery.model.ids import service_key

from rookery_manager import scheduler
from rookery_manager.actor import Actor
from rookery_manager.clock import Clock
from rookery_manager.concerns import Concerns
from rookery_manager.leases import Leases
from rookery_manager.loops import DirtyKeys, reconcile
from rookery_manager.planners.actions import Action, Assign, Create, Refuse, earliest
from rookery_manager.planners.nodes import HoldOff, NodeView, fence_s, plan_gone, plan_node
from rookery_manager.planners.rebalance import BalanceView, plan_rebalance
from rookery_manager.planners.service import plan_service
from rookery_manager.records import Record
from rookery_manager.routing import RoutePlane
from rookery_manager.sealing.keyring import Keyring
from rookery_manager.state import State
from rookery_manager.views import NodeViews, service_view, specs_of, view_with

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
        self._concerns = Concerns(state)
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
        chosen = {action.node_id for action in plan.actions if isinstance(action, Create) and action.node_id}
        if not await self._actor.act(plan.actions, read=[view.service, *(self._state.nodes[node_id] for node_id in chosen)]):
            self.keys.mark(key)
        return earliest(plan.wake_at, self._plane.wake_at() if view.undrained else None)

    def _on_record(self, record: Record, _after: Record | None) -> None:
        match record:
            case Service():
                self._concerns.update(record.key)
                self._mark(record.key)
                for awaited in self._concerns.awaited_by(record.key):
                    self.keys.mark(awaited)
            case Revision():
                key = service_key(record.app, record.service)
                self._concerns.update(key)
                self.keys.mark(key)
            case Replica():
                self._mark(record.key)
            case Node():
                for replica in self._state.replicas_on(record.id).values():
                    self.keys.mark(replica.key)
                for key in self._concerns.globals:
                    self.keys.mark(key)
            case _:
                return

    def _mark(self, key: ServiceKey) -> None:
        """The service, and those that wait for it."""
        self.keys.mark(key)
        for waiting in self._concerns.waiting_for(key):
            self.keys.mark(waiting)


class Nodes:
    """Judges nodes by their leases, and takes for lost what is on nodes that are down or gone."""

    def __init__(self, state: State, actor: Actor, clock: Clock, leases: Leases, hold_off: HoldOff) -> None:
        self._state = state
        self._hold_off = hold_off
        self._actor = actor
        self._clock = clock
        self._leases = leases
        self.keys: DirtyKeys[NodeId] = DirtyKeys(clock)
        for node_id in {*state.nodes, *(r.node_id for r in state.replicas.values() if r.node_id and not r.ended)}:
            self.keys.mark(node_id)
        state.listen(self._on_record)

    async def run(self) -> None:
        await reconcile(self.keys, self._step)

    async def _step(self, node_id: NodeId) -> float | None:
        node = self._state.nodes.get(node_id)
        if self._actor.failing:
            self._leases.stood_still()
        replicas = tuple(r for r in self._state.replicas_on(node_id).values() if not r.ended)
        if node is None:
            self._leases.forget(node_id)
            plan = plan_gone(replicas)
        else:
            heard_at, until = self._leases.heard_at(node_id), self._leases.until(node_id)
            fences = {replica_id: fence_s(spec) for replica_id, spec in specs_of(self._state, replicas).items()}
            view = NodeView(
                node=node, heard_at=heard_at, lease_until=until, replicas=replicas, fences=fences, hold_off=self._hold_off
            )
            plan = plan_node(view, self._clock())
        if not await self._actor.act(plan.actions, read=[node] if node else []):
            self.keys.mark(node_id)
        return plan.wake_at

    def _on_record(self, record: Record, after: Record | None) -> None:
        """A replica may have been given to a node in the moment in which that was judged, or removed; and the stream whose hello
        brought a node (back) may be gone before anything else knows of it."""
        match record, after:
            case Node(), _:
                self.keys.mark(record.id)
            case _, Replica() if after.node_id and not after.ended:
                node = self._state.nodes.get(after.node_id)
                if node is None or node.state is not NodeState.READY:
                    self.keys.mark(after.node_id)
            case _:
                return


class Balance:
    """Looks, when a node came (back), whether services are to be spread anew."""

    def __init__(self, state: State, actor: Actor, clock: Clock, views: NodeViews) -> None:
        self._state = state
        self._actor = actor
        self._clock = clock
        self._views = views
        self.keys: DirtyKeys[ServiceKey] = DirtyKeys(clock)
        for key in state.services:
            self.keys.mark(key)
        state.listen(self._on_record)

    async def run(self) -> None:
        await reconcile(self.keys, self._step)

    async def _step(self, key: ServiceKey) -> float | None:
        service = self._state.services.get(key)
        revision = self._state.revision_of(key, service.revision) if service else None
        if service is None or revision is None:
            return None
        replicas = tuple(r for r in self._state.replicas_of(key).values() if not r.ended)
        view = BalanceView(service=service, spec=revision.spec, replicas=replicas, nodes=self._views.all())
        plan = plan_rebalance(view, self._clock())
        if not await self._actor.act(plan.actions, read=[service]):
            self.keys.mark(key)
        return plan.wake_at

    def _on_record(self, record: Record, after: Record | None) -> None:
        """A node that can take work now, and could not before."""
        came = isinstance(after, Node) and after.takes_work
        if came and (record is after or not (isinstance(record, Node) and record.takes_work)):
            for key in self._state.services:
                self.keys.mark(key)


class Placement:
    """Finds nodes for pending replicas, all of them in one batch."""

    def __init__(self, state: State, actor: Actor, views: NodeViews, keyring: Keyring) -> None:
        self._state = state
        self._actor = actor
        self._views = views
        self._keyring = keyring
        self._pending = {r.id for r in state.replicas.values() if r.state is ReplicaState.PENDING}
        self._changed = asyncio.Event()
        self._changed.set()
        keyring.on_unlock(self._changed.set)
        state.listen(self._on_record)

    async def run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not await self._place():
                self._changed.set()

    async def _place(self) -> bool:
        requests = []
        actions: list[Action] = []
        for replica_id in sorted(self._pending, key=lambda i: (self._state.replicas[i].created_at, i)):
            replica = self._state.replicas[replica_id]
            revision = self._state.revision_of(replica.key, replica.revision)
            if revision is not None and self._keyring.locked and revision.spec.container.files:
                if replica.why != self._keyring.locked:
                    actions.append(Refuse(replica=replica, why=self._keyring.locked))
            elif revision is not None:
                requests.append(scheduler.Request(replica_id=replica_id, key=replica.key, slot=replica.slot, spec=revision.spec))
        nodes = self._views.all() if requests else {}
        chosen: set[NodeId] = set()
        successors = [found for request in requests if (found := self._beside_predecessor(request)) is not None]
        settled = {answer.replica_id for answer in successors}
        answers: list[scheduler.Placed | scheduler.Refused] = [*successors]
        answers += scheduler.place([request for request in requests if request.replica_id not in settled], nodes)
        for answer in answers:
            replica = self._state.replicas[answer.replica_id]
            match answer:
                case scheduler.Placed():
                    name = nodes[answer.node_id].node.name
                    chosen.add(answer.node_id)
                    actions.append(Assign(replica=replica, node_id=answer.node_id, node_name=name, why=answer.why))
                case scheduler.Refused() if answer.why != replica.why:
                    actions.append(Refuse(replica=replica, why=answer.why))
        return await self._actor.act(actions, read=[nodes[node_id].node for node_id in chosen])

    def _beside_predecessor(self, request: scheduler.Request) -> scheduler.Placed | None:
        """Where a replica that is only prepared yet takes over from one in its place: on the same node, where that will fit.

        Its data may be there, its image partly is, and its host ports are free once the other one is gone.
        """
        replica = self._state.replicas[request.replica_id]
        if replica.desired is not Desired.PREPARE:
            return None
        siblings = self._state.replicas_of(replica.key).values()
        before = next((r for r in siblings if r.slot == replica.slot and r is not replica and r.node_id and not r.ended), None)
        node = self._state.nodes.get(before.node_id) if before is not None else None
        if before is None or node is None:
            return None
        others = [r for r in self._state.replicas_on(node.id).values() if r.id != before.id]
        there = view_with(self._state, node, others)
        (answer,) = scheduler.place([request], {node.id: there})
        if not isinstance(answer, scheduler.Placed):
            return None
        return replace(answer, why=f"{node.name} has {before.name}, which it takes over from")

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
