"""CPU per request of rookery-proxy, beside HAProxy and nginx in the same run: same backend, same client, one worker each.

    python bench/proxy/run.py [--seconds 5] [--rounds 3] [--connections 64] [--bodies tiny,10k,1m] [--tcp] [--tls] [--closing]
                              [--workers 1] [--endpoints 1] [--beside DIR]
    python bench/proxy/matrix.py                 # all of that, one after the other

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
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "fakes"))

from fake_routing import FakeRouting
from proxy_rig import endpoint, free_port, memory_bytes, route, wait_until
from rookery.model import ListenProtocol

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
    scheme: str = "http"


def cpu_s(pids: list[int]) -> float:
    """User and system time of processes so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def load(contender: Contender, path: str, connections: int, seconds: float, *, closing: bool = False) -> Figure:
    """Loads one contender once; `closing`: with a connection for each request."""
    url = f"{contender.scheme}://127.0.0.1:{contender.port}/{path}"
    before = cpu_s(contender.pids())
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", url]
    command += ["-H", "Connection: close"] if closing else []
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


def serve(stack: ExitStack, command: list[str], environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Starts a process for the time of the bench."""
    nowhere = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=nowhere, env=environment)

    def end() -> None:
        process.terminate()
        process.wait(30)

    stack.callback(end)
    return process


def nginx_config(directory: Path, body: str) -> str:
    return (
        f"worker_processes 1; daemon off; master_process off; pid {directory}/pid; error_log /dev/null; "
        f"events {{ worker_connections 4096; }} http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 75s; "
        f"client_body_temp_path {directory}/a; proxy_temp_path {directory}/b; fastcgi_temp_path {directory}/c; "
        f"uwsgi_temp_path {directory}/d; scgi_temp_path {directory}/e; {body} }}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all contenders have alike. The endpoints are addresses of loopback, at which one nginx answers."""

    directory: Path
    backend: int  # its port
    workers: int
    endpoints: int
    tls: bool

    @property
    def addresses(self) -> list[str]:
        return [f"127.0.{n // 250}.{1 + n % 250}" for n in range(self.endpoints)]

    @property
    def pem(self) -> Path:
        return self.directory / "certificates" / "bench.pem"


def make_certificate(path: Path) -> None:
    """For whoever asks; wrk does not look at it."""
    path.parent.mkdir()
    key = path.with_suffix(".tmp")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
         "-subj", "/CN=bench", "-keyout", str(key), "-out", str(path)],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    path.write_bytes(path.read_bytes() + key.read_bytes())
    key.unlink()


def start_backend(stack: ExitStack, directory: Path, port: int) -> None:
    root = directory / "backend"
    root.mkdir()
    for name, size in BODIES.items():
        (root / name).write_bytes(b"x" * size)
    (root / "nginx.conf").write_text(
        nginx_config(root, f"sendfile on; open_file_cache max=10; server {{ listen 0.0.0.0:{port} backlog=4096; root {root}; }}")
    )
    serve(stack, ["nginx", "-p", str(root), "-c", str(root / "nginx.conf")])


def start_haproxy(stack: ExitStack, setting: Setting, mode: str) -> Contender:
    port = free_port()
    config = setting.directory / f"haproxy-{mode}.cfg"
    servers = "".join(f"  server s{n} {address}:{setting.backend}\n" for n, address in enumerate(setting.addresses))
    http = "  option forwardfor\n  http-reuse always\n" if mode == "http" else ""
    config.write_text(
        f"global\n  maxconn 2500\n  nbthread {setting.workers}\n"
        f"defaults\n  mode {mode}\n  timeout client 60s\n  timeout server 60s\n  timeout connect 3s\n{http}"
        f"frontend f\n  bind 127.0.0.1:{port}{f' ssl crt {setting.pem}' if setting.tls else ''}\n  default_backend b\n"
        f"backend b\n  balance random(2)\n{servers}"
    )  # fmt: skip
    process = serve(stack, ["haproxy", "-db", "-f", str(config)])
    return Contender(name=f"haproxy {mode}", port=port, pids=lambda: [process.pid], scheme="https" if setting.tls else "http")


def start_nginx(stack: ExitStack, setting: Setting) -> Contender:
    port = free_port()
    root = setting.directory / "nginx"
    root.mkdir()
    servers = " ".join(f"server {address}:{setting.backend};" for address in setting.addresses)
    secure = f"ssl_certificate {setting.pem}; ssl_certificate_key {setting.pem}; " if setting.tls else ""
    body = (
        f"upstream u {{ {servers} keepalive 300; keepalive_requests 1000000000; }} "
        f"server {{ listen 127.0.0.1:{port} {'ssl ' if setting.tls else ''}backlog=4096; {secure}"
        f"location / {{ proxy_pass http://u; proxy_http_version 1.1; "
        f'proxy_set_header Connection ""; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }}'
    )
    config = nginx_config(root, body)
    if setting.workers > 1:
        config = config.replace(
            "worker_processes 1; daemon off; master_process off;", f"worker_processes {setting.workers}; daemon off;"
        )
    (root / "nginx.conf").write_text(config)
    process = serve(stack, ["nginx", "-p", str(root), "-c", str(root / "nginx.conf")])
    return Contender(
        name="nginx http",
        port=port,
        pids=lambda: children(process.pid) if setting.workers > 1 else [process.pid],
        scheme="https" if setting.tls else "http",
    )


