"""Random days of services of every mode, under the real planners, views, scheduler and actor, in virtual time.

Agents crash, give up, complete and go away; nodes flap, leave, are removed and relabelled; the service is scaled, rolled back by
hand, restarted, paused, resumed, aborted, removed and deployed again, in every strategy; the manager dies between any two commits
and begins anew from the store. Safety: only legal moves, never more than a few replicas in one place, records that do not pile
up. Liveness: after a last deploy all is as wanted.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import pytest
from rookery.model import (
    App,
    Availability,
    BlueGreen,
    Canary,
    ContainerSpec,
    Desired,
    FailureAction,
    Global,
    GlobalJob,
    Mode,
    Node,
    NodeId,
    NodeInfo,
    NodeState,
    Placement,
    Port,
    PortMode,
    Replica,
    ReplicaId,
    ReplicaState,
    ReplicaStatus,
    Replicated,
    ReplicatedJob,
    Revision,
    Rolling,
    RuntimeKind,
    Service,
    ServiceKey,
    ServiceSpec,
    Strategy,
    UpdateConfig,
    UpdateOrder,
)
from rookery_manager import records, scheduler
from rookery_manager.actor import Actor
from rookery_manager.leases import Leases
from rookery_manager.loops import DirtyKeys
from rookery_manager.planners.actions import Action, Assign, Refuse
from rookery_manager.planners.begin import begin, revision_to_keep
from rookery_manager.planners.interfere import NotNow, abort, pause, resume
from rookery_manager.planners.nodes import NodeView, plan_gone, plan_goodbye, plan_hello, plan_node
from rookery_manager.planners.observe import plan_status
from rookery_manager.planners.rollback import plan_restart, plan_rollback
from rookery_manager.planners.service import KEEP_ENDED, KEEP_ENDED_ELSEWHERE, plan_service
from rookery_manager.records import Record
from rookery_manager.routing import RoutePlane
from rookery_manager.state import State
from rookery_manager.store import Commit, Delete, Write
from rookery_manager.store.memory import MemoryStore
from rookery_manager.views import NodeViews, service_view

KEY = ServiceKey("shop/web")
MOST_IN_A_PLACE = 5  # one, its replacement, a failing one, and what still stops
MODES: tuple[Mode, ...] = (Replicated(), Global(), ReplicatedJob(), GlobalJob())
EVENTS = (
    "deploy", "deploy", "rollback", "restart", "pause", "resume", "abort", "scale", "remove", "cut", "heal", "drain", "activate",
    "leave", "join", "gone", "label",
)  # fmt: skip
INTERFERENCES = {"pause": pause, "resume": resume, "abort": abort}
STRATEGIES: tuple[Strategy, ...] = (
    Rolling(),
    BlueGreen(keep_s=5.0),
    Canary(steps=(20, 60, 100), interval_s=2.0, min_requests=0),
)
FORWARD = {
    ReplicaState.ASSIGNED: ReplicaState.PREPARING,
    ReplicaState.PREPARING: ReplicaState.STARTING,
    ReplicaState.STARTING: ReplicaState.RUNNING,
    ReplicaState.STOPPING: ReplicaState.STOPPED,
}


class KilledError(Exception):
    """The manager died before this commit."""


class MortalStore(MemoryStore):
    """Counts down to the death of the manager; None: it lives."""

    commits_left: int | None = None

    async def commit(self, commit: Commit) -> int:
        if self.commits_left is not None:
            if self.commits_left == 0:
                raise KilledError
            self.commits_left -= 1
        return await super().commit(commit)


class World:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 1_000.0
        self.store = MortalStore()
        self.mode = self.random.choice(MODES)
        self.silent: set[NodeId] = set()
        self.joined = 0
        self.image = 0
        self.calm = False  # nothing crashes any more
        self.restarts: Counter[ReplicaId] = Counter()

    async def start_manager(self) -> None:
        self.store.commits_left = None
        self.state = State()
        self.state.load(await self.store.snapshot())
        self.actor = Actor(self.store, self.state, lambda: self.now)
        self.leases = Leases(lambda: self.now, lease_s=3.0)
        keys: DirtyKeys[ServiceKey] = DirtyKeys(lambda: self.now)
        self.plane = RoutePlane(self.state, lambda: self.now, lease_s=3.0, on_progress=keys.mark)
        self.views = NodeViews(self.state)
        self.following = asyncio.create_task(self._follow(self.state))

    async def _follow(self, state: State) -> None:
        async for changes in self.store.watch(after=state.revision):
            state.apply(changes)

    async def write(self, *written: Record, delete: Sequence[str] = ()) -> None:
        writes: list[Write] = [*(records.put(record, "the test") for record in written), *(Delete(key=key) for key in delete)]
        await self.state.reach(await self.store.commit(Commit(writes=writes, actor="test", at=self.now)))

    async def act(self, actions: Sequence[Action]) -> None:
        assert await self.actor.act(actions)

    # ---- a step of every part

    async def tick(self) -> None:
        self.now += self.random.choice([0.1, 0.5, 1.0, 3.0])
        if not self.calm and self.random.random() < 0.1:
            self.store.commits_left = self.random.randrange(6)
        with suppress(KilledError):
            await self.manage()
        if self.store.commits_left is not None:
            self.following.cancel()
            await self.start_manager()
        for replica in list(self.state.replicas.values()):
            if self.random.random() < 0.6:
                await self.agent_step(replica)
        self.check_safety()

    async def manage(self) -> None:
        for node_id in {*self.state.nodes, *(r.node_id for r in self.state.replicas.values() if r.node_id)}:
            await self.judge(node_id)
        self.plane.refresh()
        view = service_view(self.state, KEY, self.plane)
        if view is not None:
            await self.act(plan_service(view, self.now).actions)
        await self.place()

    async def judge(self, node_id: NodeId) -> None:
        node = self.state.nodes.get(node_id)
        replicas = tuple(r for r in self.state.replicas_on(node_id).values() if not r.ended)
        if node is None:
            await self.act(plan_gone(replicas).actions)
            return
        heard = node_id not in self.silent
        if heard and node.state is NodeState.DOWN:
            await self.act(plan_hello(node, node_id, node.info).actions)
        lease_until = self.now + (1 if heard else -1)
        view = NodeView(node=self.state.nodes[node_id], heard_at=self.now - 3, lease_until=lease_until, replicas=replicas)
        await self.act(plan_node(view, self.now).actions)

    async def place(self) -> None:
        requests = [
            scheduler.Request(replica_id=r.id, key=r.key, slot=r.slot, spec=self.state.revisions[r.key][r.revision].spec)
            for r in self.state.replicas.values()
            if r.state is ReplicaState.PENDING
        ]
        actions: list[Action] = []
        for answer in scheduler.place(requests, self.views.all()):
            replica = self.state.replicas[answer.replica_id]
            if isinstance(answer, scheduler.Placed):
                actions.append(Assign(replica=replica, node_id=answer.node_id, node_name=answer.node_id, why=answer.why))
            elif answer.why != replica.why:
                actions.append(Refuse(replica=replica, why=answer.why))
        await self.act(actions)

    async def agent_step(self, replica: Replica) -> None:
        waits = replica.state is ReplicaState.STARTING and replica.desired is Desired.PREPARE
        if (
            waits
            or replica.ended
            or not replica.node_id
            or replica.node_id in self.silent
            or replica.node_id not in self.state.nodes
        ):
            return
        state, ready, exit_code = FORWARD.get(replica.state, replica.state), replica.state is ReplicaState.RUNNING, None
        if replica.state is ReplicaState.RUNNING:
            if isinstance(self.mode, ReplicatedJob | GlobalJob) and self.random.random() < 0.5:
                state, ready, exit_code = ReplicaState.STOPPED, False, 0
            elif not self.calm and self.random.random() < 0.2:
                self.restarts[replica.id] += 1
                ready = False
            elif not self.calm and self.random.random() < 0.03:
                state, ready, exit_code = ReplicaState.FAILED, False, 1
        status = ReplicaStatus(
            replica_id=replica.id,
            state=state,
            ready=ready,
            why=f"is {state}",
            restarts=self.restarts[replica.id],
            exit_code=exit_code,
            at=self.now,
        )
        step = plan_status(replica, status, replica.node_id)
        if step is not None:
            await self.act([step])

    # ---- the operator and the weather

    async def happen(self) -> None:
        service, nodes = self.state.services.get(KEY), list(self.state.nodes.values())
        node = self.random.choice(nodes) if nodes else None
        what = self.random.choice(EVENTS)
        if what == "deploy" or (what == "scale" and service is None):
            await self.deploy()
        elif what == "scale" and service is not None:
            await self.write(replace(service, replicas=self.random.randrange(6)))
        elif what == "rollback" and service is not None and not service.removing:
            revisions = self.state.revisions[KEY]
            to = self.random.choice(list(revisions))
            returned = plan_rollback(service, revisions, to, now=self.now, actor="ann")
            if returned is not None:
                await self.write(returned.service)
        elif what == "restart" and service is not None and not service.removing:
            await self.write(plan_restart(service, now=self.now, actor="ann").service)
        elif what in INTERFERENCES and service is not None and not service.removing:
            with suppress(NotNow):
                await self.write(INTERFERENCES[what](service, now=self.now, actor="ann"))
        elif what == "remove" and service is not None:
            await self.write(replace(service, removing=True))
        elif what == "join" or node is None:
            await self.join()
        elif what == "cut":
            self.silent.add(node.id)
        elif what == "heal":
            self.silent.discard(node.id)
        elif what in ("drain", "activate"):
            await self.write(replace(node, availability=Availability.DRAINED if what == "drain" else Availability.ACTIVE))
        elif what == "leave":
            await self.act(plan_goodbye(node, "its agent stops").actions)
            self.silent.add(node.id)
        elif what == "gone" and node.state is not NodeState.READY:
            await self.write(delete=[records.node_key(node.id)])
        elif what == "label":
            await self.write(replace(node, labels={"zone": self.random.choice("ab")}))

    async def join(self) -> None:
        self.joined += 1
        info = NodeInfo(hostname=f"n{self.joined}", runtimes=(RuntimeKind.DOCKER,))
        await self.write(Node(id=NodeId(f"n{self.joined}"), info=info, labels={"zone": self.random.choice("ab")}))

    async def deploy(self) -> None:
        self.image += self.random.randrange(2) or self.calm
        before = self.state.services.get(KEY)
        number = max(self.state.revisions.get(KEY, {}), default=0) + 1
        constraints = ("node.labels.zone == a",) if self.random.random() < 0.3 else ()
        host_port = (Port(target=81, published=81, mode=PortMode.HOST),) if self.random.random() < 0.3 else ()
        order = UpdateOrder.STOP_FIRST if self.random.random() < 0.2 else UpdateOrder.START_FIRST
        is_job = isinstance(self.mode, ReplicatedJob | GlobalJob)
        strategy = Rolling() if is_job else self.random.choice(STRATEGIES)
        # Where there is no room for two revisions side by side, one that is to go on whatever fails waits for ever.
        action = FailureAction.CONTINUE if isinstance(strategy, Rolling) else FailureAction.ROLLBACK
        update = UpdateConfig(parallelism=self.random.randrange(3), order=order, failure_action=action, progress_deadline_s=30.0)
        spec = ServiceSpec(
            name="web",
            container=ContainerSpec(image=f"web:{self.image}"),
            mode=self.mode,
            ports=(Port(target=80, published=8080), *host_port),
            placement=Placement(constraints=constraints, max_replicas_per_node=self.random.choice([0, 0, 2])),
            update=replace(update, monitor_s=1.0),
            drain_timeout_s=3.0,
            strategy=strategy,
        )
        wanted = before.replicas if before else self.random.randrange(6)
        service = Service(app="shop", name="web", revision=number, replicas=wanted)
        if before is not None and not before.removing:
            begun = begin(before, before=revision_to_keep(before), after=number, now=self.now, actor="ann")
            service = replace(service, rollout=begun.rollout, restarted_at=before.restarted_at)
        await self.write(
            App(name="shop", services=("web",)), Revision(app="shop", service="web", number=number, spec=spec), service
        )

    # ---- what must hold

    def check_safety(self) -> None:
        replicas = list(self.state.replicas.values())
        is_global = isinstance(self.mode, Global | GlobalJob)
        alive = Counter(r.node_id if is_global else r.slot for r in replicas if not r.ended)
        assert max(alive.values(), default=0) <= MOST_IN_A_PLACE, self.told()
        service = self.state.services.get(KEY)
        if service is not None and not service.removing:
            places = len(self.state.nodes) if is_global else service.replicas
            ended = sum(r.ended for r in replicas)
            recent = 3 * len(alive) + 20  # those of the latest step, which the next one will forget
            assert ended <= KEEP_ENDED * (places + len(alive)) + KEEP_ENDED_ELSEWHERE + recent, "records pile up"

    def told(self) -> str:
        alive = sorted((r for r in self.state.replicas.values() if not r.ended), key=lambda r: (r.slot, r.node_id, r.created_at))
        return "\n".join(f"{r.name} of {r.revision} {r.state} {r.ready} {r.restarts}: {r.why}" for r in alive)

    def unrest(self) -> str:
        """Why the world is not as it should be at last; empty where it is."""
        service = self.state.services.get(KEY)
        if service is None:
            return "the service is gone"
        spec = self.state.revisions[KEY][service.revision].spec
        alive = [r for r in self.state.replicas_of(KEY).values() if not r.ended]
        told = self.told()
        here = [self.views.all()[node_id] for node_id in self.state.nodes]
        fitting = sum(scheduler.eligible(spec, replace(view, host_ports=frozenset())) is None for view in here)
        if isinstance(self.mode, ReplicatedJob | GlobalJob):
            return told if alive and fitting else ""
        if isinstance(self.mode, Global):
            wanted = fitting
        else:
            most = 1 if any(port.mode is PortMode.HOST for port in spec.ports) else spec.placement.max_replicas_per_node or 100
            wanted = service.replicas
            if wanted > fitting * most:  # the old ones stay where the new ones have no place
                return ""
        running = [r for r in alive if r.node_id]
        good = all(r.ready and r.revision == service.revision for r in running) and len(running) == wanted
        return "" if good else f"{wanted} are wanted, there are {told}"


async def random_day(seed: int) -> None:
    world = World(seed)
    await world.start_manager()
    for _ in range(world.random.randrange(1, 5)):
        await world.join()
    await world.deploy()
    for _ in range(50):
        if world.random.random() < 0.3:
            await world.happen()
        await world.tick()
    world.calm = True
    world.silent.clear()
    for node in list(world.state.nodes.values()):
        await world.act(plan_hello(node, node.id, node.info).actions)
        await world.write(replace(world.state.nodes[node.id], availability=Availability.ACTIVE))
    await world.deploy()
    for _ in range(400):
        await world.tick()
        if not world.unrest():
            break
    world.following.cancel()
    assert not world.unrest(), world.unrest()


@pytest.mark.parametrize("block", range(10))
def test_days_of_any_service_end_well(block: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        for seed in range(block * 20, block * 20 + 20):
            try:
                asyncio.run(random_day(seed))
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}") from error
    assert not caplog.records, caplog.text
