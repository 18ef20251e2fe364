"""A manager that is killed in the middle of a rollout: the next one on its store goes on where that one was.

Same step, same share, no replica started that would not have been without it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from fake_agent import FakeAgent
from fake_proxy import FakeProxy
from manager_process import Process, process
from rookery import channel
from rookery.model import (
    BlueGreen,
    Canary,
    ContainerSpec,
    Dependency,
    DependencyCondition,
    Desired,
    Port,
    Replicated,
    Rolling,
    ServiceSpec,
    Strategy,
    UpdateConfig,
)
from rookery.v1 import control_pb2, control_pb2_grpc, types_pb2
from whole_manager import Manager, until

ROUTE = "shop/web:8080"
DONE, PAUSED = types_pb2.ROLLOUT_STATE_DONE, types_pb2.ROLLOUT_STATE_PAUSED
REPLICAS = 4
AWAY_S = 0.3
QUIET_S = 1.0  # in which nothing may happen


def web(number: int, strategy: Strategy | None = None, **changes: object) -> ServiceSpec:
    made = ServiceSpec(
        name="web",
        container=ContainerSpec(image=f"web:{number}"),
        mode=Replicated(replicas=REPLICAS),
        ports=(Port(target=80, published=8080),),
        update=UpdateConfig(parallelism=1, monitor_s=0.4),
        rollback=UpdateConfig(parallelism=1, monitor_s=0.4),
        drain_timeout_s=20.0,
        strategy=strategy or Rolling(),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@dataclass(slots=True)
class World:
    process: Process
    m: Manager
    agents: tuple[FakeAgent, ...]
    proxy: FakeProxy

    async def killed(self) -> None:
        """Killed, and there again, with all agents and the proxy."""
        await self.process.kill()
        await asyncio.sleep(AWAY_S)
        for agent in self.agents:
            agent.connected.clear()
        await self.process.start()
        for agent in self.agents:
            async with asyncio.timeout(60):
                await agent.connected.wait()
        await until(self._proxy_is_back)

    async def _proxy_is_back(self) -> bool:
        request = control_pb2.ListProxiesRequest()
        proxies = (await self.m.control.ListProxies(request, timeout=60, wait_for_ready=True)).proxies
        return all(p.connected and p.acked_version >= self.proxy.version for p in proxies) and bool(proxies)

    def of(self, image: str) -> set[str]:
        """The replicas of an image that are to run."""
        return {
            r
            for agent in self.agents
            for r, a in agent.assignments.items()
            if agent.ever[r] == image and a.desired is Desired.RUN
        }

    @property
    def created(self) -> int:
        return sum(len(agent.ever) for agent in self.agents)

    def split(self) -> int:
        """The share of the new revision in the route table; 0 without one."""
        route = self.proxy.routes.get(self.proxy.watched)
        return route.split.share if route is not None and route.split is not None else 0

    async def control(self, name: str, request: object) -> None:
        await getattr(self.m.control, name)(request, timeout=60, wait_for_ready=True)


def in_world(scene: Callable[[World], Awaitable[None]], data: Path, *services: ServiceSpec) -> None:
    """The services run, on two nodes, behind a proxy."""

    async def run() -> None:
        async with AsyncExitStack() as stack:
            running = await stack.enter_async_context(process(data, "--heartbeat", "0.2", "--lease", "4"))
            agents = tuple([await stack.enter_async_context(FakeAgent(running.address, name)) for name in ("n1", "n2")])
            proxy = await stack.enter_async_context(FakeProxy(running.address))
            connection = await stack.enter_async_context(channel.dial(running.address))
            m = Manager(running.address, control_pb2_grpc.ControlServiceStub(connection))
            world = World(running, m, agents, proxy)
            await m.deploy(*services)
            for service in services:
                await until(lambda name=service.name: m.converged(name))
            await until(lambda: len(proxy.endpoints(ROUTE)) == REPLICAS)
            assert world.created == REPLICAS * len(services)
            await scene(world)

    asyncio.run(run())


def same(before: control_pb2.RolloutStatus, after: control_pb2.RolloutStatus) -> bool:
    return before.rollout == after.rollout and before.rollout.number > 0


def test_in_the_middle_of_a_canary_step(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.m.deploy(web(2, Canary(steps=(25, 100), interval_s=2.0, min_requests=20)))
        await until(lambda: world.split() == 25)
        before, old, new = await world.m.rollout(), world.of("web:1"), world.of("web:2")
        world.proxy.answer(new, ok=15)
        await world.killed()
        after = await world.m.rollout()
        assert same(before, after)
        assert (after.rollout.share, after.rollout.step) == (25, 0)
        assert world.split() == 25
        assert (world.of("web:1"), world.of("web:2")) == (old, new)
        await asyncio.sleep(2.0)
        held = await world.m.rollout()
        assert held.rollout == before.rollout
        assert "has answered 0 of the 20 requests" in held.waits_for  # what the first manager was told is gone with it
        world.proxy.answer(old, ok=100)
        world.proxy.answer(new, ok=30)
        await until(lambda: world.m.rollout_is(DONE))
        await until(lambda: world.proxy.endpoints(ROUTE) == world.of("web:2"))
        assert new < world.of("web:2")  # the canary itself stays
        assert world.created == 2 * REPLICAS

    in_world(scene, tmp_path, web(1))


def test_while_a_canary_gets_ready(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        for agent in world.agents:
            agent.refuses = True
        await world.m.deploy(web(2, Canary(steps=(50, 100), interval_s=0.2, min_requests=1)))
        await until(lambda: len(world.of("web:2")) == 2)
        before, new = await world.m.rollout(), world.of("web:2")
        await world.killed()
        assert same(before, await world.m.rollout())
        assert (world.split(), world.of("web:2")) == (0, new)
        for agent in world.agents:
            agent.accept()
        await until(lambda: world.split() == 50)
        assert world.of("web:2") == new
        assert world.created == REPLICAS + 2

    in_world(scene, tmp_path, web(1))


def test_while_the_old_side_of_blue_green_is_kept(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        began = time.monotonic()
        await world.killed()
        keep_s = 3.0 + 3 * (time.monotonic() - began)  # so that it is kept when the next manager has taken over
        await world.m.deploy(web(2, BlueGreen(keep_s=keep_s)))
        await until(lambda: world.proxy.endpoints(ROUTE) == world.of("web:2") != set())
        before, old, new = await world.m.rollout(), world.of("web:1"), world.of("web:2")
        assert len(old) == len(new) == REPLICAS
        await world.killed()
        after = await world.m.rollout()
        assert same(before, after)
        assert world.proxy.endpoints(ROUTE) == new
        assert world.of("web:1") == old
        await until(lambda: world.m.rollout_is(DONE))
        ended = (await world.m.rollout()).rollout
        assert keep_s <= ended.changed_at - before.rollout.step_at < keep_s + 15  # the time went on while there was no manager
        await until(lambda: not world.of("web:1"))
        assert world.of("web:2") == new
        assert world.created == 2 * REPLICAS

    in_world(scene, tmp_path, web(1))


def test_in_the_middle_of_a_restart(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        first = world.of("web:1")
        await world.control("Restart", control_pb2.RestartRequest(app="shop", service="web"))
        await until(lambda: world.created >= REPLICAS + 2)
        before, new = await world.m.rollout(), world.of("web:1") - first
        await world.killed()
        assert same(before, await world.m.rollout())
        await until(lambda: world.m.rollout_is(DONE))
        await until(lambda: world.m.converged("web"))
        assert not world.of("web:1") & first
        assert new < world.of("web:1")  # what was restarted already was not restarted again
        assert world.created == 2 * REPLICAS

    in_world(scene, tmp_path, web(1))


def test_in_a_pause(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.m.deploy(web(2))
        await until(lambda: world.created >= REPLICAS + 2)
        paused = await world.m.act(control_pb2.ROLLOUT_ACTION_PAUSE)
        await asyncio.sleep(QUIET_S)
        old, new, created = world.of("web:1"), world.of("web:2"), world.created
        await world.killed()
        assert same(paused, await world.m.rollout())
        await asyncio.sleep(QUIET_S)
        assert same(paused, await world.m.rollout())
        assert (world.of("web:1"), world.of("web:2"), world.created) == (old, new, created)
        await world.m.act(control_pb2.ROLLOUT_ACTION_RESUME)
        await until(lambda: world.m.rollout_is(DONE))
        await until(lambda: world.m.converged("web"))
        assert new < world.of("web:2")
        assert world.created == 2 * REPLICAS

    in_world(scene, tmp_path, web(1))


def test_on_the_way_back_of_an_aborted_rollout(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.m.deploy(web(2))
        await until(lambda: len(world.of("web:2")) >= 2)
        for agent in world.agents:
            agent.refuses = True  # so the next one does not get ready, and it goes no further by itself
        kept = world.of("web:1")
        before = await world.m.act(control_pb2.ROLLOUT_ACTION_ABORT)
        await world.killed()
        assert same(before, await world.m.rollout())
        for agent in world.agents:
            agent.accept()
        await until(lambda: world.m.rollout_is(types_pb2.ROLLOUT_STATE_ROLLED_BACK))
        await until(lambda: not world.of("web:2"))
        assert kept & world.of("web:1")
        assert len(world.of("web:1")) == REPLICAS

    in_world(scene, tmp_path, web(1))


def chain(number: int) -> list[ServiceSpec]:
    """web -> api -> db."""

    def one(name: str, after: str) -> ServiceSpec:
        depends_on = (Dependency(service=after, condition=DependencyCondition.SERVICE_HEALTHY),) if after else ()
        spec = web(number, name=name, container=ContainerSpec(image=f"{name}:{number}"), depends_on=depends_on)
        fast = UpdateConfig(parallelism=2, monitor_s=0.3)
        return replace(spec, update=fast, rollback=fast, ports=spec.ports if name == "web" else ())

    return [one("db", ""), one("api", "db"), one("web", "api")]


def test_in_the_middle_of_the_return_of_an_app(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.m.deploy(*chain(2))
        for name in ("db", "api", "web"):
            await until(lambda name=name: world.m.rollout_is(DONE, name))
            await until(lambda name=name: world.m.converged(name))
        assert world.created == 6 * REPLICAS
        await world.control("Rollback", control_pb2.RollbackRequest(app="shop"))
        await until(lambda: bool(world.of("api:1")))
        before = {name: await world.m.rollout(name) for name in ("db", "api", "web")}
        assert before["web"].rollout.state == DONE
        assert not world.of("db:1")
        back = world.of("web:1")
        await world.killed()
        after = {name: await world.m.rollout(name) for name in ("db", "api", "web")}
        assert same(before["db"], after["db"])
        assert same(before["web"], after["web"])
        assert after["api"].rollout.number == before["api"].rollout.number
        for name in ("api", "db"):
            await until(lambda name=name: world.m.rollout_is(DONE, name))
            await until(lambda name=name: world.m.converged(name))
        rollouts = {name: (await world.m.rollout(name)).rollout for name in ("db", "api", "web")}
        assert rollouts["web"].changed_at <= rollouts["api"].changed_at <= rollouts["db"].changed_at
        assert world.of("web:1") == back
        assert world.created == 9 * REPLICAS

    in_world(scene, tmp_path, *chain(1))
