"""The services of an app go in the order of their dependencies, and return in the reverse order; over real connections."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from fake_agent import FakeAgent
from rookery.model import (
    ContainerSpec,
    Dependency,
    DependencyCondition,
    FailureAction,
    Replicated,
    ServiceSpec,
    UpdateConfig,
)
from rookery.v1 import control_pb2, types_pb2
from whole_manager import Manager, manager, until

DONE, ROLLED_BACK, PAUSED = types_pb2.ROLLOUT_STATE_DONE, types_pb2.ROLLOUT_STATE_ROLLED_BACK, types_pb2.ROLLOUT_STATE_PAUSED
CHAIN = ("db", "api", "web")  # each depends on the one before it
REPLICAS = 2


def shop(number: int, on_failure: FailureAction = FailureAction.ROLLBACK) -> list[ServiceSpec]:
    specs = []
    for before, name in zip(("", *CHAIN), CHAIN, strict=False):
        depends_on = (Dependency(service=before, condition=DependencyCondition.SERVICE_HEALTHY),) if before else ()
        specs.append(
            ServiceSpec(
                name=name,
                container=ContainerSpec(image=f"{name}:{number}"),
                mode=Replicated(replicas=REPLICAS),
                depends_on=depends_on,
                update=UpdateConfig(parallelism=1, monitor_s=0.1, failure_action=on_failure),
                rollback=UpdateConfig(parallelism=1, monitor_s=0.1),
            )
        )
    return specs


def in_shop(scene: Callable[[Manager, FakeAgent], Awaitable[None]], data: Path) -> None:
    """All three are there in their first revision."""

    async def run() -> None:
        async with AsyncExitStack() as stack:
            m = await stack.enter_async_context(manager(data))
            agent = await stack.enter_async_context(FakeAgent(m.address, "n1"))
            await m.deploy(*shop(1))
            await until(lambda: all_are(m, "converged"))
            await scene(m, agent)

    asyncio.run(run())


async def all_are(m: Manager, what: str) -> bool:
    return all([getattr(await m.status(name), what) for name in CHAIN])


async def all_done(m: Manager) -> bool:
    return all([await m.rollout_is(DONE, name) for name in CHAIN])


async def check_order(m: Manager, agent: FakeAgent, names: tuple[str, ...], number: int) -> None:
    """Nothing of a service was created before the one that goes first was through."""
    events = (await m.control.ListEvents(control_pb2.ListEventsRequest(limit=1000))).events
    rollouts = {name: (await m.rollout(name)).rollout for name in names}
    created: dict[str, list[float]] = {name: [] for name in names}
    for event in events:
        for name in names:
            if event.subject.startswith(f"shop/{name}.") and event.why.startswith("create: "):
                created[name].append(event.at)
    for first, second in itertools.pairwise(names):
        ours = [at for at in created[second] if at >= rollouts[second].started_at]
        assert len(ours) == REPLICAS
        assert min(ours) >= rollouts[first].changed_at, f"{second} began before {first} was through"
    assert [image for image in agent.ever.values() if image.endswith(f":{number}")][-len(names) * REPLICAS :] == [
        f"{name}:{number}" for name in names for _ in range(REPLICAS)
    ]


def test_an_update_of_all_goes_from_what_is_depended_on_to_what_depends_on_it(tmp_path: Path) -> None:
    async def scene(m: Manager, agent: FakeAgent) -> None:
        agent.refuses = True
        await m.deploy(*shop(2))
        waiting = await m.rollout("web")
        assert waiting.waits_for == "revision 2 of shop/api, which is rolling"
        agent.accept()
        await until(lambda: all_done(m))
        await check_order(m, agent, CHAIN, 2)

    in_shop(scene, tmp_path)


def test_the_return_of_an_app_goes_the_other_way_round(tmp_path: Path) -> None:
    async def scene(m: Manager, agent: FakeAgent) -> None:
        await m.deploy(*shop(2))
        await until(lambda: all_done(m))
        await until(lambda: all_are(m, "converged"))
        agent.refuses = True
        answer = await m.control.Rollback(control_pb2.RollbackRequest(app="shop"))
        assert (answer.before, answer.after) == (2, 1)
        waiting = await m.rollout("db")
        assert waiting.waits_for == "shop/api, which depends on it, to be back at revision 1"
        agent.accept()
        await until(lambda: all_done(m))
        await check_order(m, agent, ("web", "api", "db"), 1)
        await until(lambda: all_are(m, "converged"))

    in_shop(scene, tmp_path)


def test_an_update_that_fails_and_goes_back_lets_the_others_go_on(tmp_path: Path) -> None:
    async def scene(m: Manager, agent: FakeAgent) -> None:
        agent.crashing = "db:2"
        await m.deploy(*shop(2))
        await until(lambda: m.rollout_is(ROLLED_BACK, "db"))
        await until(lambda: m.rollout_is(DONE, "web"))
        await until(lambda: all_are(m, "converged"))
        assert [(await m.status(name)).image for name in CHAIN] == ["db:1", "api:2", "web:2"]
        back_at = (await m.rollout("db")).rollout.changed_at
        replicas = (await m.control.ListReplicas(control_pb2.ListReplicasRequest(app="shop", service="api"))).replicas
        assert min(detail.replica.created_at for detail in replicas) >= back_at

    in_shop(scene, tmp_path)


def test_an_update_that_is_paused_holds_the_others_and_they_say_why(tmp_path: Path) -> None:
    async def scene(m: Manager, agent: FakeAgent) -> None:
        agent.crashing = "db:2"
        await m.deploy(*shop(2, FailureAction.PAUSE))
        await until(lambda: m.rollout_is(PAUSED, "db"))
        await asyncio.sleep(0.5)
        assert (await m.rollout("api")).waits_for == "revision 2 of shop/db, which is paused"
        assert (await m.rollout("web")).waits_for == "revision 2 of shop/api, which is rolling"
        assert not {"api:2", "web:2"} & set(agent.ever.values())
        assert all([(await m.status(name)).ready == REPLICAS for name in ("api", "web")])
        await m.act(control_pb2.ROLLOUT_ACTION_ABORT, "db")
        await until(lambda: m.rollout_is(DONE, "web"))
        assert [(await m.status(name)).image for name in CHAIN] == ["db:1", "api:2", "web:2"]

    in_shop(scene, tmp_path)


def test_a_return_that_is_paused_holds_what_is_depended_on(tmp_path: Path) -> None:
    async def scene(m: Manager, agent: FakeAgent) -> None:
        await m.deploy(*shop(2))
        await until(lambda: all_done(m))
        await m.control.Rollback(control_pb2.RollbackRequest(app="shop"))
        await m.act(control_pb2.ROLLOUT_ACTION_PAUSE, "web")
        before = list(agent.ever.values())
        await asyncio.sleep(0.5)
        assert not {"api:1", "db:1"} & set(list(agent.ever.values())[len(before) :])
        assert (await m.rollout("api")).waits_for == "shop/web, which depends on it, to be back at revision 1"
        await m.act(control_pb2.ROLLOUT_ACTION_RESUME, "web")
        await until(lambda: all_done(m))
        await check_order(m, agent, ("web", "api", "db"), 1)

    in_shop(scene, tmp_path)
