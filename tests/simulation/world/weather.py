"""Kinds of days: how large a cluster is, what befalls it, and how often. Whatever does ends by itself, or when it gets quiet."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from world.specs import SCALED
from world.store import Death
from world.world import Host, Size, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """`every_s` is the mean time between two befalls; `befalls` are weights. `trouble_s` is when it gets quiet."""

    name: str
    size: tuple[int, int] = (2, 6)  # nodes
    proxies: tuple[int, int] = (1, 3)
    requests_per_s: float = 2.0
    every_s: float = 4.0
    commands_every_s: float = 8.0
    trouble_s: float = 60.0
    befalls: Mapping[str, int] = field(default_factory=dict)
    skew_s: float = 0.5
    disk_s: float = 0.005
    wants: tuple[str, ...] = ()  # services that are there in any case

    def draw_size(self, rng: random.Random) -> Size:
        nodes, proxies = rng.randint(*self.size), rng.randint(*self.proxies)
        return Size(nodes=nodes, proxies=proxies, requests_per_s=self.requests_per_s, tidal=SCALED in self.wants)


WEATHERS: tuple[Weather, ...] = (
    Weather(name="calm", commands_every_s=5.0, every_s=15.0, befalls={"crash a container": 1}),
    Weather(
        name="storm",
        every_s=3.0,
        skew_s=300.0,
        befalls={
            "crash a container": 3,
            "lose a container": 2,
            "kill an agent": 3,
            "kill the manager": 3,
            "doom the manager": 3,
            "kill a proxy": 2,
            "cut a node": 3,
            "cut a proxy": 2,
            "cut one way": 3,
            "power": 2,
            "engine away": 2,
            "leave": 1,
            "set a clock": 2,
            "slow node": 1,
            "loss": 1,
            "break streams": 1,
        },
    ),
    Weather(
        name="partitions",
        every_s=3.0,
        befalls={"cut a node": 5, "cut a proxy": 3, "cut one way": 5, "cut many": 1, "loss": 1, "slow node": 1},
    ),
    Weather(name="flapping", every_s=1.5, befalls={"flap": 5, "kill an agent": 2, "kill a proxy": 1, "break streams": 1}),
    Weather(
        name="slow disk",
        every_s=4.0,
        disk_s=0.3,
        befalls={
            "disk full": 3,
            "node disk full": 2,
            "doom the manager": 4,
            "slow disk": 2,
            "kill an agent": 2,
            "kill the manager": 1,
        },
    ),
    Weather(
        name="restarts",
        every_s=2.0,
        befalls={
            "kill the manager": 4,
            "doom the manager": 3,
            "long without manager": 2,
            "manager's power": 1,
            "kill a proxy": 2,
            "kill an agent": 2,
        },
    ),
    Weather(name="late leases", size=(3, 5), every_s=6.0, wants=("one",), befalls={"tangle": 4, "cut a node": 1}),
    Weather(
        name="tides",
        proxies=(2, 3),
        every_s=3.0,
        wants=(SCALED,),
        befalls={
            "tide": 5,
            "cut a proxy": 5,
            "kill a proxy": 1,
            "kill the manager": 1,
            "kill an agent": 1,
            "cut a node": 1,
            "crash a container": 1,
        },
    ),
    Weather(name="chaos", every_s=4.0, befalls={"chaos": 4, "kill the manager": 1, "crash a container": 1, "kill a proxy": 1}),
)

BIG = Weather(
    name="big",
    size=(200, 300),
    proxies=(2, 3),
    requests_per_s=0.5,
    every_s=2.0,
    commands_every_s=6.0,
    trouble_s=10.0,
    befalls={"crash a container": 3, "kill an agent": 2, "cut a node": 2, "cut many": 1, "kill the manager": 1, "power": 1},
)

BY_NAME = {weather.name: weather for weather in (*WEATHERS, BIG)}


def befall(world: World, what: str) -> None:
    _BEFALLS[what](world, world.random)


def quieten(world: World) -> None:
    """All is healed, everything runs."""
    if world.network.chaos:
        world.network.heal_all()
        world.network.break_all()
    world.network.heal_all()
    world.invariants.all_ways_changed()
    for machine in world.machines.values():
        machine.disk_broken = False
        machine.write_s = 0.005
    if world.manager_view is not None:
        world.manager_view.death = None
    world.manager_machine.is_on = True
    world.start_manager()
    for name, host in world.hosts.items():
        host.engine.come_back()
        host.engine.slowness = 1.0
        world.start_agent(name)
    for name in world.gates:
        world.start_proxy(name)
    world.set_tide(0.0)


def _later(world: World, low_s: float, high_s: float, then: Callable[..., None], *args: object) -> None:
    world.loop.call_later(world.random.uniform(low_s, high_s), then, *args)


def _tide(world: World, rng: random.Random) -> None:
    rate = rng.choice([0.0, 0.0, 1.0, 4.0, 12.0])
    world.count("tides")
    world.tell("world", "has %g requests a second come for %s", rate, SCALED)
    world.set_tide(rate)


def _crash(world: World, rng: random.Random) -> None:
    host = rng.choice(list(world.hosts.values()))
    running = [box for box in host.engine.boxes.values() if box.runs]
    if running:
        world.count("containers crashed")
        host.engine.crash(rng.choice(running), "crashed")


def _lose(world: World, rng: random.Random) -> None:
    host = rng.choice(list(world.hosts.values()))
    if host.engine.boxes and not host.engine.away:
        world.count("containers removed from outside")
        host.engine.lose(rng.choice(list(host.engine.boxes.values())))


def _kill_agent(world: World, rng: random.Random) -> None:
    name = rng.choice(list(world.hosts))
    world.kill_agent(name)
    _later(world, 0.1, rng.choice([1.0, 8.0]), world.start_agent, name)


def _power(world: World, rng: random.Random) -> None:
    name = rng.choice(list(world.hosts))
    world.kill_agent(name, power_lost=True)
    _later(world, 2.0, 20.0, world.start_agent, name)


def _kill_manager(world: World, rng: random.Random) -> None:
    world.kill_manager()
    _later(world, 0.1, rng.choice([0.5, 6.0]), world.start_manager)


def _manager_power(world: World, _rng: random.Random) -> None:
    world.kill_manager(power_lost=True, why="by a loss of power")

    def back() -> None:
        world.manager_machine.is_on = True
        world.start_manager()

    _later(world, 1.0, 10.0, back)


def _long_without(world: World, _rng: random.Random) -> None:
    world.kill_manager(why="for long")
    _later(world, 12.0, 20.0, world.start_manager)


def _doom(world: World, rng: random.Random) -> None:
    world.count("managers doomed")
    world.doom_manager(rng.choice(list(Death)))
    _later(world, 1.0, 5.0, world.start_manager)


def _kill_proxy(world: World, rng: random.Random) -> None:
    name = rng.choice(list(world.gates))
    world.kill_proxy(name, power_lost=rng.random() < 0.3)
    _later(world, 0.2, rng.choice([1.0, 8.0]), world.start_proxy, name)


def _cut(world: World, name: str, rng: random.Random, low_s: float = 0.5, high_s: float = 20.0) -> None:
    world.cut(name, "m", both=True)
    _later(world, low_s, rng.choice([2.0, high_s]), world.heal, name, "m")


def _cut_node(world: World, rng: random.Random) -> None:
    _cut(world, rng.choice(list(world.hosts)), rng)


def _cut_proxy(world: World, rng: random.Random) -> None:
    _cut(world, rng.choice(list(world.gates)), rng)


def _cut_one_way(world: World, rng: random.Random) -> None:
    name = rng.choice([*world.hosts, *world.hosts, *world.gates])
    source, target = (name, "m") if rng.random() < 0.5 else ("m", name)
    world.cut(source, target, both=False)
    _later(world, 0.5, rng.choice([2.0, 20.0]), world.heal, name, "m")


def _tangle(world: World, rng: random.Random) -> None:
    """The manager still hears a node for a moment, which gets the answers seconds later, and is not heard any more then."""
    name = rng.choice(list(world.hosts))
    world.cut("m", name, both=False)
    world.loop.call_later(1.0, lambda: world.cut(name, "m", both=False))
    _later(world, 3.5, 4.5, world.network.heal, "m", name)
    _later(world, 14.0, 18.0, world.heal, name, "m")


def _cut_many(world: World, rng: random.Random) -> None:
    names = [*world.hosts, *world.gates]
    for name in rng.sample(names, rng.randrange(1, len(names) + 1)):
        _cut(world, name, rng)


def _flap(world: World, rng: random.Random) -> None:
    _cut(world, rng.choice([*world.hosts, *world.gates]), rng, 0.2, 5.0)


def _engine_away(world: World, rng: random.Random) -> None:
    host = rng.choice(list(world.hosts.values()))
    if host.machine.is_on and not host.engine.away:
        world.count("engines away")
        world.tell(host.machine.name, "its engine is away")
        host.engine.go_away("Cannot connect to the Docker daemon")
        _later(world, 0.5, 10.0, _engine_back, host)


def _engine_back(host: Host) -> None:
    if host.machine.is_on:
        host.engine.come_back()


def _leave(world: World, rng: random.Random) -> None:
    name = rng.choice(list(world.hosts))
    world.leave(name)
    _later(world, 5.0, 20.0, world.start_agent, name)


def _set_clock(world: World, rng: random.Random) -> None:
    name = rng.choice(list(world.machines))
    world.count("clocks set")
    world.machines[name].clock.offset_s += rng.choice([-3600.0, -5.0, 5.0, 3600.0])
    world.tell(name, "its clock is set")


def _slow_node(world: World, rng: random.Random) -> None:
    name = rng.choice(list(world.hosts))
    world.count("slow ways")
    world.network.slow_down(name, rng.choice([0.2, 1.0]))
    world.hosts[name].engine.slowness = rng.choice([1.0, 4.0])
    _later(world, 5.0, 15.0, world.network.slow_down, name, 0.002)


def _loss(world: World, rng: random.Random) -> None:
    world.count("lossy times")
    world.network.loss = rng.choice([0.02, 0.2])
    world.invariants.all_ways_changed()

    def over() -> None:
        world.network.loss = 0.0
        world.invariants.all_ways_changed()

    _later(world, 2.0, 10.0, over)


def _break_streams(world: World, _rng: random.Random) -> None:
    world.count("times all streams broke")
    world.tell("network", "all streams break")
    world.invariants.all_ways_changed()
    world.network.break_all()


def _disk_full(world: World, _rng: random.Random) -> None:
    world.count("full disks")
    world.tell("m", "its disk is full")
    world.manager_machine.disk_broken = True
    world.invariants.all_ways_changed()

    def over() -> None:
        world.tell("m", "its disk has room again")
        world.manager_machine.disk_broken = False

    _later(world, 0.5, 8.0, over)


def _node_disk_full(world: World, rng: random.Random) -> None:
    name = rng.choice([*world.hosts, *world.gates])
    world.count("full disks")
    world.tell(name, "its disk is full")
    world.machines[name].disk_broken = True

    def over() -> None:
        world.machines[name].disk_broken = False

    _later(world, 0.5, 15.0, over)


def _slow_disk(world: World, rng: random.Random) -> None:
    name = rng.choice(list(world.machines))
    world.count("slow disks")
    world.machines[name].write_s = rng.choice([0.5, 2.0])


def _chaos(world: World, rng: random.Random) -> None:
    world.count("chaotic times")
    world.tell("network", "messages get lost, come twice and overtake each other")
    world.network.chaos = rng.choice([0.05, 0.3])

    def over() -> None:
        if world.network.chaos:
            world.network.chaos = 0.0
            world.invariants.all_ways_changed()
            world.tell("network", "all streams break, and no message is mistreated any more")
            world.network.break_all()

    _later(world, 2.0, 10.0, over)


_BEFALLS: Mapping[str, Callable[[World, random.Random], None]] = {
    "tide": _tide,
    "crash a container": _crash,
    "lose a container": _lose,
    "kill an agent": _kill_agent,
    "power": _power,
    "kill the manager": _kill_manager,
    "manager's power": _manager_power,
    "long without manager": _long_without,
    "doom the manager": _doom,
    "kill a proxy": _kill_proxy,
    "cut a node": _cut_node,
    "cut a proxy": _cut_proxy,
    "cut one way": _cut_one_way,
    "cut many": _cut_many,
    "flap": _flap,
    "engine away": _engine_away,
    "leave": _leave,
    "set a clock": _set_clock,
    "slow node": _slow_node,
    "loss": _loss,
    "break streams": _break_streams,
    "disk full": _disk_full,
    "node disk full": _node_disk_full,
    "slow disk": _slow_disk,
    "tangle": _tangle,
    "chaos": _chaos,
}
