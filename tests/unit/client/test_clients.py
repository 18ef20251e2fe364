"""Both clients against a real server: values in and out, errors a person can act on, streams that end."""

import asyncio
import inspect
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import grpc
import pytest
from fake_control import FakeControl, serving
from ports import free_port
from rookery import model
from rookery.client import (
    AsyncClient,
    BadRequest,
    Changes,
    Client,
    ClientError,
    Conflict,
    LogFailure,
    LogLine,
    ManagerFailed,
    NotFound,
    RolloutAction,
    TimedOut,
    Unreachable,
    Unsupported,
    calls,
    parse_address,
)
from rookery.client.errors import from_status

SHOP = model.AppSpec(
    name="shop",
    services=(
        model.ServiceSpec(name="web", container=model.ContainerSpec(image="web:1"), mode=model.Replicated(replicas=3)),
        model.ServiceSpec(name="api", container=model.ContainerSpec(image="api:1")),
    ),
)


@pytest.fixture
def control() -> Iterator[FakeControl]:
    fake = FakeControl()
    fake.add_node("n1")
    fake.add_node("n2")
    with serving(fake):
        yield fake


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline


def test_every_rpc_has_a_call_and_both_clients_have_it() -> None:
    from rookery.v1 import control_pb2

    builders = [f for _, f in inspect.getmembers(calls, inspect.isfunction) if not f.__name__.startswith("_")]
    builders = [f for f in builders if f.__module__ == calls.__name__]
    service = control_pb2.DESCRIPTOR.services_by_name["ControlService"]
    methods = {method.name.lower() for method in service.methods}
    assert {f.__name__.replace("_", "") for f in builders} == methods
    for f in builders:
        for cls in (Client, AsyncClient):
            method = getattr(cls, f.__name__)
            assert list(inspect.signature(method).parameters)[1:] == list(inspect.signature(f).parameters)
            assert method.__doc__ == f.__doc__


def test_values_go_in_and_out(control: FakeControl) -> None:
    with Client(control.address, actor="ann@box") as client:
        planned = client.plan(SHOP)
        assert [change.kind for change in planned.changes] == [model.ChangeKind.CREATE] * 2
        assert [(p.service, p.node_name) for p in planned.placements] == [("web", "n1")] * 3 + [("api", "n1")]
        assert client.apply(SHOP, prune=True).changes == planned.changes
        request = control.requests("Apply")[0]
        assert (request.actor, request.prune) == ("ann@box", True)
        eventually(lambda: client.get_app("shop").converged)
        assert [s.service.key for s in client.list_services("shop")] == ["shop/web", "shop/api"]
        detail = client.get_service("shop", "web")
        assert detail.spec == SHOP.services[0]
        assert len(detail.replicas) == 3
        assert {d.replica.name for d in client.list_replicas("shop", "web")} == {"shop/web.1", "shop/web.2", "shop/web.3"}
        assert client.get_replica("shop/web.2").replica.slot == 2
        assert client.scale("shop", "web", 5).after == 5
        assert client.list_app_revisions("shop")[0].services == {"web": 1, "api": 1}
        assert client.restart("shop").services == ("web", "api")
        assert client.update_node("n1", set_labels={"disk": "ssd"}).node.labels == {"disk": "ssd"}
        drained = client.update_node("n1", availability=model.Availability.DRAINED, remove_labels=["disk"]).node
        assert (drained.availability, drained.labels) == (model.Availability.DRAINED, {})
        assert client.explain("shop", "web").nodes[1].scores[0].name == "of this service"
        assert client.get_cluster().nodes == 2
        assert client.list_routes() == model.RouteTable()
        assert isinstance(client.remove_app("shop"), int)


