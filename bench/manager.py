"""A real manager with many agents that only speak: time to converge, what it costs when nothing happens, and one scale by 1.

    python bench/manager.py [--agents 100] [--services 100] [--replicas 50] [--insecure]

The peer's figure beside the first is Nomad's own: 2,000,000 containers on 6,100 hosts in 22 min 14 s, some 1,500 a second, with
real containers and far more machines. Here agents run nothing, so it is the manager alone that is measured. With --insecure
against without it is what TLS costs.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/fakes"))

from certificates import admin_of, authority_of, issued
from fake_agent import FakeAgent
from rookery import channel
from rookery.model import AppSpec, ContainerSpec, PartKind, Port, Replicated, ServiceSpec
from rookery.v1 import control_pb2, control_pb2_grpc
from rookery.wire import encode

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


def services(options: argparse.Namespace) -> list[ServiceSpec]:
    return [
        ServiceSpec(
            name=f"s{i}",
            container=ContainerSpec(image="i:1"),
            mode=Replicated(replicas=options.replicas),
            ports=(Port(target=80, published=10_000 + i),),
        )
        for i in range(options.services)
    ]


async def measure(options: argparse.Namespace, data: Path) -> None:
    command = [
        *options.profile,
        "-m",
        "rookery_manager.main",
        "--listen",
        "127.0.0.1:0",
        "--data",
        str(data),
        "--log-level",
        "error",
        *(["--insecure"] if options.insecure else []),
    ]
    process = await asyncio.create_subprocess_exec(sys.executable, *command)
    try:
        await until((data / "address").exists)
        address = (data / "address").read_text().strip()
        async with AsyncExitStack() as stack:
            authority = None if options.insecure else authority_of(data)
            admin = None if options.insecure else admin_of(data)
            control = control_pb2_grpc.ControlServiceStub(await stack.enter_async_context(channel.dial(address, admin)))
            agents = [
                FakeAgent(
                    address,
                    f"n{i}",
                    heartbeat_s=1.0,
                    identity=issued(authority, PartKind.AGENT, f"id-n{i}") if authority else None,
                )
                for i in range(options.agents)
            ]
            for agent in agents:
                await stack.enter_async_context(agent)
            total = options.services * options.replicas
            await tell(control, process.pid, agents, options, total)
    finally:
        process.terminate()
        await process.wait()


async def tell(
    control: "control_pb2_grpc.ControlServiceAsyncStub",
    pid: int,
    agents: list[FakeAgent],
    options: argparse.Namespace,
    total: int,
) -> None:
    async def ready() -> int:
        return (await control.GetCluster(control_pb2.GetClusterRequest())).replicas_ready

    async def all_ready() -> bool:
        return await ready() == total

    before, cpu = time.monotonic(), cpu_s(pid)
    spec = AppSpec(name="shop", services=tuple(services(options)))
    await control.Apply(control_pb2.ApplyRequest(app=encode(spec), actor="bench"))
    await until(all_ready, 0.2)
    took = time.monotonic() - before
    cost = f"{cpu_s(pid) - cpu:.1f} s of CPU, {rss_mib(pid):.0f} MiB"
    print(f"{total} replicas on {len(agents)} nodes ready after {took:.1f} s ({cost})")
    await asyncio.sleep(2)
    cpu = cpu_s(pid)
    await asyncio.sleep(IDLE_S)
    print(f"idle with {len(agents)} agents: {(cpu_s(pid) - cpu) / IDLE_S * 100:.1f} % of a core")
    times = []
    cpu = cpu_s(pid)
    for i in range(SCALES):
        before = time.monotonic()
        wanted = options.replicas + 1 + i
        await control.Scale(control_pb2.ScaleRequest(app="shop", service="s0", replicas=wanted, actor="bench"))
        # Agents know first; asking the API at each step would be what is measured.
        await until(lambda i=i: sum(len(agent.assignments) for agent in agents) == total + i + 1, 0.002)
        times.append(time.monotonic() - before)
    each = (cpu_s(pid) - cpu) / SCALES
    print(
        f"scale by 1: assigned after {statistics.median(times) * 1000:.0f} ms (median of {SCALES}), {each * 1000:.0f} ms of CPU"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--services", type=int, default=100)
    parser.add_argument("--replicas", type=int, default=50)
    parser.add_argument("--insecure", action="store_true", help="plain text")
    parser.add_argument("--profile", nargs="*", default=[], help="put before the module, such as: -m cProfile -o FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(measure(options, Path(directory)))


if __name__ == "__main__":
    main()
