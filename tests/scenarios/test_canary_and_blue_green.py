"""Canaries and blue-green from deploy to done, over real connections: what proxies are told to do, and what they say of it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from fake_agent import FakeAgent
from fake_proxy import FakeProxy
from rookery.model import (
    BlueGreen,
    Canary,
    ContainerSpec,
    Desired,
    Port,
    Replicated,
    Rolling,
    ServiceSpec,
    Strategy,
    UpdateConfig,
)
from rookery.v1 import control_pb2, types_pb2
from whole_manager import Manager, manager, until

ROUTE = "shop/web:8080"
CANARY = Canary(steps=(10, 50, 100), interval_s=0.2, min_requests=20)
DONE, ROLLED_BACK = types_pb2.ROLLOUT_STATE_DONE, types_pb2.ROLLOUT_STATE_ROLLED_BACK
WAIT_S = 1.5  # more than the manager takes between two looks at the figures


def web(number: int, strategy: Strategy = CANARY, replicas: int = 4) -> ServiceSpec:
    return ServiceSpec(
        name="web",
        container=ContainerSpec(image=f"web:{number}"),
        mode=Replicated(replicas=replicas),
        ports=(Port(target=80, published=8080),),
        update=UpdateConfig(parallelism=0, monitor_s=0.05),
        rollback=UpdateConfig(parallelism=0, monitor_s=0.05),
        drain_timeout_s=20.0,
        strategy=strategy,
    )


@dataclass(slots=True)
class World:
    m: Manager
    agents: tuple[FakeAgent, ...]
    proxy: FakeProxy

    def image(self, replica_id: str) -> str:
        return next(a.ever[r] for a in self.agents for r in a.ever if r == replica_id)

    def images(self, replica_ids: Iterable[str]) -> list[str]:
        return sorted(self.image(replica_id) for replica_id in replica_ids)

    def of(self, image: str) -> set[str]:
        """The replicas of an image that are to run."""
        return {
            r
            for agent in self.agents
            for r, a in agent.assignments.items()
            if agent.ever[r] == image and a.desired is Desired.RUN
        }

    def shares(self) -> list[int]:
        """The shares of the new replicas in the route table, each once, in order; 0 is no split."""
        found = [table.split.share if table.split else 0 for table in self.proxy.tables]
        return [share for i, share in enumerate(found) if i == 0 or found[i - 1] != share]

    async def share(self, share: int) -> None:
        async def is_so() -> bool:
            return (await self.m.rollout()).rollout.share == share

        await until(is_so)

    async def table_has(self, share: int) -> None:
        def is_so() -> bool:
            split = self.proxy.tables[-1].split
            return split is not None and split.share == share

        await until(is_so)


def in_world(scene: Callable[[World], Awaitable[None]], data: Path) -> None:
    """web:1 runs, on two nodes, behind a proxy."""

    async def run() -> None:
        async with AsyncExitStack() as stack:
            m = await stack.enter_async_context(manager(data))
            agents = tuple([await stack.enter_async_context(FakeAgent(m.address, name)) for name in ("n1", "n2")])
            proxy = await stack.enter_async_context(FakeProxy(m.address))
            await m.deploy(web(1, Rolling()))
            await until(lambda: len(proxy.endpoints(ROUTE)) == 4)
            await until(lambda: m.converged("web"))
            del proxy.tables[:-1]  # from here on
            await scene(World(m, agents, proxy))

    asyncio.run(run())


def test_a_canary_gets_its_shares_one_after_another_and_is_promoted_by_the_figures(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.m.deploy(web(2))
        for share, new in ((10, 1), (50, 2)):
            await world.table_has(share)
            split = world.proxy.tables[-1].split
            assert split is not None
            assert world.images(split.replica_ids) == ["web:2"] * new
            assert world.images(world.proxy.endpoints(ROUTE)) == ["web:1"] * 4 + ["web:2"] * new
            old = world.proxy.endpoints(ROUTE) - set(split.replica_ids)
            world.proxy.answer(split.replica_ids, ok=30)
            world.proxy.answer(old, ok=90)
        await until(lambda: world.m.rollout_is(DONE))
        await until(lambda: world.m.converged("web"))
        await until(lambda: world.images(world.proxy.endpoints(ROUTE)) == ["web:2"] * 4)
        assert world.shares() == [0, 10, 50, 0]
        assert sum(len(agent.ever) for agent in world.agents) == 8
        events = await world.m.control.ListEvents(control_pb2.ListEventsRequest(subject="shop/web"))
        whys = [event.why for event in events.events]
        assert "rolling: canary: 10 % of the requests go to revision 2" in whys
        assert any(why.startswith("rolling: as good at 10 %: 0 of 30 requests to revision 2 failed") for why in whys), whys
        assert "rolling: canary: 100 % of the requests go to revision 2" in whys

    in_world(scene, tmp_path)


def test_a_canary_that_fails_more_often_goes_back_and_says_with_which_figures(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        before = world.of("web:1")
        await world.m.deploy(web(2))
        await world.table_has(10)
        world.proxy.answer(before, ok=100)
        world.proxy.answer(world.of("web:2"), ok=15, failed=10)
        await until(lambda: world.m.rollout_is(ROLLED_BACK))
        rollout = (await world.m.rollout()).rollout
        assert rollout.why == (
            "revision 2 is rolled back to 1: 10 of 25 requests to revision 2 failed, of revision 1 in the same time 0 of 400"
        )
        await until(lambda: world.proxy.endpoints(ROUTE) == before)
        assert world.shares() == [0, 10, 0]
        assert world.of("web:1") == before  # none of them was touched
        await until(lambda: not world.of("web:2"))
        assert (await world.m.status("web")).service.revision == 1

    in_world(scene, tmp_path)


def test_a_canary_that_answers_more_slowly_goes_back(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.m.deploy(web(2))
        await world.table_has(10)
        world.proxy.answer(world.of("web:1"), ok=100)
        world.proxy.answer(world.of("web:2"), ok=15, slow=15)
        await until(lambda: world.m.rollout_is(ROLLED_BACK))
        why = (await world.m.rollout()).rollout.why
        assert why.endswith("15 of 30 answers of revision 2 took longer than 0.1 s, of revision 1 in the same time 0 of 400")

    in_world(scene, tmp_path)


def test_a_canary_with_too_few_requests_is_held_and_says_so(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.m.deploy(web(2))
        await world.table_has(10)
        world.proxy.answer(world.of("web:2"), ok=7)
        world.proxy.answer(world.of("web:1"), ok=100)
        await asyncio.sleep(WAIT_S)
        status = await world.m.rollout()
        assert (status.rollout.share, status.rollout.step) == (10, 0)
        assert status.waits_for == "canary at 10 %; held: revision 2 has answered 7 of the 20 requests it is judged by"
        assert (status.new.requests, status.old.requests) == (7, 400)
        world.proxy.answer(world.of("web:2"), ok=13)
        await world.share(50)

    in_world(scene, tmp_path)


def test_figures_of_a_paused_canary_are_not_held_against_it(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.m.deploy(web(2))
        await world.table_has(10)
        await world.m.act(control_pb2.ROLLOUT_ACTION_PAUSE)
        world.proxy.answer(world.of("web:1"), ok=100)
        world.proxy.answer(world.of("web:2"), failed=100)
        await asyncio.sleep(WAIT_S)
        paused = await world.m.rollout()
        assert (paused.rollout.state, paused.rollout.share) == (types_pb2.ROLLOUT_STATE_PAUSED, 10)
        assert world.shares() == [0, 10]
        await world.m.act(control_pb2.ROLLOUT_ACTION_RESUME)

        async def begun_anew() -> bool:
            resumed = await world.m.rollout()
            return (resumed.rollout.state, resumed.new.requests) == (types_pb2.ROLLOUT_STATE_ROLLING, 0)

        await until(begun_anew)
        world.proxy.answer(world.of("web:2"), ok=30)
        await world.share(50)

    in_world(scene, tmp_path)


def test_an_aborted_canary_leaves_the_old_replicas_untouched(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        before = world.of("web:1")
        await world.m.deploy(web(2))
        await world.table_has(10)
        await world.m.act(control_pb2.ROLLOUT_ACTION_ABORT)
        await until(lambda: world.m.rollout_is(ROLLED_BACK))
        await until(lambda: not world.of("web:2"))
        assert world.of("web:1") == before == world.proxy.endpoints(ROUTE)

    in_world(scene, tmp_path)


def test_a_canary_that_is_restarted_and_then_aborted_leaves_the_old_replicas_untouched(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        before = world.of("web:1")
        await world.m.deploy(web(2))
        await world.table_has(10)
        first = world.of("web:2")
        await world.m.control.Restart(control_pb2.RestartRequest(app="shop", service="web"))
        await until(lambda: bool(world.of("web:2")) and not world.of("web:2") & first)
        await world.share(10)
        await world.m.act(control_pb2.ROLLOUT_ACTION_ABORT)
        await until(lambda: world.m.rollout_is(ROLLED_BACK))
        await until(lambda: not world.of("web:2"))
        assert world.of("web:1") == before

    in_world(scene, tmp_path)


def test_blue_green_changes_over_at_once_when_all_are_ready_and_keeps_the_old_ones_for_a_time(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        before = world.of("web:1")
        late = world.agents[1]
        late.refuses = True
        await world.m.deploy(web(2, BlueGreen(keep_s=1.0)))
        await until(lambda: len(world.of("web:2")) == 4)

        async def waits() -> bool:
            return (await world.m.rollout()).waits_for.startswith("2 of 4 new replicas are ready")

        await until(waits)
        assert world.proxy.endpoints(ROUTE) == before
        late.accept()
        await until(lambda: world.proxy.endpoints(ROUTE) == world.of("web:2"))
        assert world.of("web:1") == before
        kept = await world.m.rollout()
        assert kept.rollout.why == "blue-green: all requests go to revision 2; 1 is kept for 1 s"
        await until(lambda: world.m.rollout_is(DONE))
        done = (await world.m.rollout()).rollout
        assert done.changed_at - kept.rollout.step_at >= 1.0
        await until(lambda: not world.of("web:1"))
        for table in world.proxy.tables:  # in no version were there some of both
            found = world.images(endpoint.replica_id for endpoint in table.endpoints)
            assert found in (["web:1"] * 4, ["web:2"] * 4)
        assert sum(len(agent.ever) for agent in world.agents) == 8

    in_world(scene, tmp_path)


def test_the_old_side_of_blue_green_is_stopped_when_no_proxy_sends_it_anything(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        before = world.of("web:1")
        world.proxy.holds = True
        await world.m.deploy(web(2, BlueGreen(keep_s=0.2)))
        await until(lambda: world.proxy.endpoints(ROUTE) == world.of("web:2") != set())
        await until(lambda: world.m.rollout_is(DONE))
        await asyncio.sleep(0.8)  # more than a lease
        assert world.of("web:1") == before  # the proxy still sends them requests, for all the manager knows
        busy = min(before)
        world.proxy.in_flight = {busy: 1}  # type: ignore[dict-item]
        world.proxy.holds = False
        world.proxy.acknowledge()
        await until(lambda: world.of("web:1") == {busy})
        world.proxy.in_flight = {}
        world.proxy.tell()
        await until(lambda: not world.of("web:1"))
        await until(lambda: world.m.converged("web"))

    in_world(scene, tmp_path)


def test_the_way_back_within_the_time_of_blue_green_is_as_short(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        before = world.of("web:1")
        await world.m.deploy(web(2, BlueGreen(keep_s=60.0)))
        await until(lambda: world.proxy.endpoints(ROUTE) == world.of("web:2") != set())
        await world.m.act(control_pb2.ROLLOUT_ACTION_ABORT)
        await until(lambda: world.proxy.endpoints(ROUTE) == before)
        await until(lambda: world.m.rollout_is(ROLLED_BACK))
        assert world.of("web:1") == before
        assert sum(len(agent.ever) for agent in world.agents) == 8

    in_world(scene, tmp_path)
