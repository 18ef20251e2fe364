"""A day of an app, once without a death and then once for each commit at which the manager can die, before it and after it.

Whatever an operator was told is there afterwards, nothing is done twice, and the day ends as it does without the death.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from mortal_manager import NearAgent, NearProxy, World
from rookery.model import (
    AppSpec,
    ContainerSpec,
    Dependency,
    FailureAction,
    Port,
    Replica,
    Replicated,
    ServiceSpec,
    UpdateConfig,
)
from rookery.v1 import control_pb2, types_pb2
from rookery.wire import encode
from rookery_manager.api import applying, nodes, returning, services
from rookery_manager.records import parse
from rookery_manager.state import State
from virtual_time import run

DAY_S = 120.0  # virtual
AGENTS = ("n1", "n2", "n3")


@dataclass
class Told:
    """What became of a day: how the records looked after each of its parts, and what was made in all."""

    commits: int = 0
    deaths: int = 0
    pictures: dict[str, list[str]] = field(default_factory=dict)
    made: dict[str, list[int]] = field(default_factory=dict)  # how often each slot had a new replica, and each record was made
    given: dict[str, list[int]] = field(default_factory=dict)  # how often agents were given a replica of each slot


def web(image: str, replicas: int) -> ServiceSpec:
    return ServiceSpec(
        name="web",
        container=ContainerSpec(image=image),
        mode=Replicated(replicas=replicas),
        ports=(Port(target=80, published=8080),),
        update=UpdateConfig(parallelism=1, monitor_s=0.2),
        rollback=UpdateConfig(parallelism=2, monitor_s=0.1, failure_action=FailureAction.PAUSE),
        depends_on=(Dependency(service="db"),),
        drain_timeout_s=5.0,
    )


def app(image: str, replicas: int) -> control_pb2.ApplyRequest:
    db = ServiceSpec(name="db", container=ContainerSpec(image="db:1"))
    spec = AppSpec(name="shop", services=(db, web(image, replicas)))
    return control_pb2.ApplyRequest(app=encode(spec), actor="test")


async def day(world: World, told: Told) -> None:
    async def done(part: str, holds: Callable[[State], bool] = lambda _: True) -> None:
        """Waits until the app has converged, and until `holds`; keeps how all looks then."""
        while True:
            if world.parts is not None and holds(world.parts.api.state) and await converged():
                break
            await asyncio.sleep(0.1)
        await asyncio.sleep(1.5)  # nothing more is to come
        told.pictures[part] = await picture(world)

    async def converged() -> bool:
        listed = await world.ask(services.list_apps, control_pb2.ListAppsRequest())
        return all(status.converged for status in listed.apps)

    def node(availability: "types_pb2.Availability.ValueType") -> control_pb2.UpdateNodeRequest:
        return control_pb2.UpdateNodeRequest(node="n1", availability=availability, actor="test")

    await world.ask(applying.apply, app("web:1", 3))
    await done("deployed")
    await world.ask(services.scale, control_pb2.ScaleRequest(app="shop", service="web", replicas=4, actor="test"))
    await done("scaled")
    await world.ask(applying.apply, app("web:2", 4))
    await done("updated")
    await world.ask(nodes.update_node, node(types_pb2.AVAILABILITY_DRAINED))
    await done("drained", lambda state: not any(not r.ended for r in state.replicas.values() if r.node_name == "n1"))
    await world.ask(nodes.update_node, node(types_pb2.AVAILABILITY_ACTIVE))
    await done("active again", lambda state: any(not r.ended for r in state.replicas.values() if r.node_name == "n1"))
    await world.ask(returning.rollback, control_pb2.RollbackRequest(app="shop", service="web", to=1, actor="test"))
    await done("rolled back")
    await world.ask(applying.remove_app, control_pb2.RemoveAppRequest(app="shop", actor="test"))
    await done("removed", lambda state: not state.apps)


async def picture(world: World) -> list[str]:
    """The records without ids, times and reasons, and without what is over."""
    state = State()
    state.load(await world.disk.snapshot())
    lines = [f"node {n.name} {n.state} {n.availability}" for n in state.nodes.values()]
    lines += [f"app {a.name} at {a.revision}: {sorted(a.services)}" for a in state.apps.values()]
    for service in state.services.values():
        rollout = service.rollout
        moved = f"{rollout.number}: {rollout.before} to {rollout.after} {rollout.state}" if rollout else "none"
        lines.append(f"service {service.key} at {service.revision}, {service.replicas} wanted, rollout {moved}")
    lines += [f"replica {r.name} of {r.revision} {r.state} {r.ready}" for r in state.replicas.values() if not r.ended]
    lines += [f"revision {key} {number}" for key, numbers in state.revisions.items() for number in numbers]
    return sorted(lines)


def by_slot(names: Iterable[str]) -> dict[str, list[int]]:
    """How often each slot is named, without saying which: of equal replicas any may be the one that is moved."""
    found: dict[str, list[int]] = {}
    for name, count in Counter(names).items():
        found.setdefault(re.sub(r"\.\d+", "", name), []).append(count)
    return {name: sorted(counts) for name, counts in found.items()}


async def made(world: World) -> list[str]:
    """The names of all that was made, in the whole history."""
    found: dict[str, str] = {}
    for change in await world.disk.history(limit=1_000_000):
        record = parse(change.key, change.value) if change.value is not None else None
        if isinstance(record, Replica):
            found.setdefault(change.key, f"{record.name} of {record.revision}")
        elif change.key.startswith(("revisions/", "app-revisions/", "apps/", "services/")):
            found.setdefault(change.key, change.key)
    return list(found.values())


def lived(kill_at: int = 0, *, kill_after: bool = False) -> Told:
    async def main() -> Told:
        told = Told()
        world = World(kill_at=kill_at, kill_after=kill_after)
        ruling = asyncio.create_task(world.run())
        async with asyncio.timeout(DAY_S), AsyncExitStack() as stack:
            agents = [await stack.enter_async_context(NearAgent(world, name, heartbeat_s=0.2)) for name in AGENTS]
            await stack.enter_async_context(NearProxy(world))
            await day(world, told)
        told.made = by_slot(await made(world))
        told.commits, told.deaths = world.commits + world.store.commits, world.deaths
        told.given = by_slot(name for agent in agents for name in agent.given.values())
        ruling.cancel()
        await asyncio.gather(ruling, return_exceptions=True)
        return told

    return run(main())


@pytest.fixture(scope="module")
def undisturbed() -> Told:
    return lived()


def test_the_day_is_one(undisturbed: Told) -> None:
    """Else the test below would show little."""
    assert undisturbed.deaths == 0
    assert undisturbed.commits > 50
    assert undisturbed.pictures["removed"] == [f"node {name} ready active" for name in AGENTS]
    assert "service shop/web at 2, 4 wanted, rollout 1: 1 to 2 done" in undisturbed.pictures["updated"]
    assert undisturbed.made["revisions/shop/web/00000002"] == [1]
    assert (
        undisturbed.made["shop/web of 2"] == undisturbed.given["shop/web of 2"] == [1, 1, 2, 2]
    )  # 2 of 4 were drained, or moved back


@pytest.mark.parametrize("kill_after", [False, True], ids=["before", "after"])
def test_a_death_at_any_commit_changes_nothing(kill_after: bool, undisturbed: Told) -> None:
    for number in range(1, undisturbed.commits + 1):
        told = lived(number, kill_after=kill_after)
        where = f"killed {'after' if kill_after else 'before'} commit {number} of {undisturbed.commits}"
        assert told.deaths == 1, where
        assert told.pictures == undisturbed.pictures, where
        assert told.made == undisturbed.made, where
        assert told.given == undisturbed.given, where
