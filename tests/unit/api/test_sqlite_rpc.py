"""The API over the store that managers really have."""

import asyncio
from pathlib import Path

import grpc
import pytest
from api_cluster import Cluster, replica, with_cluster
from rookery.v1 import control_pb2 as c
from rookery.v1 import types_pb2 as t


def request(image: str, replicas: int = 2) -> c.ApplyRequest:
    mode = t.Mode(replicated=t.Replicated(replicas=replicas))
    spec = t.ServiceSpec(name="web", container=t.ContainerSpec(image=image), mode=mode)
    return c.ApplyRequest(app=t.AppSpec(name="shop", services=[spec]), actor="ann")


def test_a_day_of_an_app(tmp_path: Path) -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.add_nodes(1)
        call = cluster.stub.Watch(c.WatchRequest(snapshot=True, app="shop"))
        assert [n.id for n in (await call.read()).nodes] == ["id-n1"]
        await cluster.stub.Apply(request("web:1"))
        message = await call.read()
        assert ([a.name for a in message.apps], [s.wanted for s in message.services]) == (["shop"], [2])
        await cluster.write(replica(1), why="it runs")
        assert [r.id for r in (await call.read()).replicas] == ["web1aaaa"]
        await asyncio.gather(*(cluster.stub.Apply(request(f"web:{n}")) for n in range(2, 6)))
        revisions = (await cluster.stub.GetService(c.GetServiceRequest(app="shop", service="web"))).revisions
        assert [revision.number for revision in revisions] == [5, 4, 3, 2, 1]
        assert [(await call.read()).services[0].service.revision for _ in range(4)][-1] == 5
        await cluster.write(why="forgotten", delete=["replicas/shop/web/web1aaaa"])
        assert list((await call.read()).deleted) == ["replica/web1aaaa"]
        events = (await cluster.stub.ListEvents(c.ListEventsRequest(subject="shop/web.1"))).events
        assert [(e.subject, e.why) for e in events] == [("shop/web.1", "it runs"), ("shop/web.1", "forgotten")]
        await cluster.stub.RemoveApp(c.RemoveAppRequest(app="shop"))
        assert (await call.read()).apps[0].removing
        await cluster.store.close()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await cluster.stub.Apply(request("web:9"))
        assert (caught.value.code(), caught.value.details()) == (
            grpc.StatusCode.UNAVAILABLE,
            "the store: the store is closed: the manager is ending",
        )

    with_cluster(scene, data=tmp_path)
