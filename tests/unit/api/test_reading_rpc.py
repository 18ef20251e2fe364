"""What can be asked of a cluster, by which names, and how it answers what is not there."""

import grpc
import pytest
from api_cluster import Cluster, node, replica, with_cluster
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from rookery.model import (
    App,
    ContainerSpec,
    Global,
    HttpRoute,
    ListenerError,
    NodeState,
    Port,
    ReplicaState,
    Replicated,
    Resources,
    Revision,
    Service,
    ServiceSpec,
    ServiceStatus,
)
from rookery.v1 import control_pb2 as c
from rookery.v1 import types_pb2 as t
from rookery_manager.api.services import with_unserved

BOX = ContainerSpec(image="web:1")
SPEC = ServiceSpec(name="web", container=BOX, mode=Replicated(replicas=2), reservations=Resources(cpus=0.5))


async def a_shop(cluster: Cluster) -> None:
    await cluster.add_nodes(2)
    await cluster.write(
        App(name="shop", services=("web",)),
        Service(app="shop", name="web", revision=1, replicas=2),
        Revision(app="shop", service="web", number=1, spec=SPEC),
        why="created",
        actor="ann",
    )
    await cluster.write(
        replica(1, at=1), replica(2, at=2), replica(2, at=1, id="old2", state=ReplicaState.STOPPED), why="it runs"
    )


async def refused(call: object, code: grpc.StatusCode) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call  # type: ignore[misc]
    assert caught.value.code() is code, caught.value.details()
    return caught.value.details() or ""


def test_every_rpc_of_the_service_is_there() -> None:
    async def scene(cluster: Cluster) -> None:
        for method in c.DESCRIPTOR.services_by_name["ControlService"].methods:
            path = f"/rookery.v1.ControlService/{method.name}"
            code = grpc.StatusCode.OK
            try:
                if method.server_streaming:
                    async for _ in cluster.channel.unary_stream(path)(b"\xff", timeout=30):
                        pass
                else:
                    await cluster.channel.unary_unary(path)(b"\xff", timeout=30)
            except grpc.aio.AioRpcError as error:
                code = error.code()
            assert code is grpc.StatusCode.INVALID_ARGUMENT, f"{method.name} answers {code} to garbage"

    with_cluster(scene)


