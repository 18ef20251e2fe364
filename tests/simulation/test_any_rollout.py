"""Random days of a service that is rolled out and back in every way, with good and bad images, and what each day must keep.

Safety (tests/simulation/rollout_promises.py) holds after every step. Liveness: once the world is calm, every rollout is done,
rolled back, or says what it waits for.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace

import pytest
from rollout_promises import Watch
from rollout_world import BAD, KEY, STRATEGIES, KilledError
from rookery.model import UNDER_WAY, Availability, Canary, FailureAction, Global, RolloutState
from rookery_manager.planners.interfere import NotNow, abort, pause, resume
from rookery_manager.planners.rollback import plan_restart, plan_rollback

EVENTS = (
    "deploy", "deploy", "bad", "bad", "settings", "back", "rollback", "restart", "pause", "resume", "resume", "abort", "more",
    "fewer", "drain", "activate", "cut", "heal", "kill", "kill", "kill",
)  # fmt: skip
INTERFERENCES = {"pause": pause, "resume": resume, "abort": abort}


async def happen(world: Watch) -> None:
    service, chance = world.service, world.random
    nodes = sorted(world.state.nodes.values(), key=lambda node: node.id)
    node = chance.choice(nodes)
    what = chance.choice(EVENTS)
    strategy = STRATEGIES[chance.choice(list(STRATEGIES))]
    match what:
        case "deploy":
            await world.deploy(f"good:{max(world.state.revisions[KEY]) + 1}", strategy)
        case "back":
            before = service.rollout.before if service.rollout else 1
            await world.deploy(world.state.revisions[KEY][before].spec.container.image, strategy)
        case "bad":
            action = chance.choice([FailureAction.ROLLBACK, FailureAction.ROLLBACK, FailureAction.PAUSE])
            await world.deploy(f"{chance.choice(BAD)}:{service.revision}", strategy, action=action)
        case "settings":
            image = world.state.revisions[KEY][service.revision].spec.container.image
            await world.deploy(image, strategy)
        case "rollback":
            revisions = world.state.revisions[KEY]
            to = chance.choice(list(revisions))
            await world.change(plan_rollback(service, revisions, to, now=world.now, actor="ann"))
        case "restart":
            await world.change(plan_restart(service, now=world.now, actor="ann"))
        case "pause" | "resume" | "abort":
            with suppress(NotNow):
                await world.write(INTERFERENCES[what](service, now=world.now, actor="ann"))
        case "more" if not isinstance(world.mode, Global):
            await world.write(replace(service, replicas=min(8, service.replicas + 1)))
        case "fewer" if not isinstance(world.mode, Global) and service.replicas > 3:
            await world.write(replace(service, replicas=service.replicas - 1))
        case "drain" if sum(n.takes_work for n in nodes) > 2:
            world.moved = True
            world.disturbed = world.disturbed or isinstance(world.mode, Global)
            await world.set_availability(node, Availability.DRAINED)
        case "activate":
            await world.set_availability(node, Availability.ACTIVE)
        case "cut" if len(world.silent) < len(nodes) - 2:
            world.disturbed = world.moved = True
            world.silent.add(node.id)
        case "heal":
            world.silent.discard(node.id)
        case "kill":
            world.store.commits_left = chance.randrange(8)


async def random_day(seed: int) -> Watch:
    world = Watch(seed)
    await world.start_manager()
    for _ in range(world.random.randrange(3, 6)):
        await world.join()
    await world.deploy("good:0", STRATEGIES["rolling"], replicas=world.random.randrange(3, 7))
    for _ in range(20):
        await world.tick()
    for _ in range(120):
        if world.random.random() < 0.12:
            with suppress(KilledError):
                await happen(world)
            await world.outlive()
        await world.tick()
    if world.store.commits_left is not None:
        await world.restart_manager()
    world.silent.clear()
    for node in list(world.state.nodes.values()):
        await world.set_availability(node, Availability.ACTIVE)
    for _ in range(400):
        await world.tick()
        if world.is_rest():
            break
    world.following.cancel()
    check_end(world)
    return world


def check_end(world: Watch) -> None:
    world.check_past()
    service, rollout = world.service, world.service.rollout
    assert world.is_rest() or world.plan.waits_for, f"nothing moves, and nothing says why\n{world.told()}"
    if rollout is None:
        return
    if rollout.state in UNDER_WAY:
        raise AssertionError(f"it never ends\n{world.told()}")
    if rollout.state is RolloutState.ROLLED_BACK:
        assert rollout.why
    if rollout.state is RolloutState.DONE and rollout.after > rollout.before:
        kinds = world.kind_of(rollout.before), world.kind_of(rollout.after)
        assert kinds[1] in ("good", "worse"), f"a bad revision is done\n{world.told()}"
        is_canary = isinstance(world.state.revisions[KEY][rollout.after].spec.strategy, Canary)
        is_plain = service.revision == rollout.after  # no settings that took it from there to blue-green
        assert not (is_canary and is_plain and kinds == ("good", "worse")), f"a worse canary is done\n{world.told()}"


def run(seed: int) -> None:
    try:
        asyncio.run(random_day(seed))
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error


@pytest.mark.parametrize("block", range(4))
def test_rollouts_of_random_days_keep_what_they_promise(block: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        for seed in range(block * 10, block * 10 + 10):
            run(seed)
    assert not caplog.records, caplog.text


@pytest.mark.parametrize("seed", [54, 85, 92, 100, 104, 131, 138, 173, 491])
def test_days_that_found_something_wrong(seed: int) -> None:
    """54, 85, 104, 131, 138: a rollout that overtook another, or new settings, took away what served. 92: on the way back, what a
    restart or another rollout had left got no requests. 100, 173: what had failed before a rollout began, or was resumed, held it
    up for ever. 491: on the way back from the same content nothing of it served."""
    run(seed)