def test_rollouts_go_in_and_out(control: FakeControl) -> None:
    web = SHOP.services[0]
    newer = replace(SHOP, services=(replace(web, container=model.ContainerSpec(image="web:2")), SHOP.services[1]))
    with Client(control.address, actor="ann@box") as client:
        assert client.plan(SHOP).app_revision == 0
        assert client.apply(SHOP, if_revision=0).app_revision == 1
        with pytest.raises(Conflict, match="is at revision 1 by now"):
            client.apply(SHOP, if_revision=7)
        planned = client.plan(newer)
        assert (planned.app_revision, planned.services[0].replaced, planned.services[0].pull_on) == (1, 3, ("n1", "n2"))
        client.apply(newer)
        found = client.get_rollout("shop", "web")
        assert found.rollout is not None
        assert (found.rollout.before, found.rollout.after, found.rollout.actor) == (1, 2, "ann@box")
        for action, state in [("PAUSE", "PAUSED"), ("RESUME", "ROLLING"), ("ABORT", "ROLLING_BACK")]:
            updated = client.update_rollout("shop", "web", RolloutAction[action])
            assert updated.rollout is not None
            assert updated.rollout.state is model.RolloutState[state]
        eventually(lambda: client.get_app("shop").converged)
        with pytest.raises(Conflict, match="no rollout of shop/web is under way"):
            client.update_rollout("shop", "web", RolloutAction.PAUSE)
        returned = client.rollback("shop", to=2)
        assert (returned.before, returned.after, returned.left) == (2, 2, ())
        assert returned.services == (model.ServiceReturn(service="web", before=1, after=2),)
        returned = client.rollback("shop", "web", 1)
        assert (returned.before, returned.after) == (2, 1)


@pytest.mark.parametrize(
    ("status", "expected", "words"),
    [
        (grpc.StatusCode.NOT_FOUND, NotFound, "^told so$"),
        (grpc.StatusCode.INVALID_ARGUMENT, BadRequest, "^told so$"),
        (grpc.StatusCode.FAILED_PRECONDITION, Conflict, "^told so$"),
        (grpc.StatusCode.ABORTED, Conflict, "^told so$"),
        (grpc.StatusCode.INTERNAL, ManagerFailed, "the manager failed in GetCluster: told so; see its log"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ClientError, "^told so$"),
        (grpc.StatusCode.UNAVAILABLE, Unreachable, "can't answer now: told so"),
        (grpc.StatusCode.UNIMPLEMENTED, Unsupported, "does not know GetCluster: it is of another version"),
    ],
)
def test_a_refusal_is_an_error_of_its_kind(
    control: FakeControl, status: grpc.StatusCode, expected: type[ClientError], words: str
) -> None:
    control.refuses["GetCluster"] = (status, "told so")
    with Client(control.address) as client, pytest.raises(expected, match=words) as caught:
        client.get_cluster()
    assert caught.value.code == status.name


@pytest.mark.parametrize("code", ["INTERNAL", "DEADLINE_EXCEEDED"])
def test_the_managers_own_words_are_kept(code: str) -> None:
    own = "the manager could not do it; try again"
    assert str(from_status(code, own, address="a:1", method="Apply", timeout_s=1)) == own


def test_no_manager_is_one_line_that_says_what_to_do() -> None:
    address = f"127.0.0.1:{free_port()}"
    expected = (
        f"no manager answers at {address} (connection refused). "
        "Start one with 'rookery up', or name another with --manager HOST:PORT or ROOKERY_MANAGER"
    )
    with Client(address) as client:
        with pytest.raises(Unreachable) as caught:
            client.get_cluster()
        assert str(caught.value) == expected
        with pytest.raises(Unreachable):
            list(client.watch())


def test_something_else_at_the_address_is_said_to_be_no_manager() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with Client(f"127.0.0.1:{other.getsockname()[1]}") as client, pytest.raises(Unreachable) as caught:
            client.get_cluster()
        thread.join(10)
    assert "no manager answers" in str(caught.value) or "no Rookery manager" in str(caught.value)


def test_a_manager_that_does_not_answer_is_given_up_after_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with Client(address, timeout_s=0.3) as client, pytest.raises((TimedOut, Unreachable)):
            client.get_cluster()


def test_an_answer_that_cannot_be_read_is_a_client_error(control: FakeControl) -> None:
    async def newer(_request: object, _context: object) -> object:
        from rookery.v1 import control_pb2, types_pb2

        node = types_pb2.Node(id="n", info=types_pb2.NodeInfo(hostname="n"))
        node.state = 99  # type: ignore[assignment]
        return control_pb2.ListNodesResponse(nodes=[control_pb2.NodeDetail(node=node)])

    control.ListNodes = newer  # type: ignore[method-assign, assignment]
    with serving(control), Client(control.address) as client, pytest.raises(ManagerFailed, match="of another version"):
        client.list_nodes()


