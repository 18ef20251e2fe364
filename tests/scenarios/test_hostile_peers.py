"""The whole manager among agents and proxies that are broken, cloned or talk nonsense: it stays up and serves the others."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from fake_agent import FakeAgent
from fake_proxy import BOUNDS_S, FakeProxy
from rookery import channel
from rookery.model import Canary, ContainerSpec, Port, Replicated, ServiceSpec, UpdateConfig
from rookery.v1 import control_pb2, dispatch_pb2, dispatch_pb2_grpc, routing_pb2, routing_pb2_grpc, types_pb2
from whole_manager import PATIENCE_S, Manager, manager, until

DOCKER = types_pb2.RUNTIME_KIND_DOCKER


def web(replicas: int = 2) -> ServiceSpec:
    return ServiceSpec(
        name="web",
        container=ContainerSpec(image="web:1"),
        mode=Replicated(replicas=replicas),
        ports=(Port(target=80, published=8080),),
    )


def info(name: str = "odd", **changes: object) -> types_pb2.NodeInfo:
    return types_pb2.NodeInfo(hostname=name, address="127.0.0.1", os="linux", runtimes=[DOCKER], **changes)  # type: ignore[arg-type]


def hello(node_id: str = "id-odd", **changes: object) -> dispatch_pb2.AgentMessage:
    made = dispatch_pb2.Hello(node_id=node_id, **{"info": info(), **changes})  # type: ignore[arg-type]
    return dispatch_pb2.AgentMessage(hello=made)


async def say(address: str, messages: Sequence[dispatch_pb2.AgentMessage], *, listen_s: float = 5.0) -> grpc.StatusCode:
    """Says all this as an agent, and returns how the manager ends the stream (OK where it does not)."""

    async def said() -> AsyncIterator[dispatch_pb2.AgentMessage]:
        for message in messages:
            yield message
        await asyncio.sleep(listen_s)

    async with channel.dial(address) as connection:
        call = dispatch_pb2_grpc.DispatchServiceStub(connection).Connect(said())
        try:
            async with asyncio.timeout(listen_s):
                async for _ in call:
                    pass
        except TimeoutError:
            return grpc.StatusCode.OK
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK


async def works(m: Manager, replicas: int) -> None:
    """The manager deploys, and a good agent gets its work."""
    await m.deploy(web(replicas))
    await until(lambda: m.converged("web"))


NAN, INFINITE = float("nan"), float("inf")
REFUSED_HELLOS = {
    "no id": hello(""),
    "an id as long as a book": hello("x" * 100_000),
    "an id that is no name": hello("a/b\n"),
    "no hostname": hello(info=info("")),
    "a hostname as long as a book": hello(info=info("x" * 100_000)),
    "NaN cores": hello(info=info(capacity=types_pb2.Resources(cpus=NAN))),
    "infinitely many cores": hello(info=info(capacity=types_pb2.Resources(cpus=INFINITE))),
    "less than no memory": hello(info=info(capacity=types_pb2.Resources(memory_bytes=-1))),
    "a replica in no state": hello(replicas=[types_pb2.ReplicaStatus(replica_id="r1")]),
    "a replica in a state from the future": hello(replicas=[types_pb2.ReplicaStatus(replica_id="r1", state=99)]),  # type: ignore[arg-type]
    "no hello": dispatch_pb2.AgentMessage(heartbeat=dispatch_pb2.Heartbeat()),
    "nothing": dispatch_pb2.AgentMessage(),
}


@pytest.mark.parametrize("what", REFUSED_HELLOS)
def test_a_senseless_hello_is_refused_and_hurts_nobody(tmp_path: Path, what: str) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1"):
            assert await say(m.address, [REFUSED_HELLOS[what]]) is grpc.StatusCode.INVALID_ARGUMENT
            await works(m, 2)
            # A proper agent of that name is let in: nothing is left of the refused one.
            assert await say(m.address, [hello("id-other")], listen_s=0.3) is grpc.StatusCode.OK

    asyncio.run(scene())


def test_an_agent_can_tell_nothing_of_replicas_of_other_nodes(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1") as a:
            await works(m, 2)
            lies = [types_pb2.ReplicaStatus(replica_id=r, state=types_pb2.REPLICA_STATE_FAILED) for r in a.assignments]
            batch = dispatch_pb2.StatusBatch(replicas=lies)
            before = set(a.assignments)
            await say(m.address, [hello(), *([dispatch_pb2.AgentMessage(status=batch)] * 20)], listen_s=0.5)
            assert set(a.assignments) == before
            assert await m.converged("web")

    asyncio.run(scene())


def test_endpoints_belong_to_the_replica_that_reports_them(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1") as a, FakeProxy(m.address) as proxy:
            await works(m, 2)
            await until(lambda: len(proxy.endpoints("shop/web:8080")) == 2)
            first, second = sorted(a.assignments)
            wrong = types_pb2.Endpoint(
                replica_id=second, address="127.0.0.1", port=4000, target=80, protocol=types_pb2.PORT_PROTOCOL_TCP
            )
            status = types_pb2.ReplicaStatus(
                replica_id=first, state=types_pb2.REPLICA_STATE_RUNNING, ready=True, endpoints=[wrong]
            )
            a.out.put_nowait(dispatch_pb2.AgentMessage(status=dispatch_pb2.StatusBatch(replicas=[status])))
            route = "shop/web:8080"
            await until(lambda: any(e.port == 4000 for r in proxy.routes.values() for e in r.endpoints))
            assert proxy.endpoints(route) == {first, second}

    asyncio.run(scene())


def test_any_messages_of_agents_and_proxies_are_survived(tmp_path: Path) -> None:
    async def scene() -> None:
        chance = random.Random(7)
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1"):
            await works(m, 2)
            for number in range(25):
                agent = [
                    hello(f"id-{number % 3}", info=info(f"odd-{number % 3}")),
                    *(_any_agent_message(chance) for _ in range(30)),
                ]
                await asyncio.gather(say(m.address, agent, listen_s=0.1), _follow_badly(m.address, chance))
            await works(m, 3)

    asyncio.run(scene())


def _any_agent_message(chance: random.Random) -> dispatch_pb2.AgentMessage:
    """A message whose fields are random bytes under random numbers, or a valid one with odd values."""
    odd = chance.choice([NAN, -INFINITE, -1.0, 1e308])
    statuses = [
        types_pb2.ReplicaStatus(
            replica_id=chance.choice(["", "r", "x" * 1000]),
            state=chance.randrange(0, 14),  # type: ignore[arg-type]
            restarts=chance.choice([-(2**31), 2**31 - 1]),
            at=odd,
            endpoints=[types_pb2.Endpoint(port=-1, protocol=9)],  # type: ignore[arg-type]
        )
        for _ in range(chance.randrange(3))
    ]
    match chance.randrange(6):
        case 0:
            return dispatch_pb2.AgentMessage(status=dispatch_pb2.StatusBatch(replicas=statuses))
        case 1:
            stats = types_pb2.NodeStats(cpu_percent=odd, memory_used_bytes=-5)
            return dispatch_pb2.AgentMessage(
                heartbeat=dispatch_pb2.Heartbeat(stats=stats, conditions=[types_pb2.NodeCondition()])
            )
        case 2:
            return dispatch_pb2.AgentMessage(acknowledge=dispatch_pb2.Acknowledge(generation=chance.randrange(-(2**63), 2**63)))
        case 3:
            return hello(f"id-{chance.randrange(3)}")
        case 4:
            return dispatch_pb2.AgentMessage(goodbye=dispatch_pb2.Goodbye(why="\n" * chance.randrange(100)))
    return dispatch_pb2.AgentMessage()


async def _follow_badly(address: str, chance: random.Random) -> None:
    async def said() -> AsyncIterator[routing_pb2.ProxyMessage]:
        proxy = types_pb2.ProxyInfo(id=chance.choice(["", "p1", "p2"]), workers=-1)
        yield routing_pb2.ProxyMessage(hello=routing_pb2.ProxyHello(info=proxy))
        for _ in range(10):
            version = chance.randrange(-(2**63), 2**63)
            stats = types_pb2.EndpointStats(replica_id=chance.choice(["", "r"]), in_flight=-(2**63))
            yield chance.choice(
                [
                    routing_pb2.ProxyMessage(acknowledge=routing_pb2.RouteAcknowledge(version=version)),
                    routing_pb2.ProxyMessage(report=routing_pb2.RouteReport(version=version, endpoints=[stats])),
                    routing_pb2.ProxyMessage(hello=routing_pb2.ProxyHello()),
                    routing_pb2.ProxyMessage(),
                ]
            )

    async with channel.dial(address) as connection:
        try:
            async with asyncio.timeout(0.1):
                async for _ in routing_pb2_grpc.RoutingServiceStub(connection).Follow(said()):
                    pass
        except (TimeoutError, grpc.aio.AioRpcError):
            return


def test_bytes_that_are_no_message_end_their_own_stream_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1"):
            for method in ("DispatchService/Connect", "RoutingService/Follow", "DispatchService/SendLogs"):
                async with channel.dial(m.address) as connection:
                    call = connection.stream_stream(f"/rookery.v1.{method}")(iter([b"\xff\xff\xff\xff"]))
                    with pytest.raises(grpc.aio.AioRpcError):
                        await asyncio.wait_for(call.read(), PATIENCE_S)
            await works(m, 2)

    asyncio.run(scene())
    assert "Traceback" not in caplog.text


def test_of_two_proxies_with_one_id_the_older_is_ended_and_the_newer_served(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1"), channel.dial(m.address) as connection:
            first = routing_pb2_grpc.RoutingServiceStub(connection).Follow(_proxy("p1"))
            assert (await first.read()).WhichOneof("kind") == "welcome"  # type: ignore[union-attr]
            async with FakeProxy(m.address, "p1") as proxy:
                with pytest.raises(grpc.aio.AioRpcError, match="connected anew"):
                    await asyncio.wait_for(_read_to_the_end(first), PATIENCE_S)
                await works(m, 2)
                await until(lambda: len(proxy.endpoints("shop/web:8080")) == 2)

    asyncio.run(scene())


async def _read_to_the_end(call: "grpc.aio.StreamStreamCall[routing_pb2.ProxyMessage, routing_pb2.RoutingMessage]") -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def _proxy(name: str) -> AsyncIterator[routing_pb2.ProxyMessage]:
    yield routing_pb2.ProxyMessage(hello=routing_pb2.ProxyHello(info=types_pb2.ProxyInfo(id=name)))
    await asyncio.Event().wait()


def test_a_version_that_never_was_acknowledges_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1") as a, FakeProxy(m.address) as proxy:
            await works(m, 2)
            await until(lambda: len(proxy.endpoints("shop/web:8080")) == 2)
            proxy.holds = True
            proxy.version, held = 2**60, proxy.version
            proxy.acknowledge()
            proxy.version = held
            await m.control.Scale(control_pb2.ScaleRequest(app="shop", service="web", replicas=1), timeout=PATIENCE_S)
            await until(lambda: len(proxy.endpoints("shop/web:8080")) == 1)
            await asyncio.sleep(0.8)  # more than a lease, in which nothing may happen
            assert len(a.assignments) == 2
            assert (await refused(m))["proxy-version"] >= 1
            proxy.acknowledge()
            await until(lambda: len(a.assignments) == 1)

    asyncio.run(scene())


MOST = 2**63 - 1
COUNTS = ("requests", "in_flight", "errors_connect", "errors_upstream", "bytes_in", "bytes_out")
RESPONSES = ("responses_2xx", "responses_3xx", "responses_4xx", "responses_5xx")


def figures(value: int, latency_counts: Sequence[int] = (), **changes: int) -> types_pb2.EndpointStats:
    """The same value in every count."""
    counts = {**dict.fromkeys((*COUNTS, *RESPONSES), value), **changes}
    return types_pb2.EndpointStats(latency_counts=latency_counts, **counts)  # type: ignore[arg-type]


GOOD = types_pb2.EndpointStats(requests=30, responses_2xx=30, latency_counts=(30, 0, 0))
SENSELESS = {  # what is said of each replica of the new revision, with which bounds
    "less than nothing": (figures(-1), BOUNDS_S),
    "much less than nothing": (figures(-(2**63), (-(2**63),) * 3), BOUNDS_S),
    "less than nothing in some buckets": (types_pb2.EndpointStats(latency_counts=(-MOST, 10, -MOST)), BOUNDS_S),
    "requests without an answer": (types_pb2.EndpointStats(requests=10**18), BOUNDS_S),
    "more in flight than there can be": (types_pb2.EndpointStats(in_flight=MOST), BOUNDS_S),
    "as many failures as there are numbers": (figures(MOST), BOUNDS_S),
    "failures without requests": (types_pb2.EndpointStats(errors_upstream=10**18), BOUNDS_S),
    "no bounds and one bucket": (types_pb2.EndpointStats(latency_counts=(5,)), ()),
    "more buckets than bounds, with less than nothing": (types_pb2.EndpointStats(latency_counts=(-1,) * 100_000), BOUNDS_S),
}


async def _report_in_a_canary(
    m: Manager, proxy: FakeProxy, stats: types_pb2.EndpointStats, bounds_s: Sequence[float], *, interval_s: float = 0.1
) -> None:
    """A canary is at 50 %, and this is said of its replicas, a few times; the old ones answer well."""
    await m.deploy(web(2))
    await until(lambda: len(proxy.endpoints("shop/web:8080")) == 2)
    old = proxy.endpoints("shop/web:8080")
    canary = Canary(steps=(50, 100), interval_s=interval_s, min_requests=20)
    spec = replace(web(2), container=ContainerSpec(image="web:2"), strategy=canary, update=UpdateConfig(monitor_s=0.0))
    await m.deploy(spec)
    await until(lambda: bool(proxy.tables and proxy.tables[-1].split))
    proxy.answer(old, ok=50)
    split = proxy.tables[-1].split
    assert split is not None
    for _ in range(3):
        said = []
        for replica_id in split.replica_ids:
            for route_id in ("a", "b"):
                one = types_pb2.EndpointStats(replica_id=replica_id, route_id=route_id)
                one.MergeFrom(stats)
                said.append(one)
        proxy.say(*said, bounds_s=bounds_s)
        await asyncio.sleep(0.5)
        status = await m.rollout()
        assert status.new.requests >= status.new.errors >= 0
        assert status.new.slow >= 0


async def still_deploys(m: Manager) -> None:
    await m.deploy(replace(web(2), name="another", ports=()))
    await until(lambda: m.converged("another"))


@pytest.mark.parametrize("what", SENSELESS)
def test_senseless_figures_neither_end_the_manager_nor_promote_a_canary(tmp_path: Path, what: str) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1"), FakeProxy(m.address) as proxy:
            await _report_in_a_canary(m, proxy, *SENSELESS[what])
            status = await m.rollout()
            assert status.rollout.share in (50, 0)  # it is held, or went back
            assert status.rollout.state != types_pb2.ROLLOUT_STATE_DONE
            await still_deploys(m)

    asyncio.run(scene())


@pytest.mark.parametrize(
    "bounds_s", [(NAN, NAN), (INFINITE, 1.0), (1.0, 0.1), (-1.0, 0.0), (), tuple(float(n) for n in range(1, 100_000))]
)
def test_senseless_bounds_hold_up_no_good_canary(tmp_path: Path, bounds_s: Sequence[float]) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1"), FakeProxy(m.address) as proxy:
            await _report_in_a_canary(m, proxy, GOOD, bounds_s)
            await until(lambda: m.rollout_is(types_pb2.ROLLOUT_STATE_DONE))
            await still_deploys(m)

    asyncio.run(scene())


@pytest.mark.parametrize("latency_counts", [(), (30,), (30,) * 4, (10**18,) * 10_000, (MOST,) * 3])
def test_more_answers_than_there_can_be_are_survived(tmp_path: Path, latency_counts: Sequence[int]) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1"), FakeProxy(m.address) as proxy:
            stats = types_pb2.EndpointStats(responses_2xx=MOST, latency_counts=latency_counts)
            await _report_in_a_canary(m, proxy, stats, BOUNDS_S, interval_s=30.0)
            assert (await m.rollout()).rollout.share in (50, 0)  # it waits for its time, or all were slow and it went back
            await still_deploys(m)

    asyncio.run(scene())


def test_figures_of_replicas_that_there_are_not_change_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1"), FakeProxy(m.address) as proxy:
            stats = figures(10**6)
            stats.replica_id = "nobody"
            await _report_in_a_canary(m, proxy, stats, BOUNDS_S)
            assert (await m.rollout()).new.requests == 0

    asyncio.run(scene())


def test_an_agent_that_reads_nothing_holds_up_nobody(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1"), channel.dial(m.address) as connection:

            async def said() -> AsyncIterator[dispatch_pb2.AgentMessage]:
                yield hello()
                while True:
                    yield dispatch_pb2.AgentMessage(heartbeat=dispatch_pb2.Heartbeat())
                    await asyncio.sleep(0.05)

            call = dispatch_pb2_grpc.DispatchServiceStub(connection).Connect(said())
            await call.initial_metadata()
            await m.deploy(*(_big(f"s{i}") for i in range(10)))
            await m.deploy(web(2))
            call.cancel()
            await until(lambda: m.converged("web"))

    asyncio.run(scene())


def _big(name: str) -> ServiceSpec:
    environment = {f"V{i}": "x" * 1_000 for i in range(30)}
    return ServiceSpec(name=name, container=ContainerSpec(image="i", environment=environment), mode=Replicated(replicas=4))


async def refused(m: Manager) -> dict[str, int]:
    return dict((await m.control.GetCluster(control_pb2.GetClusterRequest(), timeout=PATIENCE_S)).refused)


def statuses(*given: types_pb2.ReplicaStatus) -> dispatch_pb2.AgentMessage:
    return dispatch_pb2.AgentMessage(status=dispatch_pb2.StatusBatch(replicas=given))


def test_what_no_honest_agent_tells_is_counted_by_kind_and_changes_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1") as a, FakeAgent(m.address, "n2") as b:
            await works(m, 2)
            mine, other = next(iter(a.assignments)), next(iter(b.assignments))
            before = await replicas(m)
            state = types_pb2.ReplicaState.Value
            endpoint = types_pb2.Endpoint(replica_id=mine, address="127.0.0.1", port=70_000, target=80, protocol=TCP)
            running = {"replica_id": mine, "state": state("REPLICA_STATE_RUNNING"), "ready": True}
            lies = {
                "replica-of-another-node": [statuses(types_pb2.ReplicaStatus(**{**running, "replica_id": other}))],  # type: ignore[arg-type]
                "status-backward": [
                    statuses(types_pb2.ReplicaStatus(replica_id=mine, state=state(f"REPLICA_STATE_{name}")))
                    for name in ("ASSIGNED", "PREPARING", "STARTING")
                ],
                "status-impossible": [
                    *(
                        statuses(types_pb2.ReplicaStatus(replica_id=mine, state=state(f"REPLICA_STATE_{name}")))
                        for name in ("PENDING", "DRAINING", "LOST")
                    ),
                    statuses(types_pb2.ReplicaStatus(**running, endpoints=[endpoint])),  # type: ignore[arg-type]
                ],
                "too-large": [
                    statuses(types_pb2.ReplicaStatus(**running, why="x" * 1_000_000)),  # type: ignore[arg-type]
                    statuses(*[types_pb2.ReplicaStatus(**running)] * 25_000),  # type: ignore[arg-type]
                ],
                "generation": [
                    dispatch_pb2.AgentMessage(acknowledge=dispatch_pb2.Acknowledge(generation=generation))
                    for generation in (-1, 2**60)
                ],
                "heartbeat": [
                    dispatch_pb2.AgentMessage(heartbeat=dispatch_pb2.Heartbeat(stats=types_pb2.NodeStats(load_1m=NAN))),
                    dispatch_pb2.AgentMessage(heartbeat=dispatch_pb2.Heartbeat(conditions=[types_pb2.NodeCondition()])),
                ],
                "message": [hello("id-n1", info=info("n1")), dispatch_pb2.AgentMessage()],
            }
            for messages in lies.values():
                for message in messages:
                    a.out.put_nowait(message)
            wanted = {kind: len(messages) for kind, messages in lies.items()}
            await until(lambda: counted(m, wanted))
            assert await replicas(m) == before
            assert (await m.node("n1")).node.conditions == []
            await works(m, 3)

    asyncio.run(scene())


TCP = types_pb2.PORT_PROTOCOL_TCP


async def counted(m: Manager, wanted: dict[str, int]) -> bool:
    return await refused(m) == wanted


async def replicas(m: Manager) -> list[types_pb2.Replica]:
    answer = await m.control.ListReplicas(control_pb2.ListReplicasRequest(), timeout=PATIENCE_S)
    return sorted((r.replica for r in answer.replicas), key=lambda replica: replica.id)


def test_hellos_that_are_refused_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m:
            for _ in range(3):
                for message in REFUSED_HELLOS.values():
                    await say(m.address, [message])
            assert await refused(m) == {"hello": 3 * len(REFUSED_HELLOS)}

    asyncio.run(scene())
    assert len([r for r in caplog.records if r.getMessage().startswith("refused (hello")]) < 5


def test_another_agent_cannot_take_a_connected_nodes_id(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1") as a:
            await works(m, 2)
            assert await say(m.address, [hello("id-n1", info=info("else"))]) is grpc.StatusCode.ALREADY_EXISTS
            assert await refused(m) == {"name-taken": 1}
            assert (await m.node("n1")).node.info.hostname == "n1"
            assert len(a.assignments) == 2
            await works(m, 3)

    asyncio.run(scene())


def test_of_two_streams_of_one_agent_the_newer_counts(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1") as a:
            await works(m, 2)
            held = dict(a.assignments)
            twin = FakeAgent(m.address, "n1")
            async with twin:
                await a.die()
                await until(lambda: twin.assignments.keys() == held.keys())
                assert (await refused(m))["opened-twice"] >= 1
                await works(m, 3)

    asyncio.run(scene())


@pytest.mark.parametrize("off_s", [-7_200.0, 7_200.0, 1e12, -1e300, NAN])
def test_an_agents_clock_orders_and_times_nothing(tmp_path: Path, off_s: float) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1") as a:
            await works(m, 1)
            (replica_id,) = a.assignments
            began = (await m.control.GetCluster(control_pb2.GetClusterRequest(), timeout=PATIENCE_S)).started_at
            running = types_pb2.REPLICA_STATE_RUNNING
            for ready in (False, True):
                status = types_pb2.ReplicaStatus(
                    replica_id=replica_id, state=running, ready=ready, why=f"ready {ready}", at=began + off_s
                )
                a.out.put_nowait(statuses(status))
                await until(lambda ready=ready: shows(m, f"ready {ready}"))  # type: ignore[misc]
            (replica,) = await replicas(m)
            assert began <= replica.ready_at <= began + PATIENCE_S * 2
            assert began <= replica.changed_at <= began + PATIENCE_S * 2
            assert await m.converged("web")

    asyncio.run(scene())


async def shows(m: Manager, why: str) -> bool:
    return [replica.why for replica in await replicas(m)] == [why]
