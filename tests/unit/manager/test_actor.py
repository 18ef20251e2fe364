"""Actions become one commit; what had changed is planned anew; a store that can't write stops nothing for good."""

import asyncio
from collections.abc import Awaitable, Callable

from rookery.model import App, NodeId, Replica, ReplicaId, ReplicaState, Service
from rookery_manager import records
from rookery_manager.actor import Actor
from rookery_manager.planners.actions import Assign, Create, ForgetService, Stop
from rookery_manager.state import State
from rookery_manager.store import Commit, StoreError
from rookery_manager.store.memory import MemoryStore

REPLICA = Replica(id=ReplicaId("r1"), app="shop", service="web", slot=1, revision=1)


class FullStore(MemoryStore):
    """Can't write while `full`."""

    full = False

    async def commit(self, commit: Commit) -> int:
        if self.full:
            raise StoreError("store.db: the disk is full; make room")
        return await super().commit(commit)


class World:
    def __init__(self) -> None:
        self.now = 100.0
        self.store = FullStore()
        self.state = State()
        self.actor = Actor(self.store, self.state, lambda: self.now)

    async def write(self, *written: records.Record) -> None:
        commit = Commit(writes=[records.put(record, "") for record in written], actor="test", at=self.now)
        await self.state.reach(await self.store.commit(commit))

    async def follow(self) -> None:
        async for changes in self.store.watch(after=0):
            self.state.apply(changes)


def in_world(scene: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        world = World()
        following = asyncio.create_task(world.follow())
        async with asyncio.timeout(60):
            await scene(world)
        following.cancel()

    asyncio.run(run())


def test_actions_become_records_and_events_with_their_whys() -> None:
    async def scene(world: World) -> None:
        assert await world.actor.act(
            [Create(app="shop", service="web", slot=1, revision=1, why="1 replica of shop/web is wanted")]
        )
        (replica,) = world.state.replicas.values()
        assert (replica.state, replica.why, replica.created_at) == (
            ReplicaState.PENDING,
            "1 replica of shop/web is wanted",
            100.0,
        )
        assert await world.actor.act([Assign(replica=replica, node_id=NodeId("n1"), node_name="n1", why="it has room")])
        assert world.state.replicas_on(NodeId("n1"))[replica.id].state is ReplicaState.ASSIGNED
        assert [change.why for change in await world.store.history()] == [
            "create: 1 replica of shop/web is wanted",
            "assign to n1: it has room",
        ]

    in_world(scene)


def test_a_plan_made_from_what_has_changed_meanwhile_does_nothing() -> None:
    async def scene(world: World) -> None:
        await world.write(REPLICA)
        assign = Assign(replica=REPLICA, node_id=NodeId("n1"), node_name="n1", why="it has room")
        someone_else = Commit(writes=[records.put(REPLICA, "")], actor="someone else", at=1.0)
        await world.store.commit(someone_else)  # the state has not followed yet
        assert not await world.actor.act([assign])
        assert world.state.replicas[REPLICA.id].state is ReplicaState.PENDING
        assert await world.actor.act([assign])  # now it has

    in_world(scene)


def test_an_illegal_move_is_not_made() -> None:
    async def scene(world: World) -> None:
        ended = Replica(id=ReplicaId("r2"), app="shop", service="web", slot=1, revision=1, state=ReplicaState.LOST)
        await world.write(ended)
        assert await world.actor.act([Stop(replica=ended, why="again")])
        assert world.state.replicas[ended.id].state is ReplicaState.LOST

    in_world(scene)


def test_the_last_service_of_a_removed_app_takes_everything_with_it() -> None:
    async def scene(world: World) -> None:
        service = Service(app="shop", name="web", revision=1, removing=True)
        await world.write(App(name="shop", services=("web",), removing=True), service, REPLICA)
        assert await world.actor.act([ForgetService(service=service, why="bob removed it")])
        assert not world.state.apps
        assert not world.state.services
        assert not world.state.replicas

    in_world(scene)


def test_a_full_disk_stops_nothing_for_good() -> None:
    async def scene(world: World) -> None:
        world.store.full = True
        create = Create(app="shop", service="web", slot=1, revision=1, why="wanted")
        assert not await world.actor.act([create])
        assert world.actor.failing
        world.store.full = False
        assert await world.actor.act([create])
        world.now += 10
        assert not world.actor.failing

    in_world(scene)
