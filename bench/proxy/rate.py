"""How long answers take at a fixed rate, and the memory of 1,000 connections: rookery-proxy beside HAProxy and nginx.

    python bench/proxy/rate.py [--rate 8000] [--seconds 5] [--rounds 3] [--connections 64] [--body tiny] [--workers 1] [--tls]

wrk holds no rate, and wrk2 is no Debian package; so h2load (nghttp2-client) asks here, in HTTP/1.1, each connection at its part
of the rate. What is told is from a request's sending to its answer's end, of all requests of a round, the median of the rounds.
A contender that does not keep up is known by its rate. Then each gets 1,000 connections, and its memory is looked at.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "fakes"))

from proxy_rig import free_port, memory_bytes, wait_until
from run import (
    Contender,
    Setting,
    answers,
    cpu_s,
    make_certificate,
    start_backend,
    start_haproxy,
    start_nginx,
    start_rookery,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paced:
    rate: float  # that came about, requests a second
    p50_ms: float
    p99_ms: float
    cpu_us: float
    memory_mb: float  # of a serving process, while the connections are open
    bad: int  # answers other than 2xx, or none


def ask(contender: Contender, path: str, connections: int, rate: float, seconds: float, directory: Path) -> Paced:
    """One round. Blocks."""
    log = directory / "h2load.log"
    log.unlink(missing_ok=True)
    url = f"{contender.scheme}://127.0.0.1:{contender.port}/{path}"
    command = ["h2load", "--h1", "-t1", "-c", str(connections), "--rps", f"{rate / connections:g}", "-D", f"{seconds:g}"]
    before = cpu_s(contender.pids())
    process = subprocess.Popen([*command, f"--log-file={log}", url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    memory = 0
    while process.poll() is None:
        memory = max(memory, *(memory_bytes(pid) for pid in contender.pids()))
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    spent = cpu_s(contender.pids()) - before
    lines = [line.split() for line in log.read_text().splitlines()]  # when it began (us), status, how long it took (us)
    took = sorted(int(line[2]) / 1000 for line in lines if line[1].startswith("2"))
    cuts = statistics.quantiles(took, n=100)
    return Paced(
        rate=len(lines) / seconds,
        p50_ms=cuts[49],
        p99_ms=cuts[98],
        cpu_us=spent / len(lines) * 1e6,
        memory_mb=memory / 1e6,
        bad=len(lines) - len(took),
    )


def median(figures: list[Paced]) -> Paced:
    return Paced(**{name: statistics.median(getattr(figure, name) for figure in figures) for name in Paced.__slots__})  # type: ignore[attr-defined]


async def compare(
    contenders: list[Contender], options: argparse.Namespace, connections: int, rate: float, directory: Path
) -> None:
    """Asks them in turns, and shows what came about."""
    figures: dict[str, list[Paced]] = {contender.name: [] for contender in contenders}
    for _ in range(options.rounds):
        for contender in contenders:
            paced = await asyncio.to_thread(ask, contender, options.body, connections, rate, options.seconds, directory)
            figures[contender.name].append(paced)
    secure, workers = ", TLS" if options.tls else "", f", {options.workers} workers" if options.workers > 1 else ""
    print(f"\n{options.body} bodies, {connections} connections, {rate:g} requests a second{secure}{workers}")
    print(f"{'':<14}{'rate':>8}{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>8}{'MB a process':>14}{'bad':>5}")
    for name, taken in figures.items():
        told = median(taken)
        times = f"{told.p50_ms:>9.2f}{told.p99_ms:>9.2f}{told.cpu_us:>8.1f}"
        print(f"{name:<14}{told.rate:>8.0f}{times}{told.memory_mb:>14.1f}{told.bad:>5.0f}", flush=True)


async def bench(options: argparse.Namespace) -> None:
    missing = [name for name in ("h2load", "nginx") if shutil.which(name) is None]
    if missing:
        print(f"nothing to measure without {' and '.join(missing)} (apt-get install nghttp2-client nginx-light)")
        return
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        backend = free_port()
        start_backend(stack, directory, backend)
        setting = Setting(directory=directory, backend=backend, workers=options.workers, endpoints=1, tls=options.tls)
        if options.tls:
            make_certificate(setting.pem)
        async with AsyncExitStack() as routings:
            contenders = [(await start_rookery(stack, routings, setting, "rookery", ""))["http"]]
            if shutil.which("haproxy"):
                contenders.append(start_haproxy(stack, setting, "http"))
            contenders.append(start_nginx(stack, setting))
            for contender in contenders:
                await wait_until(lambda one=contender: answers(one), f"{contender.name} answers")
            print(f"load average at the start: {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores", flush=True)
            await compare(contenders, options, options.connections, options.rate, directory)
            await compare(contenders, options, 1000, 1000.0, directory)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Latency at a fixed rate, and memory, beside HAProxy and nginx.")
    parser.add_argument("--rate", type=float, default=8000.0, help="requests a second (%(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="the median of which is told (%(default)s)")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--body", default="tiny", help="tiny, 10k or 1m (%(default)s)")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--tls", action="store_true")
    return parser


if __name__ == "__main__":
    asyncio.run(bench(parser().parse_args()))
