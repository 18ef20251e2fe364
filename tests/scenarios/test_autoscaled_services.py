"""Autoscaled services of a whole manager over real connections, with agents and a proxy that only speak."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from fake_agent import FakeAgent
from fake_proxy import FakeProxy
from rookery.model import (
    Autoscale,
    AutoscaleStatus,
    ContainerSpec,
    Port,
    ReplicaId,
    Replicated,
    Resources,
    ScaleMetric,
    ScalePace,
    ScaleTarget,
    ServiceSpec,
)
from rookery.v1 import control_pb2
from rookery.wire import decode, encode
from whole_manager import PATIENCE_S, Manager, manager, until

POLICY = Autoscale(
    minimum=1,
    maximum=8,
    targets=(ScaleTarget(metric=ScaleMetric.CONCURRENCY, value=10.0),),
    down=ScalePace(window_s=1.0),
)
TO_ZERO = dataclasses.replace(POLICY, minimum=0, idle_s=2.0)


def web(policy: Autoscale | None = POLICY, image: str = "web:1", replicas: int = 1) -> ServiceSpec:
    return ServiceSpec(
        name="web",
        container=ContainerSpec(image=image),
        mode=Replicated(replicas=replicas),
        ports=(Port(target=80, published=8080),),
        autoscale=policy,
    )


@contextlib.asynccontextmanager
async def reporting(m: Manager) -> AsyncIterator[FakeProxy]:
    """A proxy that reports as often as a real one, and more."""

    async def report(proxy: FakeProxy) -> None:
        while True:
            proxy.tell()
            await asyncio.sleep(0.1)

    async with FakeProxy(m.address) as proxy:
        task = asyncio.create_task(report(proxy))
        try:
            yield proxy
        finally:
            task.cancel()


async def ready(m: Manager, number: int) -> None:
    async def there() -> bool:
        status = await m.status("web")
        return status.ready == status.wanted == number

    await until(there)


async def scaling(m: Manager) -> AutoscaleStatus:
    request = control_pb2.GetAutoscaleRequest(app="shop", service="web")
    return decode(AutoscaleStatus, await m.control.GetAutoscale(request, timeout=PATIENCE_S))


def busy(proxy: FakeProxy, in_flight: int) -> None:
    """So many requests in flight, all on one replica."""
    some = sorted(proxy.endpoints("shop/web:8080"))[:1]
    proxy.in_flight = {ReplicaId(replica_id): in_flight for replica_id in some}


def test_the_number_follows_the_traffic_and_says_why(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1"), reporting(m) as proxy:
            await m.deploy(web())
            await until(lambda: len(proxy.endpoints("shop/web:8080")) == 1)
            busy(proxy, 68)
            await ready(m, 7)
            status = await scaling(m)
            assert (status.replicas, status.ready, status.minimum, status.maximum) == (7, 7, 1, 8)
            assert status.decisions[0].after == 7
            assert status.decisions[0].why.endswith("requests in flight, 10 wanted per replica")
            events = (await m.control.ListEvents(control_pb2.ListEventsRequest(subject="shop/web", limit=1000))).events
            assert any(event.why.endswith("requests in flight, 10 wanted per replica") for event in events)
            before = m.control.GetService(control_pb2.GetServiceRequest(app="shop", service="web"))
            revision = (await before).status.service.revision
            await m.deploy(web())  # the same again
            await m.deploy(web(dataclasses.replace(POLICY, maximum=7)))  # and another policy
            after = await m.control.GetService(control_pb2.GetServiceRequest(app="shop", service="web"))
            assert (after.status.service.replicas, after.status.service.revision) == (7, revision + 1)
            assert {replica.revision for replica in after.replicas if replica.ready} <= {revision, revision + 1}
            assert all(replica.restarts == 0 for replica in after.replicas)
            busy(proxy, 0)
            await ready(m, 1)

    asyncio.run(scene())


def test_an_update_goes_on_while_the_number_grows(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1"), FakeAgent(m.address, "n2"), reporting(m) as proxy:
            spec = web(replicas=3)
            quick = dataclasses.replace(spec, update=dataclasses.replace(spec.update, monitor_s=0.2))
            await m.deploy(dataclasses.replace(quick, autoscale=dataclasses.replace(POLICY, minimum=3)))
            await until(lambda: len(proxy.endpoints("shop/web:8080")) == 3)
            container = ContainerSpec(image="web:2")
            await m.deploy(dataclasses.replace(quick, container=container, autoscale=dataclasses.replace(POLICY, minimum=3)))

            async def updated() -> bool:
                busy(proxy, 60)  # on one that is there now
                status = await m.status("web")
                return (status.converged, status.wanted, status.updated) == (True, 6, 6)

            await until(updated)

    asyncio.run(scene())


def test_without_a_proxy_nothing_changes_and_the_status_says_so(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1"):
            await m.deploy(web(dataclasses.replace(TO_ZERO, down=ScalePace()), replicas=4))
            await ready(m, 4)

            async def told() -> bool:
                latest = (await scaling(m)).latest
                return latest is not None and latest.why == "concurrency is not known: no proxy is connected"

            await until(told)
            await asyncio.sleep(2.0)  # longer than any window
            assert (await m.status("web")).wanted == 4

    asyncio.run(scene())


def test_by_what_agents_report_of_processor_and_memory(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1") as agent:
            targets = (
                ScaleTarget(metric=ScaleMetric.CPU, value=60.0),
                ScaleTarget(metric=ScaleMetric.MEMORY, value=50.0),
            )
            limits = Resources(cpus=0.5, memory_bytes=1000)
            spec = dataclasses.replace(web(dataclasses.replace(POLICY, targets=targets), replicas=2), limits=limits)
            await m.deploy(dataclasses.replace(spec, ports=()))  # no proxy is needed
            agent.each_uses = {"cpu_percent": 10.0, "memory_bytes": 700}  # of a core; 20 and 70 percent of the limits
            await until(lambda: _wants(m, ScaleMetric.MEMORY, 3))
            agent.each_uses = {"cpu_percent": 45.0, "memory_bytes": 100}  # 90 percent: each that comes is as busy
            await ready(m, 8)
            agent.each_uses = {}
            await until(lambda: _tells(m, "cpu is not known: node n1 does not report what shop/web."))
            await asyncio.sleep(1.5)  # longer than the window
            assert (await m.status("web")).wanted == 8
            agent.each_uses = {"cpu_percent": 1.0, "memory_bytes": 10}
            await ready(m, 1)

    asyncio.run(scene())


async def _wants(m: Manager, metric: ScaleMetric, number: int) -> bool:
    latest = (await scaling(m)).latest
    return latest is not None and any(figure.metric is metric and figure.wants >= number for figure in latest.figures)


async def _tells(m: Manager, why: str) -> bool:
    latest = (await scaling(m)).latest
    return latest is not None and latest.why.startswith(why)


def test_to_zero_and_back_also_over_a_restart_of_the_manager(tmp_path: Path) -> None:
    async def scene() -> None:
        async with contextlib.AsyncExitStack() as others:
            async with manager(tmp_path) as m:
                port = int(m.address.rpartition(":")[2])
                await others.enter_async_context(FakeAgent(m.address, "n1"))
                proxy = await others.enter_async_context(FakeProxy(m.address))
                await m.deploy(web(TO_ZERO))
                await until(lambda: len(proxy.endpoints("shop/web:8080")) == 1)
                assert proxy.routes[proxy.watched].hold is not None

                async def at_zero() -> bool:
                    proxy.tell()
                    status = await m.status("web")
                    return status.running == status.wanted == 0

                await until(at_zero)
                assert not proxy.endpoints("shop/web:8080")
            proxy.held = 3  # they come while there is no manager
            async with manager(tmp_path, port=port) as m:

                async def woken() -> bool:
                    proxy.tell()
                    return len(proxy.endpoints("shop/web:8080")) == 1

                await until(woken)
                told = [(made.before, made.after, made.why) for made in (await scaling(m)).decisions]
                assert told == [
                    (0, 1, "3 requests wait for a replica"),
                    (1, 0, "no request for 2 s"),
                ]  # that before the restart too
                proxy.held = 0
                busy(proxy, 3)
                for _ in range(20):  # it stays while there is a request
                    proxy.tell()
                    await asyncio.sleep(0.1)
                assert (await m.status("web")).ready == 1

    asyncio.run(scene())


def test_what_an_operator_sets_counts_until_the_next_deploy(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1"), reporting(m):
            await m.deploy(web())
            await ready(m, 1)
            with pytest.raises(grpc.aio.AioRpcError, match="rookery autoscale off shop/web"):
                await m.control.Scale(control_pb2.ScaleRequest(app="shop", service="web", replicas=3))
            request = control_pb2.SetAutoscaleRequest(app="shop", service="web", policy=encode(POLICY), actor="ann")
            request.policy.minimum = 3
            assert decode(AutoscaleStatus, await m.control.SetAutoscale(request)).by_hand
            await ready(m, 3)
            await m.control.SetAutoscale(control_pb2.SetAutoscaleRequest(app="shop", service="web", actor="ann"))
            await m.control.Scale(control_pb2.ScaleRequest(app="shop", service="web", replicas=2))
            await ready(m, 2)
            assert (await scaling(m)).policy is None
            await m.deploy(web())
            status = await scaling(m)
            assert (status.policy, status.by_hand) == (POLICY, False)
            request.policy.minimum = 9
            with pytest.raises(grpc.aio.AioRpcError, match=r"policy\.minimum: 9 is more than the maximum, 8"):
                await m.control.SetAutoscale(request)

    asyncio.run(scene())
