"""Apply, Plan, Scale and RemoveApp over a real channel."""

import asyncio
import hashlib

import grpc
import pytest
from api_cluster import Cluster, node, refused, replica, with_cluster
from rookery.v1 import control_pb2 as c
from rookery.v1 import types_pb2 as t
from rookery_manager.store import Commit, StoreError


def web(image: str = "web:1", replicas: int = 2, **fields: object) -> t.ServiceSpec:
    mode = t.Mode(replicated=t.Replicated(replicas=replicas))
    return t.ServiceSpec(name="web", container=t.ContainerSpec(image=image), mode=mode, **fields)  # type: ignore[arg-type]


def request(*services: t.ServiceSpec, app: str = "shop", prune: bool = False, actor: str = "ann") -> c.ApplyRequest:
    return c.ApplyRequest(app=t.AppSpec(name=app, services=services), actor=actor, prune=prune)


def test_apply_creates_then_keeps_then_updates() -> None:
    async def scene(cluster: Cluster) -> None:
        first = await cluster.stub.Apply(request(web()))
        assert [(x.service, x.kind, x.revision, x.replicas) for x in first.changes] == [("web", c.CHANGE_KIND_CREATE, 1, 2)]
        assert cluster.state.services["shop/web"].replicas == 2  # type: ignore[index]
        again = await cluster.stub.Apply(request(web()))
        assert [x.kind for x in again.changes] == [c.CHANGE_KIND_KEEP]
        assert again.revision == first.revision
        update = await cluster.stub.Apply(request(web("web:2")))
        assert [(x.kind, x.revision) for x in update.changes] == [(c.CHANGE_KIND_UPDATE, 2)]
        assert update.revision > first.revision
        detail = await cluster.stub.GetService(c.GetServiceRequest(app="shop", service="web"))
        assert [(r.number, r.actor) for r in detail.revisions] == [(2, "ann"), (1, "ann")]

    with_cluster(scene)


def test_all_faults_come_at_once_and_nothing_is_written() -> None:
    async def scene(cluster: Cluster) -> None:
        bad = web("", 20_000, ports=[t.Port(target=0)])
        details = await refused(cluster.stub.Apply(request(bad, app="Shop")), grpc.StatusCode.INVALID_ARGUMENT)
        assert [line.partition(": ")[0] for line in details.splitlines()] == [
            "name",
            "services.web.mode.replicas",
            "services.web.container.image",
            "services.web.ports[0].target",
        ]
        assert cluster.state.revision == 0

    with_cluster(scene)


def test_a_message_that_is_no_value_is_named_by_its_place() -> None:
    async def scene(cluster: Cluster) -> None:
        bad = web()
        bad.mode.Clear()
        bad.mode.SetInParent()
        details = await refused(cluster.stub.Apply(request(web(), bad)), grpc.StatusCode.INVALID_ARGUMENT)
        assert details.startswith("services[1]: Mode: none of")

    with_cluster(scene)


def test_a_port_of_another_app_is_refused_with_its_owner() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.stub.Apply(request(web(ports=[t.Port(target=80, published=8080)])))
        call = cluster.stub.Apply(request(web(ports=[t.Port(target=80, published=8080)]), app="other"))
        details = await refused(call, grpc.StatusCode.FAILED_PRECONDITION)
        assert details == "services.web.ports[0].published: port 8080/tcp is taken by shop/web (ports[0]); publish another one"

    with_cluster(scene)


def test_two_apps_at_once_do_not_both_get_a_port() -> None:
    async def scene(cluster: Cluster) -> None:
        calls = [
            cluster.stub.Apply(request(web(ports=[t.Port(target=80, published=8080)]), app=f"app{number}")) for number in range(8)
        ]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(answer, c.ApplyResponse) for answer in answers) == 1

    with_cluster(scene)


def test_many_writers_of_one_app_all_get_through() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.stub.Apply(request(web()))
        scales = [cluster.stub.Scale(c.ScaleRequest(app="shop", service="web", replicas=n, actor="x")) for n in range(3, 8)]
        applies = [cluster.stub.Apply(request(web(f"web:{n}", n))) for n in range(5)]
        await asyncio.gather(*scales, *applies)
        found = cluster.state.revisions["shop/web"]  # type: ignore[index]
        assert sorted(found) == list(range(1, len(found) + 1))

    with_cluster(scene)


