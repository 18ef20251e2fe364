"""Watch: a snapshot when asked, then one message a revision, for as long as the client reads."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from api_cluster import Cluster, node, replica, with_cluster
from rookery.model import App, ContainerSpec, Replicated, Revision, Service, ServiceSpec
from rookery.v1 import control_pb2 as c
from rookery_manager.store import Change, Compacted

WEB = ServiceSpec(name="web", container=ContainerSpec(image="web:1"), mode=Replicated(replicas=1))


async def an_app(cluster: Cluster, name: str = "shop") -> None:
    await cluster.write(
        App(name=name, services=("web",)),
        Service(app=name, name="web", revision=1, replicas=1),
        Revision(app=name, service="web", number=1, spec=WEB),
    )


def test_a_snapshot_then_each_revision() -> None:
    async def scene(cluster: Cluster) -> None:
        await an_app(cluster)
        await cluster.add_nodes(1)
        call = cluster.stub.Watch(c.WatchRequest(snapshot=True))
        first = await call.read()
        assert (first.revision, [a.name for a in first.apps], [n.id for n in first.nodes]) == (2, ["shop"], ["id-n1"])
        assert [s.wanted for s in first.services] == [1]
        await cluster.write(replica(1), why="it runs")
        second = await call.read()
        assert (second.revision, [r.id for r in second.replicas]) == (3, ["web1aaaa"])
        assert [(s.ready, s.converged) for s in second.services] == [(1, True)]
        assert [(e.subject, e.why) for e in second.events] == [("shop/web.1", "it runs")]
        await cluster.write(why="it is gone", delete=["replicas/shop/web/web1aaaa", "nodes/id-n1"])
        third = await call.read()
        assert list(third.deleted) == ["replica/web1aaaa", "node/id-n1"]
        assert [(e.subject, e.id) for e in third.events] == [("shop/web.1", "web1aaaa"), ("n1", "id-n1")]
        assert [s.ready for s in third.services] == [0]
        call.cancel()

    with_cluster(scene)


def test_from_a_revision_on_and_only_what_concerns_the_app() -> None:
    async def scene(cluster: Cluster) -> None:
        await an_app(cluster)
        await an_app(cluster, "other")
        await cluster.write(node(1), why="joined")
        call = cluster.stub.Watch(c.WatchRequest(app="shop", after_revision=1))
        message = await call.read()
        assert (message.revision, [n.id for n in message.nodes]) == (3, ["id-n1"])
        call.cancel()
        call = cluster.stub.Watch(c.WatchRequest(app="other", after_revision=1))
        message = await call.read()
        assert (message.revision, [a.name for a in message.apps]) == (2, ["other"])
        call.cancel()

    with_cluster(scene)


def test_a_large_snapshot_is_one_message_that_one_can_go_on_from() -> None:
    async def scene(cluster: Cluster) -> None:
        await an_app(cluster)
        await cluster.write(*(replica(n, id=f"r{n}") for n in range(1, 4_501)))
        call = cluster.stub.Watch(c.WatchRequest(snapshot=True))
        message = await call.read()
        assert (message.revision, len(message.replicas)) == (2, 4_500)
        call.cancel()

    with_cluster(scene)


@pytest.mark.parametrize(("after", "code"), [(-1, grpc.StatusCode.INVALID_ARGUMENT), (10**12, grpc.StatusCode.OUT_OF_RANGE)])
def test_a_revision_that_can_not_be(after: int, code: grpc.StatusCode) -> None:
    async def scene(cluster: Cluster) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await cluster.stub.Watch(c.WatchRequest(after_revision=after)).read()
        assert caught.value.code() is code

    with_cluster(scene)


def test_history_that_is_no_longer_kept_says_so() -> None:
    async def scene(cluster: Cluster) -> None:
        await an_app(cluster)

        async def watch(**_: object) -> AsyncIterator[tuple[Change, ...]]:
            raise Compacted("revisions before 90 are no longer kept")
            yield ()

        cluster.store.watch = watch  # type: ignore[method-assign, assignment]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await cluster.stub.Watch(c.WatchRequest(after_revision=1)).read()
        assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE
        assert "begin again with a snapshot" in (caught.value.details() or "")

    with_cluster(scene)


def test_a_client_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rookery_manager.api.server.PATIENCE_S", 0.3)

    async def scene(cluster: Cluster) -> None:
        await an_app(cluster)
        ended = asyncio.Event()
        watch = cluster.store.watch

        async def watched(*, after: int, prefix: str = "") -> AsyncIterator[tuple[Change, ...]]:
            try:
                async for changes in watch(after=after, prefix=prefix):
                    yield changes
            finally:
                ended.set()

        cluster.store.watch = watched  # type: ignore[method-assign]
        call = cluster.stub.Watch(c.WatchRequest(after_revision=1))
        big = "x" * 1_000_000
        for number in range(40):
            await cluster.write(replica(1, restarts=number, why=big))
        await ended.wait()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in call:
                pass
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    with_cluster(scene)