def test_health_and_reflection() -> None:
    async def scene(cluster: Cluster) -> None:
        health = health_pb2_grpc.HealthStub(cluster.channel)
        for service in ("", "rookery.v1.ControlService", "rookery.v1.DispatchService"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        reflection = reflection_pb2_grpc.ServerReflectionStub(cluster.channel)
        call = reflection.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        names = [service.name async for answer in call for service in answer.list_services_response.service]
        assert {"rookery.v1.ControlService", "rookery.v1.RoutingService", "grpc.health.v1.Health"} <= set(names)

    with_cluster(scene)


def test_the_cluster_its_proxies_and_routes() -> None:
    async def scene(cluster: Cluster) -> None:
        await a_shop(cluster)
        await cluster.write(node(2, state=NodeState.DOWN))
        found = await cluster.stub.GetCluster(c.GetClusterRequest())
        assert (found.id, found.nodes, found.nodes_ready, found.replicas, found.replicas_ready) == ("c1", 2, 1, 2, 2)
        assert found.revision == cluster.state.revision
        assert [p.info.id for p in (await cluster.stub.ListProxies(c.ListProxiesRequest())).proxies] == ["p1"]
        assert [r.id for r in (await cluster.stub.ListRoutes(c.ListRoutesRequest())).routes] == ["shop/web:80"]

    with_cluster(scene)


def test_what_a_proxy_can_not_serve_is_shown_on_the_service_whose_port_it_is() -> None:
    async def scene(cluster: Cluster) -> None:
        cluster.proxies.listener_errors = (ListenerError(port=80, why="in use"), ListenerError(port=81, why="in use too"))
        service = Service(app="shop", name="web", revision=1, replicas=2)
        by_port = ServiceStatus(service=service, ports=(Port(target=8080, published=80),))
        by_route = ServiceStatus(service=service, routes=(HttpRoute(target=8080, published=81),))
        told = [with_unserved(cluster.api, s).unserved for s in (by_port, by_route, ServiceStatus(service=service))]
        assert told == [("proxy p1, port 80: in use",), ("proxy p1, port 81: in use too",), ()]

    with_cluster(scene)


def test_traffic_of_all_of_an_app_and_of_a_service() -> None:
    async def scene(cluster: Cluster) -> None:
        await a_shop(cluster)
        for request in (c.GetTrafficRequest(), c.GetTrafficRequest(app="shop"), c.GetTrafficRequest(app="shop", service="web")):
            found = await cluster.stub.GetTraffic(request)
            assert [(s.app, s.service, s.total.requests) for s in found.services] == [("shop", "web", 7)]
            assert (found.proxies, list(found.latency_bounds_s)) == (1, [0.1, 1.0])
            assert found.at > 0
        for wrong, near in (
            (c.GetTrafficRequest(app="shpo"), "shop"),
            (c.GetTrafficRequest(app="shop", service="wbe"), "shop/web"),
        ):
            with pytest.raises(grpc.aio.AioRpcError, match=near) as error:
                await cluster.stub.GetTraffic(wrong)
            assert error.value.code() is grpc.StatusCode.NOT_FOUND

    with_cluster(scene)


def test_apps_and_services() -> None:
    async def scene(cluster: Cluster) -> None:
        assert list((await cluster.stub.ListApps(c.ListAppsRequest())).apps) == []
        await a_shop(cluster)
        (app,) = (await cluster.stub.ListApps(c.ListAppsRequest())).apps
        assert (app.app.name, app.converged, [s.ready for s in app.services]) == ("shop", True, [2])
        assert await cluster.stub.GetApp(c.GetAppRequest(app="shop")) == app
        (service,) = (await cluster.stub.ListServices(c.ListServicesRequest(app="shop"))).services
        assert (service.image, service.mode, service.wanted, service.updated) == ("web:1", "replicated", 2, 2)
        detail = await cluster.stub.GetService(c.GetServiceRequest(app="shop", service="web"))
        assert [r.slot for r in detail.replicas] == [1, 2, 2]
        assert detail.spec.container.image == "web:1"
        assert await refused(cluster.stub.GetApp(c.GetAppRequest(app="sop")), grpc.StatusCode.NOT_FOUND) == (
            "no app sop; did you mean shop?"
        )
        await refused(cluster.stub.ListServices(c.ListServicesRequest(app="x")), grpc.StatusCode.NOT_FOUND)
        await refused(cluster.stub.GetService(c.GetServiceRequest(app="shop")), grpc.StatusCode.INVALID_ARGUMENT)
        await refused(cluster.stub.GetApp(c.GetAppRequest()), grpc.StatusCode.INVALID_ARGUMENT)

    with_cluster(scene)


def test_a_global_service_wants_a_replica_on_every_node_that_fits() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.add_nodes(3)
        await cluster.write(
            node(3, state=NodeState.DOWN),
            App(name="shop", services=("web",)),
            Service(app="shop", name="web", revision=1),
            Revision(app="shop", service="web", number=1, spec=ServiceSpec(name="web", container=BOX, mode=Global())),
        )
        await cluster.write(replica(0, at=1))
        (status,) = (await cluster.stub.ListServices(c.ListServicesRequest())).services
        assert (status.mode, status.wanted, status.ready, status.why) == ("global", 2, 1, "1 replica to be created")
        await cluster.write(replica(0, at=2, id="second"))
        (status,) = (await cluster.stub.ListServices(c.ListServicesRequest())).services
        assert status.converged
        assert (await cluster.stub.GetReplica(c.GetReplicaRequest(replica="shop/web.n2"))).replica.id == "second"

    with_cluster(scene)


def test_replicas_by_filter() -> None:
    async def scene(cluster: Cluster) -> None:
        await a_shop(cluster)

        async def ids(**fields: object) -> list[str]:
            answer = await cluster.stub.ListReplicas(c.ListReplicasRequest(**fields))  # type: ignore[arg-type]
            return [detail.replica.id for detail in answer.replicas]

        assert await ids() == ["web1aaaa", "web2aaaa"]
        assert await ids(ended=True) == ["web1aaaa", "old2", "web2aaaa"]
        assert await ids(app="shop", service="web", node_id="n2") == ["web2aaaa"]
        assert await ids(node_id="id-n1", ended=True) == ["web1aaaa", "old2"]
        await refused(cluster.stub.ListReplicas(c.ListReplicasRequest(service="web")), grpc.StatusCode.INVALID_ARGUMENT)
        await refused(cluster.stub.ListReplicas(c.ListReplicasRequest(node_id="n9")), grpc.StatusCode.NOT_FOUND)

    with_cluster(scene)


def test_a_replica_by_its_names() -> None:
    async def scene(cluster: Cluster) -> None:
        await a_shop(cluster)
        for ref in ("web2aaaa", "web2", "shop/web.2"):
            found = await cluster.stub.GetReplica(c.GetReplicaRequest(replica=ref))
            assert (found.replica.id, found.node_name, found.image, found.stats.memory_bytes) == ("web2aaaa", "n2", "web:1", 7)
        details = await refused(cluster.stub.GetReplica(c.GetReplicaRequest(replica="web")), grpc.StatusCode.INVALID_ARGUMENT)
        assert details.startswith("web may be any of 2 replicas: web1aaaa (shop/web.1, running), web2aaaa")
        details = await refused(cluster.stub.GetReplica(c.GetReplicaRequest(replica="shop/web.3")), grpc.StatusCode.NOT_FOUND)
        assert details.startswith("no replica shop/web.3; did you mean shop/web.")
        for ref in ("nobody", "shop/wbe.1", "/", "///", "shop/", ".1"):
            await refused(cluster.stub.GetReplica(c.GetReplicaRequest(replica=ref)), grpc.StatusCode.NOT_FOUND)
        await refused(cluster.stub.GetReplica(c.GetReplicaRequest()), grpc.StatusCode.INVALID_ARGUMENT)

    with_cluster(scene)


def test_nodes_by_their_names() -> None:
    async def scene(cluster: Cluster) -> None:
        await a_shop(cluster)
        first, second = (await cluster.stub.ListNodes(c.ListNodesRequest())).nodes
        assert (first.node.info.hostname, first.replicas, first.reserved.cpus) == ("n1", 1, 0.5)
        assert (first.last_seen_at, first.stats.cpu_percent) == (900.0, 12.5)
        assert second.node.id == "id-n2"
        for ref in ("n2", "id-n2"):
            assert (await cluster.stub.GetNode(c.GetNodeRequest(node=ref))).node.id == "id-n2"
        details = await refused(cluster.stub.GetNode(c.GetNodeRequest(node="id-")), grpc.StatusCode.INVALID_ARGUMENT)
        assert details == "id- may be any of 2 nodes: id-n1 (n1, ready), id-n2 (n2, ready); say more of its id"
        details = await refused(cluster.stub.GetNode(c.GetNodeRequest(node="n3")), grpc.StatusCode.NOT_FOUND)
        assert details == "no node n3; there is n1, n2"

    with_cluster(scene)


def test_a_node_is_drained_and_labelled() -> None:
    async def scene(cluster: Cluster) -> None:
        await a_shop(cluster)
        update = c.UpdateNodeRequest(node="n1", availability=t.AVAILABILITY_DRAINED, set_labels={"zone": "a"}, actor="ann")
        found = await cluster.stub.UpdateNode(update)
        assert (found.node.availability, dict(found.node.labels)) == (t.AVAILABILITY_DRAINED, {"zone": "a"})
        revision = cluster.state.revision
        await cluster.stub.UpdateNode(update)
        assert cluster.state.revision == revision, "the same again is no change"
        found = await cluster.stub.UpdateNode(c.UpdateNodeRequest(node="n1", remove_labels=["zone"]))
        assert (found.node.availability, dict(found.node.labels)) == (t.AVAILABILITY_DRAINED, {})
        events = (await cluster.stub.ListEvents(c.ListEventsRequest(subject="n1"))).events
        assert [e.why for e in events] == [
            "joined",
            "to be drained, gets label zone=a",
            "loses label zone",
        ]
        for bad in (
            {"set_labels": {"": "a"}},
            {"set_labels": {"a": "x" * 300}},
            {"set_labels": {"a b": "x"}},
            {"set_labels": {"a": "x"}, "remove_labels": ["a"]},
            {"availability": 99},
            {"actor": "a\nb", "set_labels": {"a": "x"}},
        ):
            await refused(cluster.stub.UpdateNode(c.UpdateNodeRequest(node="n1", **bad)), grpc.StatusCode.INVALID_ARGUMENT)

    with_cluster(scene)


def test_a_node_is_removed_only_when_nothing_is_lost_by_it_or_by_force() -> None:
    async def scene(cluster: Cluster) -> None:
        await a_shop(cluster)
        details = await refused(cluster.stub.RemoveNode(c.RemoveNodeRequest(node="n1")), grpc.StatusCode.FAILED_PRECONDITION)
        assert details == "node n1 is up and has 1 replicas; drain it first, or have it removed by force"
        answer = await cluster.stub.RemoveNode(c.RemoveNodeRequest(node="n1", force=True, actor="ann"))
        lost = cluster.state.replicas["web1aaaa"]  # type: ignore[index]
        assert (lost.state, lost.ready, lost.why) == (ReplicaState.LOST, False, "node n1 was removed")
        changes = [change for change in await cluster.store.history() if change.revision == answer.revision]
        assert {change.key for change in changes} == {"nodes/id-n1", "replicas/shop/web/web1aaaa"}
        await cluster.write(node(2, state=NodeState.DOWN))
        await cluster.stub.RemoveNode(c.RemoveNodeRequest(node="n2"))
        assert cluster.state.nodes == {}

    with_cluster(scene)


def test_explain_a_replica_and_the_next_one() -> None:
    async def scene(cluster: Cluster) -> None:
        await a_shop(cluster)
        found = await cluster.stub.Explain(c.ExplainRequest(replica="shop/web.1"))
        assert found.subject == "shop/web.1"
        assert {verdict.node_name for verdict in found.nodes} == {"n1", "n2"}
        assert [event.why for event in found.events] == ["it runs"]
        found = await cluster.stub.Explain(c.ExplainRequest(app="shop", service="web"))
        assert (found.subject, len(found.nodes)) == ("shop/web", 2)
        assert found.summary
        await refused(cluster.stub.Explain(c.ExplainRequest(app="shop", service="x")), grpc.StatusCode.NOT_FOUND)
        await refused(cluster.stub.Explain(c.ExplainRequest()), grpc.StatusCode.INVALID_ARGUMENT)

    with_cluster(scene)


def test_events_of_each_kind_of_subject() -> None:
    async def scene(cluster: Cluster) -> None:
        await a_shop(cluster)
        await cluster.write(replica(1, at=1, restarts=1))  # without a why: part of something else, no event
        await cluster.write(why="no longer wanted", delete=["replicas/shop/web/web1aaaa"])

        async def events(subject: str, **more: int) -> list[tuple[str, str, str, str]]:
            answer = await cluster.stub.ListEvents(c.ListEventsRequest(subject=subject, **more))
            return [(e.kind, e.subject, e.id, e.why) for e in answer.events]

        of_first = [
            ("replica", "shop/web.1", "web1aaaa", "it runs"),
            ("replica", "shop/web.1", "web1aaaa", "no longer wanted"),
        ]
        assert await events("shop/web.1") == of_first
        assert [e for e in await events("shop/web") if e[0] != "replica"] == [
            ("service", "shop/web", "", "created"),
            ("revision", "shop/web", "", "created"),
        ]
        assert len(await events("shop/web")) == 6
        assert len(await events("shop")) == 7
        assert await events("n2") == await events("id-n2") == [("node", "n2", "id-n2", "joined")]
        assert len(await events("")) == 9
        assert await events("", limit=1) == of_first[1:]
        assert await events("", after_revision=cluster.state.revision - 1) == of_first[1:]
        assert await events("nobody") == await events("sho") == await events("shop/we") == []
        for bad in ({"limit": -1}, {"limit": 1_000_000}, {"after_revision": -1}):
            await refused(cluster.stub.ListEvents(c.ListEventsRequest(**bad)), grpc.StatusCode.INVALID_ARGUMENT)

    with_cluster(scene)


def test_the_newest_events_are_found_behind_many_others() -> None:
    async def scene(cluster: Cluster) -> None:
        await a_shop(cluster)
        for number in range(300):
            await cluster.write(replica(2, at=2, restarts=number), why=f"restart {number}")
        answer = await cluster.stub.ListEvents(c.ListEventsRequest(subject="shop/web.1", limit=1))
        assert [e.why for e in answer.events] == ["it runs"]
        answer = await cluster.stub.ListEvents(c.ListEventsRequest(subject="shop", limit=3))
        assert [e.why for e in answer.events] == ["restart 297", "restart 298", "restart 299"]

    with_cluster(scene)
