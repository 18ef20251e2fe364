"""The world: all machines and what runs on them, and the levers by which weather and operator move it.

Invariant: it decides nothing about the cluster; it carries out, counts and tells.
"""

import argparse
import asyncio
import logging
import random
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rookery.model import NodeId, ReplicaId, ServiceKey
from rookery.process import Stop
from rookery_manager import main as manager_main
from rookery_manager.state import State
from rookery_manager.store import Change, Store

from world import agent, substitutes
from world.clock import MachineClock, VirtualLoop
from world.engine import Box, Engine
from world.invariants import Invariants
from world.machine import HERE, Machine, Process
from world.network import Network
from world.proxy import Proxy
from world.rpc import Channel
from world.store import Death, DurableStore, StoreView
from world.story import Story

MANAGER = "m"


class Fault(Exception):
    """Something that must always hold did not, or what must come about did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    nodes: int = 4
    proxies: int = 2
    requests_per_s: float = 2.0  # for each route of each proxy
    tidal: bool = False  # there is an autoscaled service, with requests of its own


@dataclass(eq=False, slots=True)
class Host:
    """A node: `process` is its agent, while it runs."""

    machine: Machine
    engine: Engine
    process: Process | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(eq=False, slots=True)
class Gate:
    """A proxy's machine."""

    machine: Machine
    process: Process | None = None
    proxy: Proxy | None = None


class NoDirectory:
    """Stands in for the manager's --data: the store lies elsewhere, and nothing else is kept."""

    def __truediv__(self, _name: str) -> "NoDirectory":
        return self

    def write_text(self, _text: str) -> None:
        return

    def glob(self, _pattern: str) -> tuple[Path, ...]:
        return ()

    def iterdir(self) -> tuple[Path, ...]:
        return ()

    def stat(self) -> None:
        raise FileNotFoundError

    def touch(self) -> None:
        raise FileNotFoundError

    def __str__(self) -> str:
        return "/sim"


