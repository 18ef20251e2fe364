"""A small cluster in virtual time, for simulations of rollouts: the real planners, views, route plane and actor over a store in
memory, with agents that run good and bad images, and proxies that hear of the routes late and tell late what is in flight.

What an image does is in its name (see KINDS). Nothing here checks anything: tests/simulation/rollout_promises.py does.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from rookery.model import (
    AppSpec,
    Availability,
    BlueGreen,
    Canary,
    ContainerSpec,
    Endpoint,
    EndpointStats,
    FailureAction,
    Global,
    Mode,
    Node,
    NodeId,
    NodeInfo,
    NodeState,
    Port,
    ProxyInfo,
    Replica,
    ReplicaId,
    ReplicaState,
    ReplicaStatus,
    Replicated,
    Rolling,
    Route,
    RouteId,
    RuntimeKind,
    Service,
    ServiceKey,
    ServiceSpec,
    Strategy,
    UpdateConfig,
)
from rookery_manager import records, scheduler
from rookery_manager.actor import Actor
from rookery_manager.clock import Clock
from rookery_manager.planners.actions import Action, Assign, Create, Plan, Refuse
from rookery_manager.planners.apply import AppRecords, plan_apply
from rookery_manager.planners.nodes import NodeView, plan_hello, plan_node
from rookery_manager.planners.observe import plan_status
from rookery_manager.planners.rollback import Changed
from rookery_manager.planners.service import plan_service
from rookery_manager.planners.view import ServiceView
from rookery_manager.records import Record
from rookery_manager.routing import Follower, RoutePlane
from rookery_manager.state import State
from rookery_manager.store import Commit, Write
from rookery_manager.store.memory import MemoryStore
from rookery_manager.views import NodeViews, service_view

KEY = ServiceKey("shop/web")
LEASE_S = 10.0
MONITOR_S = 5.0  # longer than two ticks, in one of which the manager may be dead: what is to crash within it does
BOUNDS_S = (0.1, 1.0)
BAD = ("crash", "mute", "late", "gone", "worse")
"""What a bad image does: it crashes at its start; never gets ready; gets ready and crashes within `monitor`; can't be pulled;
answers half of its requests with 500. A `good` one does none of this."""

FORWARD = {
    ReplicaState.ASSIGNED: ReplicaState.PREPARING,
    ReplicaState.PREPARING: ReplicaState.STARTING,
    ReplicaState.STARTING: ReplicaState.RUNNING,
    ReplicaState.STOPPING: ReplicaState.STOPPED,
}
STRATEGIES: dict[str, Strategy] = {
    "rolling": Rolling(),
    "blue-green": BlueGreen(keep_s=5.0),
    "canary": Canary(steps=(20, 60, 100), interval_s=3.0, min_requests=20),
    "other-canary": Canary(steps=(50, 100), interval_s=2.0, min_requests=10),
}


class KilledError(Exception):
    """The manager died before this commit."""


class MortalStore(MemoryStore):
    """Counts down to the death of the manager; None: it lives."""

    commits_left: int | None = None
    commits: int = 0

    async def commit(self, commit: Commit) -> int:
        if self.commits_left is not None:
            if self.commits_left == 0:
                raise KilledError
            self.commits_left -= 1
        self.commits += 1
        return await super().commit(commit)


class SeededActor(Actor):
    """Its replicas' ids, too, come from the seed: they decide ties."""

    def __init__(self, store: MemoryStore, state: State, clock: Clock, chance: random.Random) -> None:
        super().__init__(store, state, clock)
        self._chance = chance

    def _new_replica(self, action: Create, now: float) -> Replica:
        return replace(super()._new_replica(action, now), id=ReplicaId(f"{self._chance.getrandbits(64):016x}"))


@dataclass(slots=True, kw_only=True)
class ProxyModel:
    """`held` are the routes that it serves by, of `version`; it says so later. It is silent while it has no follower."""

    info: ProxyInfo
    follower: Follower | None = None
    held: dict[RouteId, Route] = field(default_factory=dict)
    version: int = 0
    in_flight: Counter[ReplicaId] = field(default_factory=Counter)
    sent: Counter[ReplicaId] = field(default_factory=Counter)
    failed: Counter[ReplicaId] = field(default_factory=Counter)
    route_of: dict[ReplicaId, RouteId] = field(default_factory=dict)