def test_a_conflict_that_never_ends_is_aborted() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.stub.Apply(request(web()))
        before = cluster.store.commit

        async def commit(wanted: Commit) -> int:
            if wanted.conditions:
                service = cluster.state.services["shop/web"]  # type: ignore[index]
                await cluster.write(service)
            return await before(wanted)

        cluster.store.commit = commit  # type: ignore[method-assign]
        details = await refused(
            cluster.stub.Scale(c.ScaleRequest(app="shop", service="web", replicas=9)), grpc.StatusCode.ABORTED
        )
        assert "try again" in details

    with_cluster(scene)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreError("can't write /data/store.db: the disk is full"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (StoreError("can't write /data/store.db: input/output error"), grpc.StatusCode.UNAVAILABLE),
    ],
)
def test_what_the_store_can_not_do(error: StoreError, code: grpc.StatusCode) -> None:
    async def scene(cluster: Cluster) -> None:
        async def commit(_wanted: Commit) -> int:
            raise error

        cluster.store.commit = commit  # type: ignore[method-assign]
        assert str(error) in await refused(cluster.stub.Apply(request(web())), code)

    with_cluster(scene)


def test_an_unexpected_error_shows_an_id_and_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(cluster: Cluster) -> None:
        async def commit(_wanted: Commit) -> int:
            raise RuntimeError("secret internals")

        cluster.store.commit = commit  # type: ignore[method-assign]
        details = await refused(cluster.stub.Apply(request(web())), grpc.StatusCode.INTERNAL)
        assert "secret internals" not in details
        error_id = details.rpartition(" ")[2]
        assert error_id in caplog.text
        assert "secret internals" in caplog.text

    with_cluster(scene)


def test_bytes_that_are_no_message_are_an_invalid_argument() -> None:
    async def scene(cluster: Cluster) -> None:
        for method in ("Apply", "GetCluster", "ListEvents"):
            call = cluster.channel.unary_unary(f"/rookery.v1.ControlService/{method}")
            await refused(call(b"\xff\xff\xff"), grpc.StatusCode.INVALID_ARGUMENT)
        stream = cluster.channel.unary_stream("/rookery.v1.ControlService/Watch")(b"\xff\xff\xff")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in stream:
                pass
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    with_cluster(scene)


def test_secrets_are_stored_beside_and_demanded_only_once() -> None:
    async def scene(cluster: Cluster) -> None:
        digest = hashlib.sha256(b"hunter2").hexdigest()
        mount = t.FileMount(kind=t.FILE_KIND_SECRET, name="pw", target="/run/secrets/pw", digest=digest)
        service = t.ServiceSpec(name="web", container=t.ContainerSpec(image="web:1", files=[mount]))
        details = await refused(cluster.stub.Apply(request(service)), grpc.StatusCode.INVALID_ARGUMENT)
        assert details.startswith("services.web.container.files[0]: the content of secret pw")
        full = request(service)
        full.app.files.add(kind=t.FILE_KIND_SECRET, name="pw", content=b"hunter2", digest=digest)
        await cluster.stub.Apply(full)
        (sealed,) = (await cluster.store.snapshot("sealed/")).entries.values()
        keyed = cluster.api.keyring.key().digest(digest)
        assert sealed.key == f"sealed/shop/secret/pw/{keyed}"
        kept = (await cluster.stub.GetService(c.GetServiceRequest(app="shop", service="web"))).spec
        assert kept.container.files[0].digest == keyed
        everything = b"".join(change.value or b"" for change in await cluster.store.history(limit=1_000))
        assert b"hunter2" not in everything
        assert digest.encode() not in everything, "a digest by which a content can be guessed"
        again = await cluster.stub.Apply(request(service))
        assert [x.kind for x in again.changes] == [c.CHANGE_KIND_KEEP]

    with_cluster(scene)


def test_plan_changes_nothing_and_says_where_replicas_would_go() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.add_nodes(2)
        before = cluster.state.revision
        planned = await cluster.stub.Plan(request(web(replicas=3)))
        assert [x.kind for x in planned.changes] == [c.CHANGE_KIND_CREATE]
        assert [(p.service, p.slot) for p in planned.placements] == [("web", 1), ("web", 2), ("web", 3)]
        assert {p.node_name for p in planned.placements} == {"n1", "n2"}
        assert cluster.state.revision == before
        huge = web(replicas=1, reservations=t.Resources(memory_bytes=2**45))
        (placed,) = (await cluster.stub.Plan(request(huge))).placements
        assert placed.node_id == ""
        assert placed.why
        await cluster.stub.Apply(request(huge))  # accepted: a larger node may come

    with_cluster(scene)