class World:
    def __init__(self, loop: VirtualLoop, seed: int, size: Size) -> None:
        self.loop = loop
        self.random = random.Random(seed)
        self.size = size
        self.story = Story(loop.time, self._who)
        self.counts: Counter[str] = Counter()
        self.network = Network(random.Random(self.random.random()))
        self.machines: dict[str, Machine] = {}
        self.store = DurableStore()
        self.truth = State()  # what is on the manager's disk
        self.fault = ""
        self.tide = 0.0
        self.over = asyncio.Event()
        self.manager: Process | None = None
        self.manager_view: StoreView | None = None
        self.manager_machine = self._machine(MANAGER)
        self.operator = Process(self._machine("ann"), self._on_end)
        self.hosts = {f"n{i}": self._host(f"n{i}", i) for i in range(1, size.nodes + 1)}
        self.gates = {f"p{i}": Gate(self._machine(f"p{i}")) for i in range(1, size.proxies + 1)}
        self._by_address = {host.engine.address: host for host in self.hosts.values()}
        self.invariants = Invariants(self)
        self.store.told = self._on_commit
        self.network.on_cut = self.invariants.way_changed
        self.story.on_error = self._on_error_logged
        loop.write_s = lambda: HERE.get().machine.write_delay_s()

    # ---- its parts

    def _machine(self, name: str) -> Machine:
        rng = random.Random(self.random.random())
        clock = MachineClock(self.loop, offset_s=rng.uniform(-0.5, 0.5), rate=1.0 + rng.uniform(-0.0005, 0.0005))
        self.machines[name] = Machine(name=name, clock=clock, random=rng)
        return self.machines[name]

    def _host(self, name: str, number: int) -> Host:
        machine = self._machine(name)
        address = f"10.0.{number // 200}.{number % 200 + 1}"
        return Host(machine, Engine(machine, address, machine.random, self))  # type: ignore[arg-type]

    def _who(self) -> str:
        process = HERE.get(None)
        return process.name if process is not None else "world"

    @contextmanager
    def living(self) -> Iterator[None]:
        log = logging.getLogger("rookery")
        level, propagate = log.level, log.propagate
        others = logging.getLogger("rookery_proxy")
        with substitutes.outside(self._dial, self._open_store):
            for logger in (log, others):
                logger.addHandler(self.story)
                logger.setLevel(logging.INFO)
                logger.propagate = False
            try:
                yield
            finally:
                for logger in (log, others):
                    logger.removeHandler(self.story)
                    logger.setLevel(level)
                    logger.propagate = propagate

    def _dial(self, _address: str, _identity: object = None) -> Channel:
        return Channel(self.network, self.manager_machine)

    def dial(self) -> Channel:
        return self._dial("")

    def _open_store(self) -> Store:
        process = HERE.get()
        view = StoreView(self.store, process, process.machine.random, lambda: self.kill_manager(why="at a commit"))
        self.manager_view = view
        return view

    # ---- levers

    def start_manager(self) -> None:
        if self.manager is not None:
            return
        self.tell(MANAGER, "starts")
        self.manager = Process(self.manager_machine, self._on_end)
        options = manager_main.parse(["--insecure"])
        argparse.Namespace.__setattr__(options, "data", NoDirectory())
        options.hold_off_max = 20.0
        options.snapshot_every = 0
        self.manager.run(manager_main.serve(options, asyncio.Event()))
        self.invariants.manager_changed()

    def kill_manager(self, *, power_lost: bool = False, why: str = "") -> None:
        if self.manager is None:
            return
        self._count("managers killed", MANAGER, f"is killed {why}".rstrip())
        process, self.manager = self.manager, None
        process.kill(power_lost=power_lost)
        self.manager_machine.is_on = not power_lost
        self.invariants.manager_changed()

    def doom_manager(self, death: Death) -> None:
        """It dies at its next commit."""
        if self.manager_view is not None:
            self.manager_view.death = death

    def start_agent(self, name: str) -> None:
        host = self.hosts[name]
        if host.process is not None:
            return
        if not host.machine.is_on:
            host.machine.is_on = True
            host.machine.boots += 1
            host.engine.come_back()
        self.tell(name, "its agent starts")
        host.stop = asyncio.Event()
        host.process = Process(host.machine, self._on_end)
        host.process.run(agent.serve(name, host.engine, host.stop, lambda held: self.invariants.kept(name, held)))
        self.invariants.agent_changed(name)

    def kill_agent(self, name: str, *, power_lost: bool = False) -> None:
        host = self.hosts[name]
        if host.process is not None:
            self._count("agents killed", name, "its agent is killed")
            process, host.process = host.process, None
            process.kill(power_lost=power_lost)
        if power_lost and host.machine.is_on:
            self._count("nodes without power", name, "loses its power")
            host.machine.is_on = False
            host.engine.lose_power()
        self.invariants.agent_changed(name)

    def leave(self, name: str) -> None:
        host = self.hosts[name]
        if host.process is not None:
            self._count("agents told to stop", name, "its agent is told to stop")
            host.stop.set()

    def start_proxy(self, name: str) -> None:
        gate = self.gates[name]
        if gate.process is not None:
            return
        self.tell(name, "starts")
        gate.machine.is_on = True
        gate.process = Process(gate.machine, self._on_end)
        gate.proxy = Proxy(
            gate.machine, reach=self._reach, applied=lambda workers: self.invariants.applied(name, workers), tidal=self.size.tidal
        )
        gate.proxy.rate = self.size.requests_per_s
        self.set_tide(self.tide)
        gate.process.run(gate.proxy.serve())
        self.invariants.proxy_changed(name)

    def kill_proxy(self, name: str, *, power_lost: bool = False) -> None:
        gate = self.gates[name]
        if gate.process is None:
            return
        self._count("proxies killed", name, "is killed")
        process, gate.process = gate.process, None
        self.keep_counts(gate)
        gate.proxy = None
        process.kill(power_lost=power_lost)
        gate.machine.is_on = not power_lost
        self.invariants.proxy_changed(name)

    def cut(self, source: str, target: str, *, both: bool) -> None:
        self._count(
            "partitions" if both else "one-way partitions", source, f"is cut off from {target}" + ("" if both else ", one way")
        )
        self.network.cut(source, target)
        if both:
            self.network.cut(target, source)

    def heal(self, source: str, target: str) -> None:
        self.tell(source, f"reaches {target} again")
        self.network.heal(source, target)
        self.network.heal(target, source)

    def set_tide(self, rate: float) -> None:
        """So many requests a second for the autoscaled service, at each proxy."""
        self.tide = rate
        for gate in self.gates.values():
            if gate.proxy is not None and gate.proxy.tide is not None:
                gate.proxy.tide.rate = rate

    def keep_counts(self, gate: Gate) -> None:
        if gate.proxy is not None:
            if gate.proxy.tide is not None:
                self.counts["requests waited and served"] += gate.proxy.tide.waited
                self.counts["requests waited in vain"] += gate.proxy.tide.in_vain
                gate.proxy.tide.waited = gate.proxy.tide.in_vain = 0
            self.counts["requests served"] += gate.proxy.served
            self.counts["requests broken"] += gate.proxy.broken
            self.counts["requests refused"] += gate.proxy.refused
            gate.proxy.served = gate.proxy.broken = gate.proxy.refused = 0

    def _count(self, what: str, who: str, told: str) -> None:
        self.counts[what] += 1
        self.tell(who, told)

    def count(self, what: str) -> None:
        self.counts[what] += 1

    def tell(self, who: str, what: str, *args: object) -> None:
        self.story.tell(who, what, *args)

    def end(self) -> None:
        """All processes are dead, and whatever they still do has no effect."""
        parts = [
            self.manager,
            self.operator,
            *(h.process for h in self.hosts.values()),
            *(g.process for g in self.gates.values()),
        ]
        for process in parts:
            if process is not None:
                process.kill(power_lost=True)

    # ---- what happens

    def fail(self, why: str) -> None:
        if not self.fault:
            self.fault = why
            self.tell("FAULT", "%s", why)
            self.over.set()

    def started(self, engine: Engine, box: Box) -> None:
        self.counts["containers started"] += 1
        self.tell(engine.machine.name, "runs %s (%s)", box.assignment.name, box.assignment.replica_id[:8])
        self.invariants.container_started(engine, box)

    def asked_to_stop(self, engine: Engine, box: Box) -> None:
        self.counts["containers stopped"] += 1
        self.invariants.asked_to_stop(engine, box)

    def ended(self, engine: Engine, box: Box, why: str) -> None:
        self.tell(engine.machine.name, "ended %s (%s): %s", box.assignment.name, box.assignment.replica_id[:8], why)
        for gate in self.gates.values():
            if gate.proxy is not None:
                gate.proxy.notice_end(box.assignment.replica_id)

    def _reach(self, address: str, port: int) -> int | None:
        host = self._by_address.get(address)
        box = host.engine.box_at(port) if host is not None else None
        return box.life if box is not None else None

    def _on_commit(self, changes: tuple[Change, ...]) -> None:
        before = {change.key: self.record(change.key) for change in changes}
        self.truth.apply(changes)
        self.invariants.committed(before)

    def record(self, key: str) -> object:
        """What the manager's disk has under a key of a replica, node or service; None where there is nothing."""
        kind, _, rest = key.partition("/")
        match kind:
            case "replicas":
                return self.truth.replicas.get(ReplicaId(rest.rpartition("/")[2]))
            case "nodes":
                return self.truth.nodes.get(NodeId(rest))
            case "services":
                return self.truth.services.get(ServiceKey(rest))
        return None

    def _on_end(self, process: Process, error: BaseException | None) -> None:
        name = process.name
        if name in self.hosts and self.hosts[name].stop.is_set() and error is None:
            self.tell(name, "its agent has stopped")
            self.hosts[name].process = None
            self.invariants.agent_changed(name)
            return
        if isinstance(error, Stop) and self.manager_machine.disk_broken and process is self.manager:
            self.tell(MANAGER, "does not start: %s", error)
            self.manager = None
            self.loop.call_later(1.0, self.start_manager)
            return
        trace = "".join(traceback.format_exception(error)[-6:]) if error is not None else "it returned"
        self.fail(f"no-own-end: {name} ended by itself: {trace}")

    def _on_error_logged(self, line: str) -> None:
        if "nothing can be recorded" in line or "the store can't do it" in line:
            return
        self.fail(f"no-own-end: {self._who()} reports: {line}")
