"""A day: trouble for a while, then quiet, until all is as wanted and stays so. One seed decides all of it."""

import asyncio
import gc
import random
from collections import Counter
from dataclasses import dataclass

from world.clock import VirtualLoop
from world.operator import Operator
from world.rest import unrest
from world.weather import BY_NAME, WEATHERS, Weather, befall, quieten
from world.world import Fault, World

PATIENCE_S = 240.0  # of virtual time, until a quiet cluster is as wanted
STAYS_S = 12.0  # for so long it must be as wanted before it counts: a rebalance begins after 5 s
PEACE_S = 15.0
LAST_LINES = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`fault` is empty after a day that ended well."""

    seed: int
    weather: str
    fault: str
    story: tuple[str, ...]
    digest: str
    counts: Counter[str]
    virtual_s: float


def live(seed: int, weather: str = "") -> Outcome:
    """One day. The same arguments make the same story, in a process with the same PYTHONHASHSEED."""
    rng = random.Random(f"day {seed}")
    kind = BY_NAME[weather] if weather else random.Random(f"weather {seed}").choice(WEATHERS)
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    world = World(loop, rng.getrandbits(64), kind.draw_size(rng))
    collecting = gc.isenabled()
    gc.disable()  # finalizers of generators would run whenever the collector does
    try:
        with world.living():
            try:
                loop.run_until_complete(_day(world, kind))
            except Fault as fault:
                world.fail(str(fault))
            finally:
                _end_all(loop, world)
    finally:
        asyncio.set_event_loop(None)
        loop.close()
        if collecting:
            gc.enable()
    return Outcome(
        seed=seed,
        weather=kind.name,
        fault=world.fault,
        story=tuple(world.story.lines(LAST_LINES)) if world.fault else (),
        digest=world.story.digest(),
        counts=world.counts,
        virtual_s=loop.now - 1000.0,
    )


async def _day(world: World, kind: Weather) -> None:
    over = asyncio.create_task(world.over.wait())
    going = world.operator.spawn(_go(world, kind))
    await asyncio.wait((over, going), return_when=asyncio.FIRST_COMPLETED)
    over.cancel()
    if not going.done():
        going.cancel()
        return
    await going


async def _go(world: World, kind: Weather) -> None:
    rng = world.random
    for machine in world.machines.values():
        machine.clock.offset_s += rng.uniform(-kind.skew_s, kind.skew_s)
        machine.write_s = kind.disk_s if rng.random() < 0.5 else machine.write_s
    operator = Operator(world, random.Random(rng.random()), wants=kind.wants)
    world.start_manager()
    await asyncio.sleep(0.1)
    for name in world.hosts:
        world.start_agent(name)
    for name in world.gates:
        world.start_proxy(name)
    await asyncio.sleep(1.0)
    await operator.deploy(operator.specs.app())
    commanding = world.operator.spawn(_command(world, operator, kind.commands_every_s))
    ends_at = world.loop.now + kind.trouble_s
    what, weights = list(kind.befalls), list(kind.befalls.values())
    while True:
        wait_s = rng.expovariate(1 / kind.every_s)
        if world.loop.now + wait_s >= ends_at:
            break
        await asyncio.sleep(wait_s)
        befall(world, rng.choices(what, weights)[0])
        _check_promises(operator)
    commanding.cancel()
    world.tell("world", "gets quiet")
    quieten(world)
    await asyncio.sleep(22.0)  # what weather has asked for is over by then
    quieten(world)
    await operator.have_all_in_order()
    _check_promises(operator)
    await _come_to_rest(world, operator)
    await _stay_at_rest(world, operator)
    for gate in world.gates.values():
        world.keep_counts(gate)


async def _command(world: World, operator: Operator, every_s: float) -> None:
    while True:
        await asyncio.sleep(world.random.expovariate(1 / every_s))
        await operator.do_something()


def _check_promises(operator: Operator) -> None:
    broken = operator.broken_promise()
    if broken:
        raise Fault(broken)


async def _come_to_rest(world: World, operator: Operator) -> None:
    began, well_since = world.loop.now, None
    while True:
        why = unrest(world, operator)
        if not why and well_since is None:
            well_since = world.loop.now
        if why:
            well_since = None
        if well_since is not None and world.loop.now - well_since >= STAYS_S:
            world.counts["seconds to rest"] += round(well_since - began)
            return
        if world.loop.now - began > PATIENCE_S:
            raise Fault(f"convergence: after {PATIENCE_S:g} quiet seconds {why or 'it never stayed as wanted'}")
        await asyncio.sleep(0.5)


async def _stay_at_rest(world: World, operator: Operator) -> None:
    before = world.counts["containers started"], world.counts["containers stopped"]
    await asyncio.sleep(PEACE_S)
    after = world.counts["containers started"], world.counts["containers stopped"]
    if before != after:
        raise Fault(f"peace: {after[0] - before[0]} containers were started and {after[1] - before[1]} stopped, for no reason")
    why = unrest(world, operator)
    if why:
        raise Fault(f"peace: it was as wanted, and then {why}")


def _end_all(loop: VirtualLoop, world: World) -> None:
    loop.call_soon(world.end)
    loop.set_exception_handler(lambda _loop, _context: None)
    for _ in range(5):
        tasks = sorted(asyncio.all_tasks(loop), key=hash)
        if not tasks:
            return
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait(tasks, timeout=60.0))