def test_logs_are_lines_and_failures(control: FakeControl) -> None:
    line = LogLine(replica_id="r1", replica="shop/web.1", node_name="n1", at=5.0, text="hällo", stderr=True)
    control.log = [line]
    control.log_errors = {"r2": "the node is down"}
    with Client(control.address) as client:
        entries = list(client.logs("shop", "web", tail=5))
    assert entries == [line, LogFailure(replica_id="r2", replica="r2", node_name="n2", why="the node is down")]
    assert control.requests("Logs")[0].tail == 5


def test_watch_ends_when_its_reader_stops(control: FakeControl) -> None:
    with Client(control.address) as client:
        for changes in client.watch(snapshot=True):
            assert isinstance(changes, Changes)
            break
        assert client.get_cluster().nodes == 2


def test_watch_ends_when_the_client_is_closed(control: FakeControl) -> None:
    client = Client(control.address)
    begun = threading.Event()
    ended = threading.Event()

    def follow() -> None:
        for _ in client.watch(snapshot=True):
            begun.set()
        ended.set()

    thread = threading.Thread(target=follow)
    thread.start()
    assert begun.wait(60)
    client.close()
    assert ended.wait(60)
    thread.join(10)


def test_watch_goes_on_over_a_restart_of_the_manager(control: FakeControl) -> None:
    port = free_port()
    with Client(f"127.0.0.1:{port}") as client:
        with serving(control, f"127.0.0.1:{port}"):
            watching = client.watch(after_revision=1, reconnect=True)
            control.add_event("app", "shop", "first")
            first = next(watching)
        control.add_event("app", "shop", "second")
        with serving(control, f"127.0.0.1:{port}"):
            second = next(watching)
        watching.close()  # type: ignore[attr-defined]
    assert [changes.events[0].why for changes in (first, second)] == ["first", "second"]


def test_watch_begins_afresh_where_the_history_is_gone(control: FakeControl) -> None:
    control.add_app(SHOP)
    control.refuses["Watch"] = (grpc.StatusCode.OUT_OF_RANGE, "compacted")
    with Client(control.address) as client:
        watching = client.watch(after_revision=1, reconnect=True)
        result: list[Changes] = []
        thread = threading.Thread(target=lambda: result.append(next(watching)))
        thread.start()
        eventually(lambda: bool(control.requests("Watch")))
        del control.refuses["Watch"]
        thread.join(10)
        watching.close()  # type: ignore[attr-defined]
    assert [app.name for app in result[0].apps] == ["shop"]


def test_without_reconnect_a_lost_connection_is_an_error(control: FakeControl) -> None:
    port = free_port()
    with Client(f"127.0.0.1:{port}") as client:
        with serving(control, f"127.0.0.1:{port}"):
            watching = client.watch(snapshot=True)
            next(watching)
        with pytest.raises(ClientError):
            next(watching)


def test_the_asyncio_client_does_the_same(control: FakeControl) -> None:
    control.log = [LogLine(replica_id="r1", replica="shop/web.1", node_name="n1", at=5.0, text="hi")]

    async def scenario() -> None:
        async with AsyncClient(control.address, actor="ann@box") as client:
            assert (await client.apply(SHOP)).app == "shop"
            assert [s.service.name for s in await client.list_services()] == ["web", "api"]
            with pytest.raises(NotFound, match="did you mean shop"):
                await client.get_app("shpo")
            assert [entry async for entry in client.logs("shop")] == control.log
            async for changes in client.watch(snapshot=True):
                assert changes.apps[0].name == "shop"
                break
            task = asyncio.create_task(anext(client.watch(after_revision=10_000)))  # type: ignore[arg-type]
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        async with AsyncClient(f"127.0.0.1:{free_port()}") as client:
            with pytest.raises(Unreachable):
                await client.get_cluster()

    asyncio.run(scenario())
    assert control.requests("Apply")[0].actor == "ann@box"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("a", "a:7070"), ("a:1", "a:1"), (" 10.0.0.1:07070 ", "10.0.0.1:7070"), ("[::1]", "[::1]:7070"), ("[::1]:9", "[::1]:9"),
    ],
)  # fmt: skip
def test_an_address_is_read(text: str, address: str) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["", ":1", "a:b", "a:0", "a:65536", "::1", "[::1", "[]:1", "[::1]x", "http://a:1", "a b:1", "a:-1", "a:²"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_address(text)
