"""The loops on a real state: what is left on nodes that are not there, and who is woken by a change."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from open_keyring import open_keyring
from rookery.model import (
    App,
    ContainerSpec,
    Dependency,
    DependencyCondition,
    Desired,
    Global,
    Mode,
    Node,
    NodeId,
    NodeInfo,
    NodeState,
    Port,
    PortMode,
    Replica,
    ReplicaId,
    ReplicaState,
    Replicated,
    Revision,
    RuntimeKind,
    Service,
    ServiceKey,
    ServiceSpec,
)
from rookery_manager import records
from rookery_manager.actor import Actor
from rookery_manager.leases import Leases
from rookery_manager.loops import DirtyKeys
from rookery_manager.planners.nodes import HoldOff
from rookery_manager.reconcilers import Nodes, Placement, Services
from rookery_manager.records import Record
from rookery_manager.routing import RoutePlane
from rookery_manager.state import State
from rookery_manager.store import Commit, Delete
from rookery_manager.store.memory import MemoryStore
from rookery_manager.views import NodeViews

N1 = NodeId("n1")
NODE = Node(id=N1, info=NodeInfo(hostname="n1", runtimes=(RuntimeKind.DOCKER,)))
REPLICA = Replica(id=ReplicaId("r"), app="shop", service="web", slot=1, revision=1, node_id=N1, state=ReplicaState.ASSIGNED)


class World:
    def __init__(self) -> None:
        self.now = 100.0
        self.store = MemoryStore()
        self.state = State()
        self.actor = Actor(self.store, self.state, lambda: self.now)
        self.leases = Leases(lambda: self.now, lease_s=3.0)
        self.keys: DirtyKeys[ServiceKey] = DirtyKeys(lambda: self.now)

    async def write(self, *written: Record, delete: str = "") -> None:
        writes = [*(records.put(record, "") for record in written), *([Delete(key=delete)] if delete else [])]
        await self.state.reach(await self.store.commit(Commit(writes=writes, actor="test", at=self.now)))

    async def follow(self) -> None:
        async for changes in self.store.watch(after=0):
            self.state.apply(changes)

    def services(self) -> Services:
        plane = RoutePlane(self.state, lambda: self.now, lease_s=3.0, on_progress=self.keys.mark)
        return Services(self.state, self.actor, lambda: self.now, plane, self.keys)

    async def marked(self) -> set[ServiceKey]:
        """The keys that are dirty now; none is afterwards."""
        found = set()
        try:
            while True:
                async with asyncio.timeout(0.01):
                    key = await self.keys.take()
                self.keys.done(key)
                found.add(key)
        except TimeoutError:
            return found


def in_world(scene: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        world = World()
        following = asyncio.create_task(world.follow())
        async with asyncio.timeout(60):
            await scene(world)
        following.cancel()

    asyncio.run(run())


async def reached(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def test_what_is_assigned_to_a_node_while_it_goes_down_is_lost_too() -> None:
    async def scene(world: World) -> None:
        await world.write(NODE)
        nodes = asyncio.create_task(Nodes(world.state, world.actor, lambda: world.now, world.leases, HoldOff()).run())
        await asyncio.sleep(0)
        await world.write(replace(NODE, state=NodeState.DOWN, why="silent for 3.1 s"))
        await world.write(REPLICA)
        await reached(lambda: world.state.replicas[REPLICA.id].state is ReplicaState.LOST)
        nodes.cancel()

    in_world(scene)


def test_a_node_whose_agent_died_in_the_middle_of_its_hello_is_judged_too() -> None:
    async def scene(world: World) -> None:
        nodes = asyncio.create_task(Nodes(world.state, world.actor, lambda: world.now, world.leases, HoldOff()).run())
        await asyncio.sleep(0)
        world.now += 10
        await world.write(NODE)
        await reached(lambda: world.state.nodes[N1].state is NodeState.DOWN)
        nodes.cancel()

    in_world(scene)


def test_what_is_on_a_node_that_was_removed_is_lost() -> None:
    async def scene(world: World) -> None:
        await world.write(NODE)
        nodes = asyncio.create_task(Nodes(world.state, world.actor, lambda: world.now, world.leases, HoldOff()).run())
        await asyncio.sleep(0)
        await world.write(delete=records.node_key(N1))
        await world.write(REPLICA)
        await reached(lambda: world.state.replicas[REPLICA.id].state is ReplicaState.LOST)
        nodes.cancel()

    in_world(scene)


def test_a_manager_that_starts_loses_what_is_on_nodes_that_are_gone() -> None:
    async def scene(world: World) -> None:
        await world.write(REPLICA)
        nodes = asyncio.create_task(Nodes(world.state, world.actor, lambda: world.now, world.leases, HoldOff()).run())
        await reached(lambda: world.state.replicas[REPLICA.id].state is ReplicaState.LOST)
        nodes.cancel()

    in_world(scene)


def made(name: str, *, mode: Mode | None = None, depends_on: tuple[Dependency, ...] = ()) -> tuple[Service, Revision]:
    spec = ServiceSpec(name=name, container=ContainerSpec(image="i"), mode=mode or Replicated(), depends_on=depends_on)
    return Service(app="shop", name=name, revision=1, replicas=1), Revision(app="shop", service=name, number=1, spec=spec)


def test_a_change_wakes_those_whom_it_concerns_and_no_others() -> None:
    async def scene(world: World) -> None:
        on_db = (Dependency(service="db", condition=DependencyCondition.SERVICE_STARTED),)
        parts = [*made("db"), *made("web", depends_on=on_db), *made("agent", mode=Global()), *made("other")]
        await world.write(App(name="shop", services=("agent", "db", "other", "web")), NODE, *parts)
        world.services()
        assert await world.marked() == {"shop/db", "shop/web", "shop/agent", "shop/other"}
        await world.write(replace(REPLICA, service="db"))
        assert await world.marked() == {"shop/db", "shop/web"}
        await world.write(replace(REPLICA, id=ReplicaId("r2"), service="other"))
        assert await world.marked() == {"shop/other"}
        await world.write(replace(NODE, labels={"zone": "a"}))
        assert await world.marked() == {"shop/db", "shop/other", "shop/agent"}
        # A dependency that goes away, or that comes, concerns those who wait for it.
        await world.write(delete=records.service_record_key("shop", "db"))
        assert await world.marked() == {"shop/db", "shop/web"}
        # What is no longer global, or no longer depends, is woken no more.
        await world.write(*made("agent"), *made("web"))
        await world.marked()
        await world.write(replace(NODE, labels={"zone": "b"}), made("db")[0])
        assert await world.marked() == {"shop/db", "shop/other"}

    in_world(scene)


def test_a_global_service_places_nothing_on_a_node_that_changed_meanwhile() -> None:
    async def scene(world: World) -> None:
        await world.write(App(name="shop", services=("agent",)), NODE, *made("agent", mode=Global()))
        services = world.services()
        commit = world.store.commit
        calls = 0

        async def node_goes_first(wanted: Commit) -> int:
            nonlocal calls
            calls += 1
            if calls == 1:
                await commit(Commit(writes=[Delete(key=records.node_key(N1))], actor="test", at=world.now))
            return await commit(wanted)

        world.store.commit = node_goes_first  # type: ignore[method-assign]
        running = asyncio.create_task(services.run())
        await reached(lambda: calls > 0 and N1 not in world.state.nodes)
        assert not world.state.replicas
        running.cancel()

    in_world(scene)


def test_one_that_is_only_prepared_goes_where_the_one_is_that_it_takes_over_from() -> None:
    """Its host port is taken there, and nowhere else; the spread would send it elsewhere."""

    async def scene(world: World) -> None:
        port = Port(target=80, published=80, mode=PortMode.HOST)
        service, revision = made("web")
        revision = replace(revision, spec=replace(revision.spec, ports=(port,)))
        before = replace(REPLICA, state=ReplicaState.RUNNING, ready=True, node_name="n1")
        after = Replica(id=ReplicaId("new"), app="shop", service="web", slot=1, revision=1, desired=Desired.PREPARE)
        other = replace(NODE, id=NodeId("n2"), info=replace(NODE.info, hostname="n2"))
        await world.write(NODE, other, service, revision, before, after)
        placement = Placement(world.state, world.actor, NodeViews(world.state), open_keyring())
        running = asyncio.create_task(placement.run())
        await reached(lambda: world.state.replicas[after.id].state is ReplicaState.ASSIGNED)
        running.cancel()
        assert world.state.replicas[after.id].node_id == N1
        assert world.state.replicas[after.id].why == "n1 has shop/web.1, which it takes over from"

    in_world(scene)