def test_plan_of_a_scale_places_only_the_new_ones_and_of_a_global_one_a_node() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.add_nodes(2)
        await cluster.stub.Apply(request(web(replicas=2)))
        await cluster.write(replica(1, at=1), replica(2, at=2))
        planned = await cluster.stub.Plan(request(web(replicas=3)))
        assert [p.slot for p in planned.placements] == [3]
        everywhere = web()
        everywhere.mode.CopyFrom(t.Mode(**{"global": t.Global()}))
        planned = await cluster.stub.Plan(request(everywhere))
        assert [p.node_name for p in planned.placements] == ["n1", "n2"]

    with_cluster(scene)


def test_scale_and_what_can_not_be_scaled() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.stub.Apply(request(web()))
        answer = await cluster.stub.Scale(c.ScaleRequest(app="shop", service="web", replicas=5, actor="bob"))
        assert (answer.before, answer.after) == (2, 5)
        assert cluster.state.services["shop/web"].why == "scaled from 2 to 5"  # type: ignore[index]
        same = await cluster.stub.Scale(c.ScaleRequest(app="shop", service="web", replicas=5))
        assert (same.before, same.after, same.revision) == (5, 5, answer.revision)
        for replicas in (-1, 10_001):
            call = cluster.stub.Scale(c.ScaleRequest(app="shop", service="web", replicas=replicas))
            await refused(call, grpc.StatusCode.INVALID_ARGUMENT)
        details = await refused(
            cluster.stub.Scale(c.ScaleRequest(app="shop", service="wbe", replicas=1)), grpc.StatusCode.NOT_FOUND
        )
        assert details == "no service shop/wbe; did you mean shop/web?"
        everywhere = web()
        everywhere.mode.CopyFrom(t.Mode(**{"global": t.Global()}))
        await cluster.stub.Apply(request(everywhere))
        details = await refused(
            cluster.stub.Scale(c.ScaleRequest(app="shop", service="web", replicas=1)), grpc.StatusCode.FAILED_PRECONDITION
        )
        assert "is global" in details

    with_cluster(scene)


def test_remove_app_marks_it_and_its_services_and_can_be_said_twice() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.stub.Apply(request(web()))
        first = await cluster.stub.RemoveApp(c.RemoveAppRequest(app="shop", actor="ann"))
        assert cluster.state.apps["shop"].removing
        assert cluster.state.services["shop/web"].removing  # type: ignore[index]
        again = await cluster.stub.RemoveApp(c.RemoveAppRequest(app="shop"))
        assert again.revision == first.revision
        details = await refused(
            cluster.stub.Scale(c.ScaleRequest(app="shop", service="web", replicas=1)), grpc.StatusCode.FAILED_PRECONDITION
        )
        assert "is being removed" in details
        details = await refused(cluster.stub.RemoveApp(c.RemoveAppRequest(app="shp")), grpc.StatusCode.NOT_FOUND)
        assert details == "no app shp; did you mean shop?"

    with_cluster(scene)


def test_an_app_without_services_goes_at_once() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.stub.Apply(request())
        assert list(cluster.state.apps) == ["shop"]
        await cluster.stub.RemoveApp(c.RemoveAppRequest(app="shop"))
        assert cluster.state.apps == {}
        await refused(cluster.stub.RemoveApp(c.RemoveAppRequest(app="shop")), grpc.StatusCode.NOT_FOUND)

    with_cluster(scene)


def test_a_deadline_of_the_client_is_kept() -> None:
    async def scene(cluster: Cluster) -> None:
        async def commit(_wanted: Commit) -> int:
            await asyncio.Event().wait()
            raise AssertionError

        cluster.store.commit = commit  # type: ignore[method-assign]
        await refused(cluster.stub.Apply(request(web()), timeout=0.2), grpc.StatusCode.DEADLINE_EXCEEDED)
        del cluster.store.commit  # and the next one is not held up by it
        await cluster.stub.Apply(request(web()), timeout=30)

    with_cluster(scene)


def test_nodes_are_needed_for_nothing_but_placement() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.write(node(1))
        planned = await cluster.stub.Plan(request())
        assert list(planned.changes) == []

    with_cluster(scene)
