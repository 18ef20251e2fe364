"""What agents are told of what replicas may reach, and when."""

import asyncio
from dataclasses import replace

from rookery.model import (
    Node,
    NodeId,
    NodeInfo,
    NodeState,
    Opening,
    OpenPort,
    Port,
    Proxy,
    ProxyInfo,
    Reach,
    Replica,
    ReplicaId,
    ReplicaState,
    Revision,
    Service,
    ServiceSpec,
)
from rookery_manager import records
from rookery_manager.reaching import Reaching
from rookery_manager.records import Record
from rookery_manager.state import State
from rookery_manager.store import Change, Entry, Snapshot

N1, N2 = NodeId("id-n1"), NodeId("id-n2")
OLD, NEW = (ServiceSpec(name="web", ports=(Port(target=80, published=port),), allow=("blog",)) for port in (80, 81))
WEB = Service(app="shop", name="web", revision=1)
NODES = tuple(Node(id=id, info=NodeInfo(hostname=id, address=address)) for id, address in ((N1, "10.0.0.1"), (N2, "10.0.0.2")))


def replica(app: str, node: NodeId, revision: int = 1) -> Replica:
    state, name = ReplicaState.RUNNING, f"{app}-{node}"
    return Replica(id=ReplicaId(name), app=app, service="web", slot=1, revision=revision, node_id=node, state=state)


def revision(number: int, spec: ServiceSpec) -> Revision:
    return Revision(app="shop", service="web", number=number, spec=spec)


class World:
    def __init__(self, *written: Record) -> None:
        self.state = State()
        puts = [records.put(record, "") for record in written]
        self.state.load(Snapshot(revision=1, entries={p.key: Entry(key=p.key, value=p.value, revision=1) for p in puts}))
        self.proxies: tuple[Proxy, ...] = ()
        self.told = 0
        self.reaching = Reaching(self.state, lambda: self.proxies, self._tell)

    def _tell(self) -> None:
        self.told += 1

    def write(self, record: Record) -> None:
        put = records.put(record, "")
        at = self.state.revision + 1
        self.state.apply((Change(key=put.key, value=put.value, revision=at, at=0.0, actor="", why=""),))

    async def until_told(self, times: int) -> None:
        async with asyncio.timeout(60):
            while True:
                if self.told >= times:
                    return
                await asyncio.sleep(0.01)


def test_a_node_is_told_of_machines_and_of_the_apps_that_it_runs() -> None:
    world = World(*NODES, WEB, revision(1, OLD), replica("shop", N1), replica("bank", N2))
    mark, reach = world.reaching.news(N1, None)
    port = (OpenPort(port=80),)
    assert reach == Reach(machines=("10.0.0.1", "10.0.0.2"), openings=(Opening(app="shop", ports=port),))
    assert world.reaching.news(N1, mark) == (mark, None)  # nothing is said twice
    assert world.reaching.news(N2, None)[1] == Reach(machines=("10.0.0.1", "10.0.0.2"))

    world.write(replica("blog", N2))  # it is given a replica that may reach more: it is told before it has it
    _, reach = world.reaching.news(N2, world.reaching.news(N2, None)[0])
    assert reach is None
    assert world.reaching.news(N2, mark)[1] == Reach(
        machines=("10.0.0.1", "10.0.0.2"), openings=(Opening(app="blog", ports=port),)
    )


def test_changes_are_told_once_they_matter() -> None:
    world = World(*NODES, WEB, revision(1, OLD), replica("shop", N1))

    async def main() -> None:
        running = asyncio.create_task(world.reaching.run())
        told = world.told
        world.write(replace(NODES[1], state=NodeState.LEFT))
        await world.until_told(told + 1)
        assert world.reaching.news(N1, None)[1].machines == ("10.0.0.1",)  # type: ignore[union-attr]

        # While it is updated, what serves still and what is to serve are both reached.
        world.write(revision(2, NEW))
        world.write(replace(WEB, revision=2))
        await world.until_told(told + 2)
        (opening,) = world.reaching.news(N1, None)[1].openings  # type: ignore[union-attr]
        assert [port.port for port in opening.ports] == [80, 81]

        world.proxies = (Proxy(info=ProxyInfo(id="p", address="10.0.0.7")),)
        world.write(replace(WEB, revision=2, replicas=3))  # which by itself changes nothing
        await world.until_told(told + 3)
        assert world.reaching.news(N1, None)[1].machines == ("10.0.0.1", "10.0.0.7")  # type: ignore[union-attr]
        running.cancel()

    asyncio.run(main())