async def start_rookery(
    stack: ExitStack, routings: AsyncExitStack, setting: Setting, name: str, tree: str
) -> dict[str, Contender]:
    """The proxy of this tree, or of the one with that path."""
    routing = await routings.enter_async_context(FakeRouting(report_s=1.0))
    command = [sys.executable, "-m", "rookery_proxy.main", "--insecure", "--manager", routing.address]
    command += ["--data", str(setting.directory / name), "--bind", "127.0.0.1", "--workers", str(setting.workers)]
    command += ["--log-level", "error", *(["--certificates", str(setting.pem.parent)] if setting.tls else [])]
    environment = {**os.environ, "PYTHONPATH": f"{tree}/proxy:{tree}/core"} if tree else None
    proxy = serve(stack, command, environment)
    http, tcp = free_port(), free_port()
    ends = [replace(endpoint(f"r{n}", setting.backend), address=address) for n, address in enumerate(setting.addresses)]
    routing.put_table(
        replace(route(http, *ends), tls=setting.tls),
        route(tcp, *ends, name="shop/tcp", protocol=ListenProtocol.TCP),
    )
    await routing.wait_acknowledged(1)
    return {
        kind: Contender(
            name=f"{name} {kind}",
            port=port,
            pids=lambda: children(proxy.pid),
            scheme="https" if setting.tls and kind == "http" else "http",
        )
        for kind, port in (("http", http), ("tcp", tcp))
    }


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
        setting = Setting(
            directory=directory, backend=backend, workers=options.workers, endpoints=options.endpoints, tls=options.tls
        )
        if options.tls:
            make_certificate(setting.pem)
        async with AsyncExitStack() as routings:
            ours = await start_rookery(stack, routings, setting, "rookery", "")
            contenders = [ours["http"]]
            if options.beside:
                other = await start_rookery(stack, routings, setting, "other", options.beside)
                contenders.append(other["http"])
            if "haproxy" not in missing:
                contenders.append(start_haproxy(stack, setting, "http"))
            contenders.append(start_nginx(stack, setting))
            if options.tcp:
                contenders.append(ours["tcp"])
                if options.beside:
                    contenders.append(other["tcp"])
                if "haproxy" not in missing:
                    contenders.append(start_haproxy(stack, setting, "tcp"))
            for contender in contenders:
                await wait_until(lambda one=contender: answers(one), f"{contender.name} answers")
            print(f"load average at the start: {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores", flush=True)
            for body in options.bodies.split(","):
                for connections in map(int, options.connections.split(",")):
                    figures: dict[str, list[Figure]] = {c.name: [] for c in contenders}
                    for _ in range(options.rounds):
                        for contender in contenders:
                            figures[contender.name].append(
                                await asyncio.to_thread(
                                    load, contender, body, connections, options.seconds, closing=options.closing
                                )
                            )
                    show(
                        f"{body} bodies, {connections} {_kind(options)}", {name: median(taken) for name, taken in figures.items()}
                    )


def answers(contender: Contender) -> bool:
    url = f"{contender.scheme}://127.0.0.1:{contender.port}/tiny"
    return subprocess.run(["curl", "-ksf", "-o", os.devnull, url], check=False).returncode == 0


def _kind(options: argparse.Namespace) -> str:
    """What the connections are like, and what is behind them."""
    kind = "connections, one a request" if options.closing else "keep-alive connections"
    kind += ", TLS" if options.tls else ""
    kind += f", {options.workers} workers" if options.workers > 1 else ""
    return kind + (f", {options.endpoints} endpoints" if options.endpoints > 1 else "")


def show(title: str, figures: dict[str, Figure]) -> None:
    print(f"\n{title}")
    print(f"{'':<14}{'CPU us/request':>15}{'x haproxy':>11}{'requests/s':>12}{'p99 ms':>9}{'MB':>7}")
    for name, figure in figures.items():
        peer = figures.get("haproxy " + name.split()[1])
        ratio = f"{figure.cpu_us / peer.cpu_us:.2f}" if peer else "-"
        print(
            f"{name:<14}{figure.cpu_us:>15.1f}{ratio:>11}{figure.rate:>12.0f}{figure.p99_ms:>9.1f}{figure.memory_mb:>7.0f}",
            flush=True,
        )


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="CPU per request of rookery-proxy beside HAProxy and nginx.")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="the median of which is told (%(default)s)")
    parser.add_argument("--connections", default="64", help="keep-alive connections: one number or several (%(default)s)")
    parser.add_argument("--bodies", default="tiny", help=f"of {', '.join(BODIES)} (%(default)s)")
    parser.add_argument("--beside", default="", metavar="DIR", help="another tree, whose proxy takes part as `other`")
    parser.add_argument("--tcp", action="store_true", help="TCP mode too")
    parser.add_argument("--tls", action="store_true", help="TLS from the client to the proxies")
    parser.add_argument("--closing", action="store_true", help="a connection for each request")
    parser.add_argument("--workers", type=int, default=1, help="processes or threads that serve (%(default)s)")
    parser.add_argument("--endpoints", type=int, default=1, help="that the proxies balance over (%(default)s)")
    return parser


def main() -> None:
    asyncio.run(bench(parser().parse_args()))


if __name__ == "__main__":
    main()
