"""Logs of many replicas on many nodes in one stream."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from api_cluster import Cluster, node, replica, with_cluster
from rookery.model import App, ContainerSpec, NodeState, ReplicaState, Replicated, Revision, Service, ServiceSpec
from rookery.v1 import control_pb2 as c
from rookery.v1.dispatch_pb2 import LogLine, LogRequest, LogUpload

WEB = ServiceSpec(name="web", container=ContainerSpec(image="web:1"), mode=Replicated(replicas=2))


async def a_shop(cluster: Cluster) -> None:
    await cluster.add_nodes(2)
    await cluster.write(
        App(name="shop", services=("web",)),
        Service(app="shop", name="web", revision=1, replicas=2),
        Revision(app="shop", service="web", number=1, spec=WEB),
        replica(1, at=1),
        replica(2, at=2),
    )


class Agents:
    """Answers log requests as agents do: by a stream of uploads, which stays open while it follows."""

    def __init__(self, cluster: Cluster, *, error: str = "", silent: bool = False) -> None:
        self._cluster = cluster
        self._error = error
        self._silent = silent
        self._streams: set[asyncio.Task[None]] = set()
        cluster.nodes.on_ask = self.ask

    def ask(self, node_id: str, request: LogRequest) -> None:
        if not self._silent:
            self._streams.add(asyncio.ensure_future(self._cluster.api.logs.receive(self._uploads(node_id, request))))

    async def _uploads(self, node_id: str, request: LogRequest) -> AsyncIterator[LogUpload]:
        line = f"{request.replica_id} on {node_id}".encode()
        yield LogUpload(request_id=request.request_id, lines=[LogLine(line=line, stderr=True)])
        if self._error:
            yield LogUpload(error=self._error)
        while request.follow:
            await asyncio.sleep(0.05)
            yield LogUpload(lines=[LogLine(line=b"more")])


async def read(cluster: Cluster, **fields: object) -> list[tuple[str, str, str, str]]:
    call = cluster.stub.Logs(c.LogsRequest(tail=-1, **fields))  # type: ignore[arg-type]
    return sorted([(m.replica, m.node_name, b" ".join(line.line for line in m.lines).decode(), m.error) async for m in call])


def test_every_replica_is_asked_at_its_node() -> None:
    async def scene(cluster: Cluster) -> None:
        await a_shop(cluster)
        Agents(cluster)
        assert await read(cluster, app="shop") == [
            ("shop/web.1", "n1", "web1aaaa on id-n1", ""),
            ("shop/web.2", "n2", "web2aaaa on id-n2", ""),
        ]
        assert [line[0] for line in await read(cluster, replica="shop/web.2")] == ["shop/web.2"]
        request = cluster.nodes.asked[-1][1]
        assert (request.tail, request.follow, len(request.request_id)) == (-1, False, 32)
        assert len({asked.request_id for _, asked in cluster.nodes.asked}) == 3
        assert cluster.nodes.cancelled == []

    with_cluster(scene)


def test_a_node_that_is_away_is_an_error_of_its_replicas_only() -> None:
    async def scene(cluster: Cluster) -> None:
        await a_shop(cluster)
        Agents(cluster)
        cluster.nodes.connected.discard("id-n2")
        assert await read(cluster, app="shop", service="web") == [
            ("shop/web.1", "n1", "web1aaaa on id-n1", ""),
            ("shop/web.2", "n2", "", "node n2 is not connected"),
        ]

    with_cluster(scene)


def test_an_ended_replica_is_asked_too_and_one_without_a_node_says_why() -> None:
    async def scene(cluster: Cluster) -> None:
        await a_shop(cluster)
        pending = replica(3, id="p3", state=ReplicaState.PENDING, node_id="", node_name="", why="no node fits it")
        await cluster.write(replica(1, at=1, state=ReplicaState.STOPPED, id="old1"), pending)
        Agents(cluster)
        assert len(await read(cluster, app="shop")) == 3
        assert await read(cluster, replica="p3") == [("shop/web.3", "", "", "it has no node yet: no node fits it")]

    with_cluster(scene)


def test_the_agents_own_words() -> None:
    async def scene(cluster: Cluster) -> None:
        await a_shop(cluster)
        Agents(cluster, error="the log driver keeps no log")
        errors = [line[3] for line in await read(cluster, replica="shop/web.1") if line[3]]
        assert errors == ["the log driver keeps no log"]

    with_cluster(scene)


def test_a_node_that_goes_away_or_never_answers_ends_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rookery_manager.api.logs.LOOK_S", 0.05)
    monkeypatch.setattr("rookery_manager.api.logs.FIRST_ANSWER_S", 0.2)

    async def scene(cluster: Cluster) -> None:
        await a_shop(cluster)
        Agents(cluster, silent=True)
        assert await read(cluster, replica="shop/web.1") == [("shop/web.1", "n1", "", "node n1 did not answer within 0.2 s")]
        await cluster.write(node(2, state=NodeState.DOWN, why="silent for 3 s"))
        found = await read(cluster, replica="shop/web.2", follow=True)
        assert found == [("shop/web.2", "n2", "", "node n2 went away: silent for 3 s")]

    with_cluster(scene)


def test_following_takes_in_new_replicas_and_ends_with_the_client() -> None:
    async def scene(cluster: Cluster) -> None:
        await a_shop(cluster)
        Agents(cluster)
        call = cluster.stub.Logs(c.LogsRequest(app="shop", follow=True, tail=10))
        seen: set[str] = set()
        while seen != {"shop/web.1", "shop/web.2"}:
            seen.add((await call.read()).replica)
        await cluster.write(replica(3, at=1))
        while "shop/web.3" not in seen:
            seen.add((await call.read()).replica)
        assert [(asked.replica_id, asked.tail) for _, asked in cluster.nodes.asked] == [
            ("web1aaaa", 10),
            ("web2aaaa", 10),
            ("web3aaaa", -1),
        ]
        call.cancel()
        while len(cluster.nodes.cancelled) < 3:  # noqa: ASYNC110 (bounded by the scene's deadline)
            await asyncio.sleep(0.01)
        assert {request_id for _, request_id in cluster.nodes.cancelled} == {a.request_id for _, a in cluster.nodes.asked}

    with_cluster(scene)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"app": "nobody"}, grpc.StatusCode.NOT_FOUND),
        ({"app": "shop", "service": "x"}, grpc.StatusCode.NOT_FOUND),
        ({"replica": "x"}, grpc.StatusCode.NOT_FOUND),
        ({}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"app": "shop", "tail": -2}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"app": "shop", "since_at": float("nan")}, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_what_can_not_be_read(fields: dict[str, object], code: grpc.StatusCode) -> None:
    async def scene(cluster: Cluster) -> None:
        await a_shop(cluster)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in cluster.stub.Logs(c.LogsRequest(**fields)):  # type: ignore[arg-type]
                pass
        assert caught.value.code() is code

    with_cluster(scene)