class World:
    """`eager` has every part move in every tick, and no part err by chance: what happens depends on the events alone."""

    def __init__(self, seed: int, *, mode: Mode | None = None, eager: bool = False) -> None:
        self.random = random.Random(seed)
        self.eager = eager
        self.now = 1_000.0
        self.store = MortalStore()
        self.mode: Mode = mode or self.random.choice([Replicated(), Replicated(), Global()])
        self.parallelism = self.random.choice([0, 1, 2])
        self.silent: set[NodeId] = set()
        self.restarts: Counter[ReplicaId] = Counter()
        self.nodes = 0
        self.proxies = [ProxyModel(info=ProxyInfo(id=f"p{n}")) for n in range(2)]
        self.plan = Plan()

    # ---- the manager

    async def start_manager(self) -> None:
        self.store.commits_left = None
        self.state = State()
        self.state.load(await self.store.snapshot())
        self.actor = SeededActor(self.store, self.state, lambda: self.now, self.random)
        self.plane = RoutePlane(self.state, lambda: self.now, lease_s=LEASE_S, on_progress=lambda _: None)
        self.views = NodeViews(self.state)
        self.following = asyncio.create_task(self._follow(self.state))
        for proxy in self.proxies:
            proxy.follower = None

    async def _follow(self, state: State) -> None:
        async for changes in self.store.watch(after=state.revision):
            state.apply(changes)

    async def write(self, *written: Record) -> None:
        writes: list[Write] = [records.put(record, "the test") for record in written]
        if not writes:
            return
        await self.state.reach(await self.store.commit(Commit(writes=writes, actor="test", at=self.now)))

    async def act(self, actions: Sequence[Action]) -> None:
        assert await self.actor.act(actions)

    def view(self) -> ServiceView | None:
        return service_view(self.state, KEY, self.plane)

    @property
    def service(self) -> Service:
        return self.state.services[KEY]

    def spec_of(self, replica: Replica) -> ServiceSpec:
        return self.state.revisions[KEY][replica.revision].spec

    def kind_of(self, number: int) -> str:
        return self.state.revisions[KEY][number].spec.container.image.partition(":")[0]

    def places(self) -> int:
        if isinstance(self.mode, Global):
            return sum(node.takes_work for node in self.state.nodes.values())
        return self.service.replicas

    async def tick(self) -> None:
        """A while passes, and every part does its next step."""
        self.now += 0.5 if self.eager else self.random.choice([0.1, 0.5, 1.0, 2.0])
        with suppress(KilledError):
            await self.manage()
            for replica in sorted(self.state.replicas.values(), key=lambda r: (r.slot, r.node_id, r.created_at, r.revision)):
                if self.eager or self.kind_of(replica.revision) == "late" or self.random.random() < 0.6:
                    await self.agent_step(replica)
            self.plane.refresh()
        await self.outlive()
        for proxy in self.proxies:
            self.proxy_step(proxy)

    async def outlive(self) -> None:
        """Begins anew from the store where the manager has died."""
        if self.store.commits_left == 0:
            await self.restart_manager()

    async def restart_manager(self) -> None:
        self.following.cancel()
        await self.start_manager()

    async def manage(self) -> None:
        for node in list(self.state.nodes.values()):
            await self.judge(node)
        self.plane.refresh()
        view = self.view()
        if view is not None:
            self.plan = plan_service(view, self.now)
            self.on_plan(view, self.plan)
            await self.act(self.plan.actions)
        self.plane.refresh()
        await self.place()

    def on_plan(self, view: ServiceView, plan: Plan) -> None:
        """For who watches."""

    async def judge(self, node: Node) -> None:
        heard = node.id not in self.silent
        if heard and node.state is NodeState.DOWN:
            await self.act(plan_hello(node, node.id, node.info).actions)
        replicas = tuple(r for r in self.state.replicas_on(node.id).values() if not r.ended)
        until = self.now + (1 if heard else -1)
        view = NodeView(node=self.state.nodes[node.id], heard_at=self.now - 3, lease_until=until, replicas=replicas)
        await self.act(plan_node(view, self.now).actions)

    async def place(self) -> None:
        pending = sorted(
            (r for r in self.state.replicas.values() if r.state is ReplicaState.PENDING), key=lambda r: (r.created_at, r.slot)
        )
        requests = [scheduler.Request(replica_id=r.id, key=r.key, slot=r.slot, spec=self.spec_of(r)) for r in pending]
        actions: list[Action] = []
        for answer in scheduler.place(requests, self.views.all()):
            replica = self.state.replicas[answer.replica_id]
            if isinstance(answer, scheduler.Placed):
                actions.append(Assign(replica=replica, node_id=answer.node_id, node_name=answer.node_id, why=answer.why))
            elif answer.why != replica.why:
                actions.append(Refuse(replica=replica, why=answer.why))
        await self.act(actions)

    # ---- the agents

    def serves(self, replica: Replica) -> bool:
        """Whether its process answers, whatever the manager knows of it."""
        return replica.state in (ReplicaState.RUNNING, ReplicaState.DRAINING) and replica.node_id not in self.silent

    async def agent_step(self, replica: Replica) -> None:
        if replica.ended or not replica.node_id or replica.node_id in self.silent:
            return
        kind = self.kind_of(replica.revision)
        state, ready = FORWARD.get(replica.state, replica.state), replica.state is ReplicaState.RUNNING
        why = f"is {state}"
        if replica.state is ReplicaState.PREPARING and kind == "gone":
            state, why = ReplicaState.FAILED, "the image is missing"
        elif replica.state is ReplicaState.RUNNING and (
            kind == "crash" or (kind == "late" and (replica.ready or self.restarts[replica.id]))
        ):
            self.restarts[replica.id] += 1
            ready, why = False, "exited with status 1"
        elif kind == "mute":
            ready, why = False, "not yet healthy"
        status = ReplicaStatus(
            replica_id=replica.id,
            state=state,
            ready=ready,
            why=why,
            restarts=self.restarts[replica.id],
            endpoints=(Endpoint(replica_id=replica.id, address="10.0.0.1", port=1, target=80),),
            at=self.now,
        )
        step = plan_status(replica, status, replica.node_id)
        if step is not None:
            await self.act([step])

    # ---- the proxies

    def proxy_step(self, proxy: ProxyModel) -> None:
        if proxy.follower is None:
            proxy.follower = self.plane.connect(proxy.info)
            self.plane.learn_bounds(BOUNDS_S)
            table = self.plane.table()
            proxy.held, proxy.version = {route.id: route for route in table.routes}, table.version
        elif self.eager or self.random.random() < 0.7:
            self._take_deltas(proxy)
        for replica_id in list(proxy.in_flight):
            if self.eager or self.random.random() < 0.5:
                del proxy.in_flight[replica_id]
        for route in proxy.held.values():
            self._send_requests(proxy, route)
        if self.eager or self.random.random() < 0.7:
            self.plane.acknowledge(proxy.follower, proxy.version, ())
        if self.eager or self.random.random() < 0.7:
            self.plane.report(proxy.follower, proxy.version, tuple(self._stats(proxy)), ())

    def _take_deltas(self, proxy: ProxyModel) -> None:
        assert proxy.follower is not None
        while not proxy.follower.deltas.empty():
            delta = proxy.follower.deltas.get_nowait()
            if delta is None or delta.before > proxy.version:
                table = self.plane.table()
                proxy.held, proxy.version = {route.id: route for route in table.routes}, table.version
            elif delta.after > proxy.version:
                proxy.held = {k: route for k, route in proxy.held.items() if k not in delta.removes}
                proxy.held |= {route.id: route for route in delta.puts}
                proxy.version = delta.after

    def _send_requests(self, proxy: ProxyModel, route: Route) -> None:
        ids = [endpoint.replica_id for endpoint in route.endpoints]
        new = [i for i in ids if route.split and i in route.split.replica_ids]
        old = [i for i in ids if i not in new]
        for n in range(10 if ids else 0):
            side = new if route.split and new and (not old or n < max(1, route.split.share // 10)) else old
            chosen = side[n % len(side)] if self.eager else self.random.choice(side)
            replica = self.state.replicas.get(chosen)
            proxy.sent[chosen] += 1
            proxy.route_of[chosen] = route.id
            proxy.failed[chosen] += replica is not None and self.kind_of(replica.revision) == "worse" and n % 2 == 0
            if self.random.random() < 0.3:
                proxy.in_flight[chosen] = 1

    def _stats(self, proxy: ProxyModel) -> list[EndpointStats]:
        return [
            EndpointStats(
                replica_id=replica_id,
                route_id=proxy.route_of[replica_id],
                requests=sent,
                in_flight=proxy.in_flight[replica_id],
                responses_2xx=sent - proxy.failed[replica_id],
                responses_5xx=proxy.failed[replica_id],
                latency_counts=(sent, 0, 0),
            )
            for replica_id, sent in proxy.sent.items()
        ]

    # ---- what operators do

    async def join(self) -> None:
        self.nodes += 1
        info = NodeInfo(hostname=f"n{self.nodes}", runtimes=(RuntimeKind.DOCKER,))
        await self.write(Node(id=NodeId(f"n{self.nodes}"), info=info))

    async def deploy(
        self,
        image: str,
        strategy: Strategy,
        *,
        replicas: int | None = None,
        action: FailureAction = FailureAction.ROLLBACK,
        max_per_node: int = 0,
    ) -> None:
        """As `rookery deploy` has it: a new revision where the spec differs, a rollout where replicas do."""
        service = self.state.services.get(KEY)
        count = replicas if replicas is not None else service.replicas if service else 3
        update = UpdateConfig(parallelism=self.parallelism, monitor_s=MONITOR_S, progress_deadline_s=30.0, failure_action=action)
        spec = ServiceSpec(
            name="web",
            container=ContainerSpec(image=image),
            mode=replace(self.mode, replicas=count) if isinstance(self.mode, Replicated) else self.mode,
            ports=(Port(target=80, published=8080),),
            update=update,
            rollback=update,
            drain_timeout_s=5.0,
            strategy=strategy,
        )
        if max_per_node:
            spec = replace(spec, placement=replace(spec.placement, max_replicas_per_node=max_per_node))
        known = AppRecords(
            app=self.state.apps.get("shop"),
            services={"web": service} if service else {},
            revisions={"web": self.state.revisions.get(KEY, {})},
        )
        plan = plan_apply(AppSpec(name="shop", services=(spec,)), known, now=self.now, actor="ann", prune=False)
        await self.write(*(write.record for write in plan.writes))

    async def change(self, changed: Changed | None) -> None:
        if changed is not None:
            await self.write(changed.service, *([changed.overtaken] if changed.overtaken else []))

    async def set_availability(self, node: Node, availability: Availability) -> None:
        await self.write(replace(node, availability=availability))
