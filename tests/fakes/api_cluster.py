"""A manager's API on a loopback port: the real server, state and memory store, with fakes for agents and proxies."""

from __future__ import annotations  # the stub classes are in the stubs only

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio
import pytest
from open_keyring import open_keyring
from rookery.channel import dial, listen, server
from rookery.model import (
    ListenerError,
    Node,
    NodeId,
    NodeInfo,
    NodeStats,
    Proxy,
    ProxyInfo,
    Replica,
    ReplicaId,
    ReplicaState,
    ReplicaStats,
    Resources,
    Route,
    RouteId,
    RouteTable,
    RuntimeKind,
    ScaleDecision,
    Service,
    ServiceKey,
    ServiceTraffic,
    TrafficFigures,
)
from rookery.v1 import control_pb2_grpc
from rookery.v1.dispatch_pb2 import LogRequest
from rookery_manager.api import Api, make_health, register
from rookery_manager.api.attempts import Attempts
from rookery_manager.backups import Backups
from rookery_manager.demand import Seen
from rookery_manager.logs import LogHub
from rookery_manager.planners.compare import Sample
from rookery_manager.records import Record, put
from rookery_manager.sealing.keyring import Keyring
from rookery_manager.state import State
from rookery_manager.store import Commit, Delete, SqliteStore, Store
from rookery_manager.store.memory import MemoryStore

DEADLINE_S = 60.0


@dataclass
class FakeNodes:
    """Agents that note what they are asked. A node is connected when it is in `connected`."""

    connected: set[str] = field(default_factory=set)
    asked: list[tuple[str, LogRequest]] = field(default_factory=list)
    cancelled: list[tuple[str, str]] = field(default_factory=list)
    on_ask: Callable[[str, LogRequest], None] | None = None

    def last_seen(self, node_id: NodeId) -> float:
        return 900.0 if node_id in self.connected else 0.0

    def stats(self, node_id: NodeId) -> NodeStats | None:
        return NodeStats(cpu_percent=12.5) if node_id in self.connected else None

    def replica_stats(self, replica_id: ReplicaId) -> ReplicaStats | None:
        return ReplicaStats(replica_id=replica_id, memory_bytes=7)

    def send_log_request(self, node_id: NodeId, request: LogRequest) -> bool:
        if node_id not in self.connected:
            return False
        self.asked.append((node_id, request))
        if self.on_ask:
            self.on_ask(node_id, request)
        return True

    def cancel_log_request(self, node_id: NodeId, request_id: str) -> None:
        self.cancelled.append((node_id, request_id))


@dataclass
class FakeProxies:
    """Proxies that saw of each replica what `seen` says."""

    seen: dict[str, Sample] = field(default_factory=dict)
    latency_bounds_s: Sequence[float] = (0.1, 1.0)
    listener_errors: tuple[ListenerError, ...] = ()

    def undrained(self, replica: Replica) -> str | None:  # noqa: ARG002
        return None

    def seen_since(self, mark: float, replica_ids: Collection[ReplicaId]) -> Sample:  # noqa: ARG002
        found = [self.seen[replica_id] for replica_id in replica_ids if replica_id in self.seen]
        return Sample(requests=sum(s.requests for s in found), errors=sum(s.errors for s in found))

    def list(self) -> tuple[Proxy, ...]:
        return (Proxy(info=ProxyInfo(id="p1"), connected=True, acked_version=4, listener_errors=self.listener_errors),)

    def table_version(self) -> int:
        return 4

    def reporting(self) -> int:
        return 1

    def traffic_of(self, services: Iterable[Service]) -> tuple[ServiceTraffic, ...]:
        figures = TrafficFigures(requests=7)
        return tuple(ServiceTraffic(app=service.app, service=service.name, total=figures) for service in services)

    def table(self) -> RouteTable:
        return RouteTable(version=4, routes=(Route(id=RouteId("shop/web:80"), app="shop", service="web", port=80),))


@dataclass
class FakeScaling:
    """What is known of autoscaled services."""

    seen: Seen = field(default_factory=Seen)
    made: tuple[ScaleDecision, ...] = ()

    def demand_of(self, key: ServiceKey) -> Seen:  # noqa: ARG002
        return self.seen

    def latest(self, key: ServiceKey) -> ScaleDecision | None:  # noqa: ARG002
        return self.made[0] if self.made else None


