"""Random days of one service under the real planners and the real actor, with model agents, in virtual time.

Safety, at every step: only legal moves; an update alone never takes the service below its wanted number of ready replicas.
Liveness, when the world comes to rest: exactly what is wanted is ready, of the wanted revision, where it may be.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rookery.model import (
    Availability,
    ContainerSpec,
    Desired,
    Node,
    NodeId,
    NodeInfo,
    NodeState,
    Port,
    Replica,
    ReplicaState,
    ReplicaStatus,
    Revision,
    Service,
    ServiceKey,
    ServiceSpec,
    UpdateConfig,
    UpdateOrder,
)
from rookery_manager import records
from rookery_manager.actor import Actor
from rookery_manager.planners.actions import Action, Assign
from rookery_manager.planners.nodes import NodeView, plan_hello, plan_node
from rookery_manager.planners.observe import plan_status
from rookery_manager.planners.service import plan_service
from rookery_manager.planners.view import NodeBrief, ServiceView
from rookery_manager.records import Record
from rookery_manager.state import State
from rookery_manager.store import Commit
from rookery_manager.store.memory import MemoryStore

KEY = ServiceKey("shop/web")
FORWARD = {
    ReplicaState.ASSIGNED: ReplicaState.PREPARING,
    ReplicaState.PREPARING: ReplicaState.STARTING,
    ReplicaState.STARTING: ReplicaState.RUNNING,
    ReplicaState.STOPPING: ReplicaState.STOPPED,
}


class World:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 1_000.0
        self.store = MemoryStore()
        self.state = State()
        self.actor = Actor(self.store, self.state, lambda: self.now)
        self.silent: set[NodeId] = set()
        self.disturbed = True  # something other than an update happened since all was well
        self.stop_first = self.random.random() < 0.2

    async def write(self, *written: Record) -> None:
        puts = [records.put(record, "the test") for record in written]
        revision = await self.store.commit(Commit(writes=puts, actor="test", at=self.now))
        await self.state.reach(revision)

    async def act(self, actions: Sequence[Action]) -> None:
        assert await self.actor.act(actions)

    async def follow(self) -> None:
        async for changes in self.store.watch(after=0):
            self.state.apply(changes)

    # ---- the parts

    async def tick(self) -> None:
        self.now += self.random.choice([0.1, 0.5, 1.0, 3.0])
        await self.judge_nodes()
        await self.act(plan_service(self.view(), self.now).actions)
        await self.place()
        for replica in list(self.state.replicas.values()):
            if self.random.random() < 0.6:
                await self.agent_step(replica)
        self.check_safety()

    async def judge_nodes(self) -> None:
        for node in list(self.state.nodes.values()):
            heard = node.id not in self.silent
            if heard and node.state is NodeState.DOWN:
                await self.act(plan_hello(node, node.id, node.info).actions)
            view = NodeView(
                node=self.state.nodes[node.id],
                heard_at=self.now - 3,
                lease_until=self.now + (1 if heard else -1),
                replicas=tuple(self.state.replicas_on(node.id).values()),
            )
            await self.act(plan_node(view, self.now).actions)

    async def place(self) -> None:
        open_nodes = [
            n for n in self.state.nodes.values() if n.state is NodeState.READY and n.availability is Availability.ACTIVE
        ]
        actions: list[Action] = []
        load = Counter(r.node_id for r in self.state.replicas.values() if not r.ended)
        for replica in self.state.replicas.values():
            if replica.state is ReplicaState.PENDING and open_nodes:
                node = min(open_nodes, key=lambda n: (load[n.id], n.id))
                load[node.id] += 1
                actions.append(Assign(replica=replica, node_id=node.id, node_name=node.name, why="it has room"))
        await self.act(actions)

    async def agent_step(self, replica: Replica) -> None:
        waits = replica.state is ReplicaState.STARTING and replica.desired is Desired.PREPARE
        if waits or replica.ended or not replica.node_id or replica.node_id in self.silent:
            return
        state = FORWARD.get(replica.state, replica.state)
        ready = replica.state is ReplicaState.RUNNING
        status = ReplicaStatus(replica_id=replica.id, state=state, ready=ready, why=f"is {state}", at=self.now)
        step = plan_status(replica, status, replica.node_id)
        if step is not None:
            await self.act([step])

    def view(self) -> ServiceView:
        replicas = tuple(self.state.replicas_of(KEY).values())
        draining = [r.id for r in replicas if r.state is ReplicaState.DRAINING]
        return ServiceView(
            service=self.state.services[KEY],
            specs={number: revision.spec for number, revision in self.state.revisions[KEY].items()},
            replicas=replicas,
            nodes={
                node.id: NodeBrief(id=node.id, name=node.name, state=node.state, availability=node.availability, why=node.why)
                for node in self.state.nodes.values()
            },
            undrained={replica_id: "something is in flight" for replica_id in draining if self.random.random() < 0.5},
        )

    # ---- the operator and the weather

    async def happen(self) -> None:
        service = self.state.services[KEY]
        node = self.random.choice(list(self.state.nodes.values()))
        match self.random.choice(["deploy", "deploy", "settings", "scale", "cut", "heal", "drain", "activate", "nothing"]):
            case "deploy":
                await self.deploy(f"web:{service.revision + 1}")
            case "settings":
                latest = self.state.revisions[KEY][service.revision].spec
                await self.deploy(latest.container.image, drain_timeout_s=self.random.choice([1.0, 5.0]))
            case "scale":
                self.disturbed = True
                await self.write(replace(service, replicas=self.random.randrange(8)))
            case "cut":
                self.disturbed = True
                self.silent.add(node.id)
            case "heal":
                self.silent.discard(node.id)
            case "drain":
                await self.write(replace(node, availability=Availability.DRAINED))
            case "activate":
                await self.write(replace(node, availability=Availability.ACTIVE))

    async def deploy(self, image: str, *, drain_timeout_s: float = 3.0) -> None:
        service = self.state.services.get(KEY) or Service(app="shop", name="web", revision=0, replicas=3)
        order = UpdateOrder.STOP_FIRST if self.stop_first else UpdateOrder.START_FIRST
        number = service.revision + 1
        spec = ServiceSpec(
            name="web",
            container=ContainerSpec(image=image),
            ports=(Port(target=80, published=8080),),
            update=UpdateConfig(parallelism=self.random.choice([0, 1, 2]), order=order, monitor_s=1.0),
            drain_timeout_s=drain_timeout_s,
        )
        await self.write(Revision(app="shop", service="web", number=number, spec=spec), replace(service, revision=number))

    # ---- what must hold

    def at_rest(self) -> bool:
        wanted = self.state.services[KEY]
        alive = [r for r in self.state.replicas_of(KEY).values() if not r.ended]
        here = all(r.ready and r.revision == wanted.revision and not self.is_misplaced(r) for r in alive)
        return here and len(alive) == wanted.replicas

    def is_misplaced(self, replica: Replica) -> bool:
        return self.state.nodes[replica.node_id].availability is Availability.DRAINED

    def check_safety(self) -> None:
        if self.at_rest():
            self.disturbed = False
        if not self.disturbed and not self.stop_first:
            ready = [r for r in self.state.replicas_of(KEY).values() if r.ready]
            assert len(ready) >= self.state.services[KEY].replicas, "an update or a drain alone took a ready replica away"


async def random_day(seed: int) -> None:
    world = World(seed)
    following = asyncio.create_task(world.follow())
    await world.write(*(Node(id=NodeId(f"n{i}"), info=NodeInfo(hostname=f"n{i}")) for i in range(world.random.randrange(2, 6))))
    await world.deploy("web:1")
    for _ in range(40):
        if world.random.random() < 0.3:
            await world.happen()
        await world.tick()
    world.silent.clear()
    for node_id in list(world.state.nodes):
        await world.write(replace(world.state.nodes[node_id], availability=Availability.ACTIVE))
    for _ in range(300):
        if world.at_rest():
            break
        await world.tick()
    following.cancel()
    alive = [r for r in world.state.replicas.values() if not r.ended]
    assert world.at_rest(), [(r.name, r.state, r.ready, r.revision, r.why) for r in alive]
    assert len({r.slot for r in alive}) == len(alive), "two replicas share a slot"


@pytest.mark.parametrize("block", range(10))
def test_random_days_end_well(block: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        for seed in range(block * 10, block * 10 + 10):
            try:
                asyncio.run(random_day(seed))
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}") from error
    assert not caplog.records, "an illegal move was planned"
