"""CPU per request of rookery-proxy, beside HAProxy and nginx in the same run: same backend, same client, one worker each.

    python bench/proxy/run.py [--seconds 5] [--rounds 3] [--connections 64] [--bodies tiny,10k,1m] [--tcp]

A fixed answer from nginx is fetched through each proxy by wrk over keep-alive connections on loopback. The figure is the user and
system time of the proxy's serving process over the requests it served; the median of the rounds, taken in turns. Wall-clock
figures on a machine that is also busy with the client and the backend say little; CPU per request says what a request costs.
Needs wrk and nginx (Debian packages); haproxy where it is installed. What is not there is skipped, and said.
"""

import argparse
import asyncio
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "tests" / part) for part in ("fakes", "unit/proxy")]

from fake_routing import FakeRouting  # noqa: E402
from proxy_rig import endpoint, free_port, memory_bytes, route, wait_until  # noqa: E402
from rookery.model import ListenProtocol  # noqa: E402

BODIES = {"tiny": 2, "10k": 10_000, "1m": 1_000_000}
PACKAGES = {"wrk": "wrk", "nginx": "nginx-light", "haproxy": "haproxy"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    cpu_us: float  # user and system time of the proxy a request
    rate: float  # requests a second, with client and backend on the same cores
    p99_ms: float
    memory_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    name: str
    port: int
    pids: Callable[[], list[int]]  # of the processes that serve


def cpu_s(pids: list[int]) -> float:
    """User and system time of processes so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def load(contender: Contender, path: str, connections: int, seconds: float) -> Figure:
    """Loads one contender once."""
    url = f"http://127.0.0.1:{contender.port}/{path}"
    before = cpu_s(contender.pids())
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", url]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    spent = cpu_s(contender.pids()) - before
    found = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", text)
    assert found, text
    if "Non-2xx" in text or "Socket errors" in text:
        print(f"  {contender.name}: not all answers were good:\n{text}", file=sys.stderr)
    requests = int(found[1])
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    assert rate
    assert p99
    scale = {"us": 0.001, "ms": 1.0, "s": 1000.0}[p99[2]]
    memory = sum(memory_bytes(pid) for pid in contender.pids()) / 1e6
    return Figure(cpu_us=spent / max(requests, 1) * 1e6, rate=float(rate[1]), p99_ms=float(p99[1]) * scale, memory_mb=memory)


def median(figures: list[Figure]) -> Figure:
    return Figure(**{f: statistics.median(getattr(x, f) for x in figures) for f in Figure.__slots__})  # type: ignore[attr-defined]


def children(pid: int) -> list[int]:
    return [int(p) for task in Path(f"/proc/{pid}/task").iterdir() for p in (task / "children").read_text().split()]


def serve(stack: ExitStack, command: list[str]) -> subprocess.Popen[bytes]:
    """Starts a process for the time of the bench."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def end() -> None:
        process.terminate()
        process.wait(10)

    stack.callback(end)
    return process


def nginx_config(directory: Path, body: str) -> str:
    return (
        f"worker_processes 1; daemon off; master_process off; pid {directory}/pid; error_log /dev/null; "
        f"events {{ worker_connections 4096; }} http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 75s; "
        f"client_body_temp_path {directory}/a; proxy_temp_path {directory}/b; fastcgi_temp_path {directory}/c; "
        f"uwsgi_temp_path {directory}/d; scgi_temp_path {directory}/e; {body} }}"
    )


def start_backend(stack: ExitStack, directory: Path, port: int) -> None:
    root = directory / "backend"
    root.mkdir()
    for name, size in BODIES.items():
        (root / name).write_bytes(b"x" * size)
    (root / "nginx.conf").write_text(
        nginx_config(
            root, f"sendfile on; open_file_cache max=10; server {{ listen 127.0.0.1:{port} backlog=4096; root {root}; }}"
        )
    )
    serve(stack, ["nginx", "-p", str(root), "-c", str(root / "nginx.conf")])


def start_haproxy(stack: ExitStack, directory: Path, backend: int, mode: str) -> Contender:
    port = free_port()
    config = directory / f"haproxy-{mode}.cfg"
    config.write_text(
        f"global\n  maxconn 2500\n  nbthread 1\ndefaults\n  mode {mode}\n  timeout client 60s\n  timeout server 60s\n"
        f"  timeout connect 3s\n" + ("  option forwardfor\n  http-reuse always\n" if mode == "http" else "") +
        f"frontend f\n  bind 127.0.0.1:{port}\n  default_backend b\n"
        f"backend b\n  balance random(2)\n  server s 127.0.0.1:{backend}\n"
    )  # fmt: skip
    process = serve(stack, ["haproxy", "-db", "-f", str(config)])
    return Contender(name=f"haproxy {mode}", port=port, pids=lambda: [process.pid])


def start_nginx(stack: ExitStack, directory: Path, backend: int) -> Contender:
    port = free_port()
    root = directory / "nginx"
    root.mkdir()
    body = (
        f"upstream u {{ server 127.0.0.1:{backend}; keepalive 300; keepalive_requests 1000000000; }} "
        f"server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://u; proxy_http_version 1.1; "
        f'proxy_set_header Connection ""; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }}'
    )
    (root / "nginx.conf").write_text(nginx_config(root, body))
    process = serve(stack, ["nginx", "-p", str(root), "-c", str(root / "nginx.conf")])
    return Contender(name="nginx http", port=port, pids=lambda: [process.pid])


async def bench(options: argparse.Namespace) -> None:
    missing = [name for name in PACKAGES if shutil.which(name) is None]
    for name in missing:
        print(f"skipped: {name} is not installed (apt-get install {PACKAGES[name]})")
    if {"wrk", "nginx"} & set(missing):
        print("nothing to measure without wrk and nginx")
        return
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        backend = free_port()
        start_backend(stack, directory, backend)
        ours, ours_tcp = free_port(), free_port()
        async with FakeRouting(report_s=1.0) as routing:
            command = [
                sys.executable,
                "-m",
                "rookery_proxy.main",
                "--manager",
                routing.address,
                "--data",
                str(directory / "proxy"),
            ]
            proxy = serve(stack, [*command, "--bind", "127.0.0.1", "--workers", "1", "--log-level", "error"])
            routing.put_table(
                route(ours, endpoint("r1", backend)),
                route(ours_tcp, endpoint("r1", backend), name="shop/tcp", protocol=ListenProtocol.TCP),
            )
            await routing.wait_acknowledged(1)
            contenders = [Contender(name="rookery http", port=ours, pids=lambda: children(proxy.pid))]
            if "haproxy" not in missing:
                contenders.append(start_haproxy(stack, directory, backend, "http"))
            contenders.append(start_nginx(stack, directory, backend))
            if options.tcp:
                contenders.append(Contender(name="rookery tcp", port=ours_tcp, pids=lambda: children(proxy.pid)))
                if "haproxy" not in missing:
                    contenders.append(start_haproxy(stack, directory, backend, "tcp"))
            for contender in contenders:
                await wait_until(lambda port=contender.port: answers(port), f"{contender.name} answers")
            print(f"load average at the start: {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores", flush=True)
            for body in options.bodies.split(","):
                for connections in map(int, options.connections.split(",")):
                    figures: dict[str, list[Figure]] = {c.name: [] for c in contenders}
                    for _ in range(options.rounds):
                        for contender in contenders:
                            figures[contender.name].append(
                                await asyncio.to_thread(load, contender, body, connections, options.seconds)
                            )
                    show(body, connections, {name: median(taken) for name, taken in figures.items()})


def answers(port: int) -> bool:
    return subprocess.run(["curl", "-sf", "-o", os.devnull, f"http://127.0.0.1:{port}/tiny"], check=False).returncode == 0


def show(body: str, connections: int, figures: dict[str, Figure]) -> None:
    print(f"\n{body} bodies, {connections} keep-alive connections")
    print(f"{'':<14}{'CPU us/request':>15}{'x haproxy':>11}{'requests/s':>12}{'p99 ms':>9}{'MB':>7}")
    for name, figure in figures.items():
        peer = figures.get("haproxy " + name.split()[1])
        ratio = f"{figure.cpu_us / peer.cpu_us:.2f}" if peer else "-"
        print(
            f"{name:<14}{figure.cpu_us:>15.1f}{ratio:>11}{figure.rate:>12.0f}{figure.p99_ms:>9.1f}{figure.memory_mb:>7.0f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU per request of rookery-proxy beside HAProxy and nginx.")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="the median of which is told (%(default)s)")
    parser.add_argument("--connections", default="64", help="keep-alive connections: one number or several (%(default)s)")
    parser.add_argument("--bodies", default="tiny", help=f"of {', '.join(BODIES)} (%(default)s)")
    parser.add_argument("--tcp", action="store_true", help="TCP mode too")
    asyncio.run(bench(parser.parse_args()))


if __name__ == "__main__":
    main()