@dataclass
class Cluster:
    """What a test holds in its hands."""

    api: Api
    nodes: FakeNodes
    proxies: FakeProxies
    scaling: FakeScaling
    store: Store
    stub: control_pb2_grpc.ControlServiceAsyncStub
    channel: grpc.aio.Channel

    @property
    def state(self) -> State:
        return self.api.state

    async def write(self, *records: Record, why: str = "", actor: str = "manager", delete: Iterable[str] = ()) -> int:
        """What the rest of the manager would have written."""
        writes = [*(put(record, why) for record in records), *(Delete(key=key, why=why) for key in delete)]
        revision = await self.store.commit(Commit(writes=writes, actor=actor, at=self.api.clock()))
        await self.state.reach(revision)
        return revision

    async def add_nodes(self, count: int) -> None:
        await self.write(*(node(number) for number in range(1, count + 1)), why="joined")
        self.nodes.connected |= {f"id-n{number}" for number in range(1, count + 1)}


def node(number: int, **fields: object) -> Node:
    capacity = Resources(cpus=4, memory_bytes=8 * 2**30)
    info = NodeInfo(hostname=f"n{number}", capacity=capacity, runtimes=(RuntimeKind.DOCKER, RuntimeKind.PROCESS), os="linux")
    return Node(id=NodeId(f"id-n{number}"), info=info, **fields)  # type: ignore[arg-type]


def replica(
    slot: int, *, at: int = 1, state: ReplicaState = ReplicaState.RUNNING, service: str = "web", **fields: object
) -> Replica:
    known = {
        "id": f"{service}{slot}aaaa",
        "revision": 1,
        "node_id": NodeId(f"id-n{at}"),
        "node_name": f"n{at}",
        "ready": state is ReplicaState.RUNNING,
        "why": "it runs",
        **fields,
    }
    return Replica(app="shop", service=service, slot=slot, state=state, **known)  # type: ignore[arg-type]


@asynccontextmanager
async def running(
    store: Store | None = None, data: Path = Path("/nowhere"), keyring: Keyring | None = None
) -> AsyncIterator[Cluster]:
    """Without a place for its data it makes no backups."""
    store, state, nodes, proxies, scaling = store or MemoryStore(), State(), FakeNodes(), FakeProxies(), FakeScaling()
    now = iter(range(1_000, 1_000_000))
    backups = Backups(store, data / "snapshots", lambda: 0.0, revision=lambda: state.revision, every_s=0.0, keep=1)
    api = Api(
        state=state,
        store=store,
        clock=lambda: float(next(now)),
        nodes=nodes,
        proxies=proxies,
        scaling=scaling,
        logs=LogHub(),
        backups=backups,
        cluster_id="c1",
        manager_version="0",
        started_at=1_000.0,
        attempts=Attempts(store, lambda: 1_000.0),
        keyring=keyring or open_keyring(),
    )

    async def pump() -> None:
        async for changes in store.watch(after=0):
            state.apply(changes)
            state.advance(changes[0].revision)

    grpc_server = server()
    register(grpc_server, api, await make_health())
    port = listen(grpc_server, "127.0.0.1:0")
    async with asyncio.TaskGroup() as group:
        group.create_task(pump())
        await grpc_server.start()
        try:
            async with dial(f"127.0.0.1:{port}") as channel:
                yield Cluster(api, nodes, proxies, scaling, store, control_pb2_grpc.ControlServiceStub(channel), channel)
        finally:
            await store.close()
            await grpc_server.stop(0)


async def refused(call: Awaitable[object], code: grpc.StatusCode) -> str:
    """The message with which a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is code, caught.value.details()
    return caught.value.details() or ""


def with_cluster(scene: Callable[[Cluster], Awaitable[None]], *, data: Path | None = None) -> None:
    """Runs a scene against a fresh cluster, within a deadline; its store is in memory, or in the directory `data`."""

    async def main() -> None:
        async with asyncio.timeout(DEADLINE_S):
            store = await SqliteStore.open(data / "store.db") if data else None
            async with running(store, data or Path("/nowhere")) as cluster:
                await scene(cluster)

    asyncio.run(main())
