"""A real manager with many agents that only speak: time to converge, what it costs when nothing happens, and one scale by 1.

    python bench/manager.py [--agents 100] [--services 100] [--replicas 50] [--insecure]

The peer's figure beside the first is Nomad's own: 2,000,000 containers on 6,100 hosts in 22 min 14 s, some 1,500 a second, with
real containers and far more machines. Here agents run nothing, so it is the manager alone that is measured. What TLS costs is
in tls.py.
"""

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/fakes"))

from certificates import admin_of, authority_of, issued
from fake_agent import FakeAgent
from rookery import channel
from rookery.model import AppSpec, ContainerSpec, PartKind, Port, Replicated, ServiceSpec
from rookery.v1 import control_pb2, control_pb2_grpc
from rookery.wire import encode

SETTLE_S = 2.0
IDLE_S = 10.0
SCALES = 10
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def until(condition: Callable[[], bool | Awaitable[bool]], pause_s: float = 0.02) -> None:
    async with asyncio.timeout(600):
        while True:
            held = condition()
            if held if isinstance(held, bool) else await held:
                return
            await asyncio.sleep(pause_s)


class Speaker(FakeAgent):
    """Its heartbeats are up to 10 % early or late, as a real agent's are.

    Of agents that connected together the heartbeats would stay together, and waking up once would do for many.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._random = random.Random(self.name)
        self._spoke = False

    def pause_s(self) -> float:
        earliest, self._spoke = 0.9 if self._spoke else 0.0, True
        return self.heartbeat_s * self._random.uniform(earliest, 1.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    control: "control_pb2_grpc.ControlServiceAsyncStub"
    address: str
    data: Path
    pid: int
    agents: Sequence[Speaker]

    @property
    def assigned(self) -> int:
        return sum(len(agent.assignments) for agent in self.agents)


@asynccontextmanager
async def running(
    agents: int, *, insecure: bool, kind: type[Speaker] = Speaker, profile: Sequence[str] = ()
) -> AsyncIterator[Running]:
    """A manager process with so many agents of that kind, each with a connection of its own."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        told = data / "address"
        options = ["--listen", "127.0.0.1:0", "--data", folder, "--log-level", "error", *(["--insecure"] if insecure else [])]
        process = await asyncio.create_subprocess_exec(sys.executable, *profile, "-m", "rookery_manager.main", *options)
        try:
            await until(lambda: told.exists() and told.read_text().endswith("\n"))
            address = told.read_text().strip()
            async with AsyncExitStack() as stack:
                authority, admin = (None, None) if insecure else (authority_of(data), admin_of(data))
                connection = await stack.enter_async_context(channel.dial(address, admin))
                made = [
                    kind(
                        address,
                        f"n{i}",
                        heartbeat_s=1.0,
                        identity=issued(authority, PartKind.AGENT, f"id-n{i}") if authority else None,
                    )
                    for i in range(agents)
                ]
                for agent in made:
                    await stack.enter_async_context(agent)
                control = control_pb2_grpc.ControlServiceStub(connection)
                yield Running(control=control, address=address, data=data, pid=process.pid, agents=made)
        finally:
            process.terminate()
            await process.wait()


async def deploy(manager: Running, services: int, replicas: int, *, pause_s: float = 0.2) -> float:
    """Seconds until all are ready by the manager's word, which is asked so often."""
    spec = AppSpec(
        name="shop",
        services=tuple(
            ServiceSpec(
                name=f"s{i}",
                container=ContainerSpec(image="i:1"),
                mode=Replicated(replicas=replicas),
                ports=(Port(target=80, published=10_000 + i),),
            )
            for i in range(services)
        ),
    )

    async def all_ready() -> bool:
        cluster = await manager.control.GetCluster(control_pb2.GetClusterRequest())
        return cluster.replicas_ready == services * replicas

    before = time.monotonic()
    await manager.control.Apply(control_pb2.ApplyRequest(app=encode(spec), actor="bench"))
    await until(all_ready, pause_s)
    return time.monotonic() - before


async def remove(manager: Running) -> None:
    """Returns when nothing is left of it."""

    async def gone() -> bool:
        return manager.assigned == 0 and not (await manager.control.ListApps(control_pb2.ListAppsRequest())).apps

    await manager.control.RemoveApp(control_pb2.RemoveAppRequest(app="shop", actor="bench"))
    await until(gone)


async def scale_up(manager: Running, wanted: int) -> float:
    """Seconds until the first service, which is to have one replica more, has it assigned.

    The agents are looked at: asking the API would be what is measured.
    """
    before, assigned = time.monotonic(), manager.assigned
    await manager.control.Scale(control_pb2.ScaleRequest(app="shop", service="s0", replicas=wanted, actor="bench"))
    await until(lambda: manager.assigned == assigned + 1, 0.002)
    return time.monotonic() - before


async def measure(options: argparse.Namespace) -> None:
    async with running(options.agents, insecure=options.insecure, profile=options.profile) as manager:
        pid = manager.pid
        cpu = cpu_s(pid)
        took = await deploy(manager, options.services, options.replicas)
        cost = f"{cpu_s(pid) - cpu:.1f} s of CPU, {rss_mib(pid):.0f} MiB"
        total = options.services * options.replicas
        print(f"{total} replicas on {options.agents} nodes ready after {took:.1f} s ({cost})")
        await asyncio.sleep(SETTLE_S)
        cpu = cpu_s(pid)
        await asyncio.sleep(IDLE_S)
        print(f"idle with {options.agents} agents: {(cpu_s(pid) - cpu) / IDLE_S * 100:.1f} % of a core")
        cpu = cpu_s(pid)
        times = [await scale_up(manager, options.replicas + 1 + i) for i in range(SCALES)]
        each_ms = (cpu_s(pid) - cpu) / SCALES * 1000
        print(
            f"scale by 1: assigned after {statistics.median(times) * 1000:.0f} ms (median of {SCALES}), {each_ms:.0f} ms of CPU"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--services", type=int, default=100)
    parser.add_argument("--replicas", type=int, default=50)
    parser.add_argument("--insecure", action="store_true", help="plain text")
    parser.add_argument("--profile", nargs="*", default=[], help="put before the module, such as: -m cProfile -o FILE")
    options = parser.parse_args()
    asyncio.run(measure(options))


if __name__ == "__main__":
    main()
