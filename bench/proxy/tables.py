"""A large route table in a real proxy: time to take it over, time and CPU of one change, of a second of reports, and memory.

    python bench/proxy/tables.py [--routes 10000] [--endpoints 50000] [--workers 1]

A scripted manager sends the whole table, then changes of one endpoint. What is told is from sending to the acknowledgement, which
a proxy gives when all workers serve the version; and the CPU that supervisor and workers spent meanwhile.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "fakes"))

from fake_routing import FakeRouting
from proxy_rig import ask_once, endpoint, free_port, memory_bytes, route
from rookery.model import Route
from run import children, cpu_s, serve


def table(port: int, routes: int, endpoints: int, shift: int = 0) -> list[Route]:
    """Routes by host, of a port, with their endpoints; `shift` moves the last endpoint of the first one."""
    each = max(1, endpoints // routes)
    return [
        route(
            port,
            *(endpoint(f"r{n}-{i}", 20_000 + i + (shift if not n and i == each - 1 else 0)) for i in range(each)),
            name=f"app{n}/web",
            host=f"h{n}.example",
        )
        for n in range(routes)
    ]


async def bench(options: argparse.Namespace) -> None:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        async with FakeRouting(report_s=1.0) as routing:
            command = [sys.executable, "-m", "rookery_proxy.main", "--manager", routing.address, "--data", str(directory)]
            command += ["--insecure", "--bind", "127.0.0.1", "--workers", str(options.workers), "--log-level", "error"]
            proxy = serve(stack, command)
            port = free_port()
            await routing.wait_acknowledged(routing.put_table(route(free_port())))
            before = [memory_bytes(pid) for pid in (proxy.pid, *children(proxy.pid))]
            began = time.monotonic()
            await wait(routing, routing.put_table(*table(port, options.routes, options.endpoints)))
            print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
            print(f"{options.routes} routes, {options.endpoints} endpoints: taken over in {time.monotonic() - began:.2f} s")
            await settled(proxy)
            pids = [proxy.pid, *children(proxy.pid)]
            spent = cpu_s(pids)
            await asyncio.sleep(5)
            print(f"CPU of a second of reports: {(cpu_s(pids) - spent) / 5 * 1000:.0f} ms, of all processes")
            took, spent = [], cpu_s(pids)
            changes = 20
            for shift in range(1, changes + 1):
                (changed,) = table(port, 1, max(1, options.endpoints // options.routes), shift)
                began = time.monotonic()
                await wait(routing, routing.put_route(changed))
                took.append(time.monotonic() - began)
            each_ms = (cpu_s(pids) - spent) / changes * 1000
            print(
                f"a change of one endpoint: {statistics.median(took) * 1000:.1f} ms (median of {changes}), CPU {each_ms:.1f} ms"
            )
            after = [memory_bytes(pid) for pid in pids]
            for name, old, new in zip(("supervisor", *["worker"] * options.workers), before, after, strict=True):
                print(f"memory of the {name}: {new / 1e6:.0f} MB, {(new - old) / options.endpoints:.0f} bytes an endpoint")
            status, _, _ = await ask_once(port, headers=f"Host: h{options.routes - 1}.example\r\n")
            assert status == 503, "there is nobody behind it"


async def wait(routing: FakeRouting, version: int) -> None:
    await routing.wait(lambda: routing.acknowledged >= version, f"version {version} acknowledged", 120)


async def settled(proxy: "subprocess.Popen[bytes]") -> None:
    """Until what a new table costs beside serving it (writing it to disk) is over."""
    while True:
        pids = [proxy.pid, *children(proxy.pid)]
        spent = cpu_s(pids)
        await asyncio.sleep(2)
        if cpu_s(pids) - spent < 3.0:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description="A large route table in a real proxy.")
    parser.add_argument("--routes", type=int, default=10_000)
    parser.add_argument("--endpoints", type=int, default=50_000)
    parser.add_argument("--workers", type=int, default=1)
    asyncio.run(bench(parser.parse_args()))


if __name__ == "__main__":
    main()
