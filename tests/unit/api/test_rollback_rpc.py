"""Rollback over a real channel."""

import asyncio

import grpc
from api_cluster import Cluster, refused, with_cluster
from rookery.v1 import control_pb2 as c
from rookery.v1 import types_pb2 as t


async def deploy(cluster: Cluster, image: str, *, app: str = "shop", **fields: object) -> None:
    web = t.ServiceSpec(
        name="web",
        container=t.ContainerSpec(image=image),
        mode=t.Mode(replicated=t.Replicated(replicas=2)),
        **fields,  # type: ignore[arg-type]
    )
    await cluster.stub.Apply(c.ApplyRequest(app=t.AppSpec(name=app, services=[web]), actor="ann"))


def back(cluster: Cluster, to: int = 0, service: str = "web") -> grpc.aio.UnaryUnaryCall[c.RollbackRequest, c.RollbackResponse]:
    return cluster.stub.Rollback(c.RollbackRequest(app="shop", service=service, to=to, actor="bob"))


def test_a_service_goes_back_and_it_is_known_who_did_it() -> None:
    async def scene(cluster: Cluster) -> None:
        for image in ("web:1", "web:2", "web:3"):
            await deploy(cluster, image)
        await cluster.stub.Scale(c.ScaleRequest(app="shop", service="web", replicas=7))
        answer = await back(cluster, to=1)
        assert (answer.before, answer.after) == (3, 1)
        service = cluster.state.services["shop/web"]  # type: ignore[index]
        assert (service.revision, service.replicas) == (1, 7)
        assert service.rollout is not None
        assert (service.rollout.before, service.rollout.after, service.rollout.state) == (3, 1, "rolling")
        events = (await cluster.stub.ListEvents(c.ListEventsRequest(subject="shop/web"))).events
        assert (events[-1].why, events[-1].actor) == ("returned from revision 3 to 1 by hand", "bob")
        again = await back(cluster, to=1)
        assert (again.before, again.after, again.revision) == (1, 1, answer.revision)  # nothing was written
        assert (await back(cluster)).revision == answer.revision  # nor is a way back turned round

    with_cluster(scene)


def test_without_a_number_it_is_what_ran_before() -> None:
    async def scene(cluster: Cluster) -> None:
        await deploy(cluster, "web:1")
        await deploy(cluster, "web:2")
        await deploy(cluster, "web:2", labels={"a": "b"})
        answer = await back(cluster)
        assert (answer.before, answer.after) == (3, 1)

    with_cluster(scene)


def test_two_at_once_end_in_one_of_them() -> None:
    async def scene(cluster: Cluster) -> None:
        for image in ("web:1", "web:2", "web:3"):
            await deploy(cluster, image)
        first, second = await asyncio.gather(back(cluster, to=1), back(cluster, to=2))
        assert {(first.before, first.after), (second.before, second.after)} in ({(3, 1), (1, 2)}, {(3, 2), (2, 1)})

    with_cluster(scene)


def test_what_can_not_be_is_refused_with_what_there_is() -> None:
    async def scene(cluster: Cluster) -> None:
        await deploy(cluster, "web:1")
        seen = cluster.state.revision
        none = await refused(back(cluster), grpc.StatusCode.FAILED_PRECONDITION)
        assert none == "shop/web has no revision before 1 with other replicas; there is 1"
        unknown = await refused(back(cluster, to=9), grpc.StatusCode.NOT_FOUND)
        assert unknown == "shop/web has no revision 9; there is 1"
        assert "did you mean shop/web" in await refused(back(cluster, service="wbe"), grpc.StatusCode.NOT_FOUND)
        await refused(back(cluster, to=-1), grpc.StatusCode.INVALID_ARGUMENT)
        assert cluster.state.revision == seen
        await cluster.stub.RemoveApp(c.RemoveAppRequest(app="shop"))
        assert "is being removed" in await refused(back(cluster, to=1), grpc.StatusCode.FAILED_PRECONDITION)

    with_cluster(scene)


def test_a_port_that_another_app_took_meanwhile_is_in_the_way() -> None:
    async def scene(cluster: Cluster) -> None:
        await deploy(cluster, "web:1", ports=[t.Port(target=80, published=8080)])
        await deploy(cluster, "web:2", ports=[t.Port(target=80, published=9090)])
        await deploy(cluster, "web:1", app="blog", ports=[t.Port(target=80, published=8080)])
        told = await refused(back(cluster), grpc.StatusCode.FAILED_PRECONDITION)
        assert "can't return to revision 1" in told
        assert "port 8080/tcp is taken by blog/web" in told

    with_cluster(scene)


def test_a_service_that_it_depended_on_and_that_is_gone_is_in_the_way() -> None:
    async def scene(cluster: Cluster) -> None:
        web = t.ServiceSpec(
            name="web", container=t.ContainerSpec(image="web:1"), depends_on=[t.Dependency(service="db", required=True)]
        )
        db = t.ServiceSpec(name="db", container=t.ContainerSpec(image="db:1"))
        await cluster.stub.Apply(c.ApplyRequest(app=t.AppSpec(name="shop", services=[web, db])))
        web2 = t.ServiceSpec(name="web", container=t.ContainerSpec(image="web:2"))
        await cluster.stub.Apply(c.ApplyRequest(app=t.AppSpec(name="shop", services=[web2]), prune=True))
        told = await refused(back(cluster), grpc.StatusCode.FAILED_PRECONDITION)
        assert "there is no service db in shop" in told

    with_cluster(scene)
