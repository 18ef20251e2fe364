"""An agent's machine: the real Agent on a home that survives crashes, with a model engine below it."""

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rookery.identity.standing import Standing
from rookery.model import NodeId, NodeInfo, NodeStats, ReplicaId, Resources, RuntimeKind
from rookery_agent import main as agent_main
from rookery_agent import record
from rookery_agent.assignments import Copy, Held, load
from rookery_agent.disk import Room
from rookery_agent.options import Options, parser, understand
from rookery_agent.record import Record
from rookery_agent.runtime.place import Place

from world.engine import Engine
from world.machine import Machine, here


class Home:
    """Stands in for the agent's data directory: what is written whole is there after a crash, what is not is as it was before."""

    path = Path("/sim")

    def __init__(self, machine: Machine, kept: Callable[[Held], None]) -> None:
        self._machine = machine
        self._kept = kept

    def held(self) -> Held:
        data = self._machine.disk.get("assignments")
        return load(data) if data is not None else Held()

    def records(self) -> dict[ReplicaId, Record]:
        return record.load(self._machine.disk.get("records", b"[]"))

    def lease_until(self) -> float:
        boot, until = self._machine.disk.get("lease", (0, -math.inf))
        return until if boot == self._machine.boots else -math.inf

    async def keep_lease(self, until: float) -> None:
        await self._write("lease", (self._machine.boots, until))

    async def keep(self, held: Held) -> None:
        await self._write("assignments", Copy().of(held))
        self._kept(held)

    async def remember(self, records: Mapping[ReplicaId, Record]) -> None:
        await self._write("records", record.dump(records))

    async def _write(self, name: str, data: Any) -> None:
        await asyncio.sleep(self._machine.write_delay_s())
        if here().dead:
            return
        if self._machine.disk_broken:
            raise OSError(28, "No space left on device")
        self._machine.disk[name] = data


def _options() -> Options:
    given = ["--name", "n", "--address", "10.0.0.1", "--manager", "127.0.0.1:7070", "--data", "/sim", "--runtime", "docker"]
    given.append("--insecure")
    return understand(parser().parse_args(given))


_OPTIONS = _options()


async def serve(name: str, engine: Engine, stop: asyncio.Event, kept: Callable[[Held], None]) -> None:
    """The process: what main.py does once it has its home and its runtime."""
    place = Place(node_id=NodeId(f"id-{name}"), hostname=name, address=engine.address, network="")
    home = Home(here().machine, kept)
    options = replace(_OPTIONS, name=name, address=engine.address)
    standing = Standing(Path("/sim"), options.manager, "agent", options.identity, agent_main.log)
    agent = agent_main.Agent(options, home, place, engine, standing, engine="model engine", away=engine.away)  # type: ignore[arg-type]
    await agent.run(stop)


def info(*, hostname: str, address: str, kind: RuntimeKind, labels: dict[str, str], engine: str) -> NodeInfo:
    capacity = Resources(cpus=4.0, memory_bytes=8 * 1024**3)
    return NodeInfo(
        hostname=hostname, address=address, arch="amd64", capacity=capacity, runtimes=(kind,), labels=labels, engine=engine
    )


_IDLE = NodeStats()


def stats(_disk: Room) -> NodeStats:
    return _IDLE


class Disks:
    """Stands in for the agent's look at its file systems, which have room."""

    def __init__(self, _home: Path, _data_root: object, *, low_bytes: int) -> None:
        del low_bytes
        self.room = Room()
        self.why = ""

    async def run(self) -> None:
        await asyncio.Event().wait()


machine = SimpleNamespace(info=info, stats=stats)
"""Stands in for the module rookery_agent.machine."""
