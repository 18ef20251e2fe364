"""What TLS costs: a manager with it beside one in plain text, each with many agents that only speak, and with a real one.

    python bench/tls.py [--agents 100] [--services 20] [--replicas 20] [--rounds 3] [--idle 20]

Both managers are there at once in each round. At rest they are measured over the same time; what is asked of them takes turns,
so that a busy moment of the machine hits both. A heartbeat's round trip is from its sending until the lease that it is granted is
at the agent. All figures but the p99 are medians: of all heartbeats, deploys and scales of all rounds, else of the rounds.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from report import machine, table
from rookery.v1 import control_pb2, dispatch_pb2

from manager import SCALES, SETTLE_S, Running, Speaker, cpu_s, deploy, remove, rss_mib, running, scale_up, until

SIDES = ("TLS", "plain text")
DEPLOYS = 5
READY_EVERY_S = 0.01
Figures = dict[str, list[float]]


class TimedSpeaker(Speaker):
    """Keeps how long each of its heartbeats took: every one is answered, in order."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.took_s: list[float] = []
        self._sent_at: deque[float] = deque()

    async def _messages(self) -> AsyncIterator[dispatch_pb2.AgentMessage]:
        self._sent_at.clear()
        async for message in super()._messages():
            if message.HasField("heartbeat"):
                self._sent_at.append(time.perf_counter())
            yield message

    def _take(self, message: dispatch_pb2.ManagerMessage) -> None:
        if message.HasField("lease"):
            self.took_s.append(time.perf_counter() - self._sent_at.popleft())
        super()._take(message)


@asynccontextmanager
async def real_agent(manager: Running, *, insecure: bool) -> AsyncIterator[int]:
    """The pid of an agent for plain processes that has joined the manager, and gets nothing to run."""
    nodes = len(manager.agents) + 1
    folder = manager.data / "real"
    trust = ["--insecure"] if insecure else ["--token-file", str(manager.data / "agent.token")]
    options = [
        "--manager",
        manager.address,
        "--data",
        str(folder),
        "--name",
        "real",
        "--runtime",
        "process",
        "--log-level",
        "error",
    ]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rookery_agent.main", *options, "--address", "127.0.0.1", "--on-stop", "leave", *trust
    )

    async def joined() -> bool:
        return (await manager.control.GetCluster(control_pb2.GetClusterRequest())).nodes_ready == nodes

    try:
        await until(joined)
        yield process.pid
    finally:
        process.terminate()
        await process.wait()


async def one_round(options: argparse.Namespace, number: int, seen: dict[str, Figures]) -> None:
    sides = SIDES if number % 2 == 0 else SIDES[::-1]
    managers: dict[str, Running] = {}
    async with AsyncExitStack() as stack:
        for side in sides:
            insecure = side != "TLS"
            managers[side] = await stack.enter_async_context(running(options.agents, insecure=insecure, kind=TimedSpeaker))
        for i in range(DEPLOYS):
            for side, manager in managers.items():
                if i:
                    await remove(manager)
                before_s = cpu_s(manager.pid)
                seen[side]["deploy"].append(await deploy(manager, options.services, options.replicas, pause_s=READY_EVERY_S))
                seen[side]["deploy's CPU"].append(cpu_s(manager.pid) - before_s)
        agents = {
            side: await stack.enter_async_context(real_agent(manager, insecure=side != "TLS"))
            for side, manager in managers.items()
        }
        await asyncio.sleep(SETTLE_S)
        await rest(options.idle, managers, agents, seen)
        for i in range(SCALES):
            for side, manager in managers.items():
                seen[side]["scale"].append(await scale_up(manager, options.replicas + 1 + i))


async def rest(idle_s: float, managers: dict[str, Running], agents: dict[str, int], seen: dict[str, Figures]) -> None:
    before = {side: (cpu_s(manager.pid), cpu_s(agents[side])) for side, manager in managers.items()}
    for manager in managers.values():
        for agent in manager.agents:
            agent.took_s.clear()
    await asyncio.sleep(idle_s)
    for side, manager in managers.items():
        heard = [took for agent in manager.agents for took in agent.took_s]
        managers_s, agents_s = before[side]
        seen[side]["heartbeat"] += heard
        seen[side]["manager's CPU"].append((cpu_s(manager.pid) - managers_s) / idle_s * 100)
        seen[side]["CPU a heartbeat"].append((cpu_s(manager.pid) - managers_s) / len(heard) * 1000)
        seen[side]["manager's memory"].append(rss_mib(manager.pid))
        seen[side]["agent's CPU"].append((cpu_s(agents[side]) - agents_s) / idle_s * 100)
        seen[side]["agent's memory"].append(rss_mib(agents[side]))


def rows(seen: dict[str, Figures], options: argparse.Namespace) -> Iterator[list[str]]:
    def row(what: str, name: str, unit: str, scale: float = 1.0, percentile: int = 50) -> list[str]:
        tls, plain = (at(seen[side][name], percentile) * scale for side in SIDES)
        return [what, f"{tls:.2f} {unit}", f"{plain:.2f} {unit}", f"{tls / plain:.2f}"]

    yield row("heartbeat: round trip, median", "heartbeat", "ms", 1000)
    yield row("heartbeat: round trip, p99", "heartbeat", "ms", 1000, 99)
    yield row("heartbeat: manager's CPU", "CPU a heartbeat", "ms")
    yield row(f"manager at rest, {options.agents} agents: CPU", "manager's CPU", "% of a core")
    yield row("manager: memory", "manager's memory", "MiB")
    yield row(f"deploy: {options.services * options.replicas} replicas ready", "deploy", "ms", 1000)
    yield row("deploy: manager's CPU", "deploy's CPU", "ms", 1000)
    yield row("scale by 1, until assigned", "scale", "ms", 1000)
    yield row("real agent at rest: CPU", "agent's CPU", "% of a core")
    yield row("real agent: memory", "agent's memory", "MiB")


def at(values: list[float], percentile: int) -> float:
    if percentile == 50:
        return statistics.median(values)
    return statistics.quantiles(values, n=100)[percentile - 1]


async def measure(options: argparse.Namespace) -> dict[str, Figures]:
    seen: dict[str, Figures] = {side: defaultdict(list) for side in SIDES}
    for number in range(options.rounds):
        await one_round(options, number, seen)
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=100, help="of each manager (%(default)s)")
    parser.add_argument("--services", type=int, default=20)
    parser.add_argument("--replicas", type=int, default=20, help="of each service (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=float, default=20.0, metavar="S", help="how long they are measured at rest (%(default)s)")
    options = parser.parse_args()
    seen = asyncio.run(measure(options))
    print(f"tls: {options.rounds} rounds, {options.agents} agents a side, {machine()}\n")
    print(table(["what", *SIDES, "TLS / plain"], list(rows(seen, options))))


if __name__ == "__main__":
    main()
