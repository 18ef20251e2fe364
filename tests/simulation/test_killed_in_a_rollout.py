"""A manager that is killed at any commit of a rollout, and begins anew from the store, ends where one ends that lived.

The same day goes by without chance (an eager world), once undisturbed and then once for each commit at which the manager dies.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from rollout_promises import Watch
from rollout_world import KEY, STRATEGIES, KilledError
from rookery.model import Availability, FailureAction, Replicated
from rookery_manager.planners.interfere import abort, pause, resume
from rookery_manager.planners.rollback import plan_restart, plan_rollback

Day = Callable[[Watch, str], Awaitable[None]]
EVERY = 11  # at which of the commits it dies in CI; all of them (1) take 90 s

End = tuple[int, str, frozenset[tuple[int, int, bool]]]


async def deploy(world: Watch, strategy: str, image: str, action: FailureAction = FailureAction.ROLLBACK) -> None:
    await world.deploy(image, STRATEGIES[strategy], action=action)


async def good(world: Watch, strategy: str) -> None:
    await deploy(world, strategy, "good:1")


async def crashing(world: Watch, strategy: str) -> None:
    await deploy(world, strategy, "crash:1")


async def missing(world: Watch, strategy: str) -> None:
    await deploy(world, strategy, "gone:1")


async def late(world: Watch, strategy: str) -> None:
    await deploy(world, strategy, "late:1", FailureAction.PAUSE)


async def worse(world: Watch, strategy: str) -> None:
    await deploy(world, strategy, "worse:1")


async def restarted(world: Watch, _: str) -> None:
    await world.change(plan_restart(world.service, now=world.now, actor="ann"))


async def aborted(world: Watch, strategy: str) -> None:
    await deploy(world, strategy, "good:1")
    await world.write(abort(world.service, now=world.now, actor="ann"))


async def paused_and_resumed(world: Watch, strategy: str) -> None:
    await deploy(world, strategy, "good:1")
    await world.write(pause(world.service, now=world.now, actor="ann"))
    await world.tick()
    await world.write(resume(world.service, now=world.now, actor="ann"))


async def overtaken(world: Watch, strategy: str) -> None:
    await deploy(world, strategy, "crash:1")
    await deploy(world, strategy, "good:2")


async def returned(world: Watch, strategy: str) -> None:
    await deploy(world, strategy, "good:1")
    await world.change(plan_rollback(world.service, world.state.revisions[KEY], 1, now=world.now, actor="ann"))


async def drained(world: Watch, strategy: str) -> None:
    world.moved = True
    await deploy(world, strategy, "good:1")
    await world.set_availability(next(iter(world.state.nodes.values())), Availability.DRAINED)


DAYS: tuple[Day, ...] = (
    good, crashing, missing, late, worse, restarted, aborted, paused_and_resumed, overtaken, returned, drained,
)  # fmt: skip


async def end_of(day: Day, strategy: str, *, dies_at: int | None) -> tuple[End, int]:
    """How the day ends, and after how many commits of its rollout."""
    world = Watch(0, mode=Replicated(), eager=True)
    await world.start_manager()
    for _ in range(4):
        await world.join()
    await world.deploy("good:0", STRATEGIES["rolling"], replicas=3)
    for _ in range(12):
        await world.tick()
    await day(world, strategy)
    began = world.store.commits
    if dies_at is not None:
        world.store.commits_left = dies_at
    for _ in range(400):
        with suppress(KilledError):
            await world.tick()
        if world.is_rest() and (dies_at is None or world.store.commits_left is None):
            break
    world.following.cancel()
    assert world.is_rest(), world.told()
    world.check_past()
    rollout = world.service.rollout
    alive = frozenset((r.slot, r.revision, r.ready) for r in world.state.replicas.values() if not r.ended)
    return (world.service.revision, rollout.state if rollout else "", alive), world.store.commits - began


@pytest.mark.parametrize("strategy", ["rolling", "blue-green", "canary"])
@pytest.mark.parametrize("day", DAYS, ids=lambda day: day.__name__)
def test_a_manager_killed_at_any_commit_goes_on_where_it_was(day: Day, strategy: str) -> None:
    undisturbed, commits = asyncio.run(end_of(day, strategy, dies_at=None))
    for dies_at in range(0, commits, EVERY):
        end, _ = asyncio.run(end_of(day, strategy, dies_at=dies_at))
        assert end == undisturbed, f"it died at commit {dies_at} of {commits}"
