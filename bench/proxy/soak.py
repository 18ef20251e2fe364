"""A proxy under mixed load for long, while its endpoints come and go: nothing is lost, nothing stays, no memory grows.

    make soak SECONDS=600
    python bench/proxy/soak.py [--seconds 600] [--workers 2]

HTTP/1 on kept and closing connections, in plain text and over TLS, WebSockets, TCP, and gRPC (calls and streams); some clients
leave in the middle. Endpoints are replaced one after the other in the order of a stop that drops nothing: out of the table,
acknowledged, nothing in flight, ended. Ends with 1 where anything failed: a request that was not answered right, a connection
that is left, memory that grew by more than a tenth and 5 MB after the first quarter. All of it runs on this machine and is gone
afterwards.
"""

import argparse
import asyncio
import contextlib
import os
import random
import ssl
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "fakes"))

import grpc
import grpc.aio
import psutil
from fake_routing import FakeRouting
from pem import Authority
from proxy_rig import Backend, Proxy, answering, echo, endpoint, free_port, memory_bytes, route
from rookery.model import Endpoint, ListenProtocol, Route
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

KINDS = ("http", "https", "ws", "tcp", "grpc")
PATIENCE_S = 60.0  # for anything at all: who waits longer is stuck


class Place:
    """The endpoints of one kind, of which one after the other is replaced."""

    def __init__(self, kind: str, port: int) -> None:
        self.kind = kind
        self.port = port
        self.servers: dict[str, tuple[Endpoint, contextlib.AsyncExitStack]] = {}
        self.made = 0

    def route(self) -> Route:
        protocols = {"tcp": ListenProtocol.TCP, "grpc": ListenProtocol.HTTP2}
        made = route(
            self.port,
            *(one for one, _ in self.servers.values()),
            name=f"soak/{self.kind}",
            protocol=protocols.get(self.kind, ListenProtocol.HTTP),
        )
        return replace(made, tls=self.kind == "https")

    async def start_one(self) -> None:
        self.made += 1
        name = f"{self.kind}-{self.made}"
        stack = contextlib.AsyncExitStack()
        port = await stack.enter_async_context(_server(self.kind))
        self.servers[name] = (endpoint(name, port), stack)

    async def end(self) -> None:
        for _, stack in self.servers.values():
            await stack.aclose()


@contextlib.asynccontextmanager
async def _server(kind: str) -> AsyncIterator[int]:
    """One endpoint, at the port that is given."""
    if kind == "ws":
        async with serve(_echo_messages, "127.0.0.1", 0) as server:
            yield next(iter(server.sockets)).getsockname()[1]
    elif kind == "grpc":
        calls = grpc.aio.server()
        handlers = {
            "Echo": grpc.unary_unary_rpc_method_handler(_echo_call),
            "Count": grpc.unary_stream_rpc_method_handler(_count),
        }
        calls.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", handlers),))
        port = calls.add_insecure_port("127.0.0.1:0")
        await calls.start()
        try:
            yield port
        finally:
            await calls.stop(0)
    else:
        async with Backend(echo if kind == "tcp" else answering(b"x" * 2000)) as backend:
            yield backend.port


async def _echo_messages(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def _echo_call(request: bytes, _context: Any) -> bytes:
    return request


async def _count(request: bytes, _context: Any) -> AsyncIterator[bytes]:
    for number in range(int(request)):
        yield b"%d" % number


class Load:
    """The clients. `done` counts what went right, `failed` what did not, by what it was."""

    def __init__(self, ports: dict[str, int], tls: ssl.SSLContext, rng: random.Random) -> None:
        self.ports = ports
        self.done: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.until = 0.0
        self._tls = tls
        self._rng = rng

    async def run(self, seconds: float) -> None:
        self.until = time.monotonic() + seconds
        kinds: list[tuple[str, Callable[[], Awaitable[None]], int]] = [
            ("http kept", lambda: self.http("http", kept=True), 8),
            ("http closing", lambda: self.http("http", kept=False), 4),
            ("https kept", lambda: self.http("https", kept=True), 4),
            ("https closing", lambda: self.http("https", kept=False), 2),
            ("websocket", self.websocket, 6),
            ("tcp", self.tcp, 6),
            ("grpc", self.calls, 4),
            ("leaver", self.leaver, 2),
        ]
        async with asyncio.TaskGroup() as group:
            for name, once, number in kinds:
                for _ in range(number):
                    group.create_task(self._go_on(name, once))

    async def _go_on(self, name: str, once: Callable[[], Awaitable[None]]) -> None:
        while time.monotonic() < self.until:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await once()
            except TimeoutError:
                self.failed[f"{name}: stuck for {PATIENCE_S:g} s"] += 1
            except Exception as error:
                self.failed[f"{name}: {type(error).__name__}: {str(error)[:160]}"] += 1

    async def http(self, kind: str, *, kept: bool) -> None:
        secure = {"ssl": self._tls, "server_hostname": "soak.example"} if kind == "https" else {}
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[kind], **secure)  # type: ignore[arg-type]
        try:
            for number in range(50 if kept else 1):
                body = b"y" * self._rng.choice((0, 100, 20_000))
                close = b"" if kept else b"Connection: close\r\n"
                writer.write(
                    b"POST /%d HTTP/1.1\r\nHost: soak.example\r\n%bContent-Length: %d\r\n\r\n" % (number, close, len(body)) + body
                )
                head = await reader.readuntil(b"\r\n\r\n")
                if not head.startswith(b"HTTP/1.1 200 "):
                    raise AssertionError(head.split(b"\r\n")[0].decode() + (await reader.read(300)).decode())
                await reader.readexactly(2000)
                self.done[f"{kind} {'kept' if kept else 'closing'}"] += 1
                await asyncio.sleep(self._rng.random() * 0.02)
        finally:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()

    async def websocket(self) -> None:
        async with connect(f"ws://127.0.0.1:{self.ports['ws']}/", proxy=None) as client:
            for number in range(self._rng.randrange(20)):
                await client.send(b"%d" % number * 100)
                if await client.recv() != b"%d" % number * 100:
                    raise AssertionError("another message came back")
                self.done["websocket messages"] += 1
                await asyncio.sleep(self._rng.random() * 0.05)

    async def tcp(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports["tcp"])
        try:
            for _ in range(self._rng.randrange(1, 10)):
                data = self._rng.randbytes(self._rng.choice((10, 30_000)))
                writer.write(data)
                if await reader.readexactly(len(data)) != data:
                    raise AssertionError("other bytes came back")
                self.done["tcp exchanges"] += 1
                await asyncio.sleep(self._rng.random() * 0.05)
            writer.write_eof()
            if await reader.read():
                raise AssertionError("more bytes came back")
        finally:
            writer.close()

    async def calls(self) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.ports['grpc']}") as channel:
            say: Any = channel.unary_unary("/t.T/Echo")
            count: Any = channel.unary_stream("/t.T/Count")
            for _ in range(50):
                data = b"z" * self._rng.choice((0, 100, 50_000))
                if await say(data) != data:
                    raise AssertionError("another message came back")
                if [number async for number in count(b"20")] != [b"%d" % number for number in range(20)]:
                    raise AssertionError("another stream came")
                self.done["grpc calls"] += 2
                await asyncio.sleep(self._rng.random() * 0.02)
            cancelled = count(b"100000")
            await anext(aiter(cancelled))
            cancelled.cancel()

    async def leaver(self) -> None:
        """Asks, and is gone before the answer, or in the middle of what it says."""
        said = (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nabc", b"GET / HT")
        _, writer = await asyncio.open_connection("127.0.0.1", self.ports[self._rng.choice(("http", "tcp"))])
        writer.write(self._rng.choice(said))
        await asyncio.sleep(self._rng.random() * 0.05)
        writer.transport.abort()
        self.done["clients that left"] += 1


async def change(routing: FakeRouting, places: list[Place], until: float) -> int:
    """Replaces endpoints until then. Returns how many."""
    replaced = 0
    while time.monotonic() < until:
        place = places[replaced % len(places)]
        await place.start_one()
        name = next(iter(place.servers))
        _, stack = place.servers.pop(name)
        version = routing.put_route(place.route())
        await routing.wait(lambda v=version: routing.acknowledged >= v, "acknowledged", PATIENCE_S)
        await routing.wait(
            lambda v=version, n=name: routing.reports[-1].version >= v and not ((s := routing.stats(n)) and s.in_flight),
            f"nothing is in flight on {name}",
            PATIENCE_S,
        )
        await stack.aclose()
        replaced += 1
        del routing.reports[:-1]
        await asyncio.sleep(0.3)
    return replaced


async def watch(pids: list[int], until: float, seen: list[list[int]]) -> None:
    while time.monotonic() < until:
        seen.append([memory_bytes(pid) for pid in pids])
        await asyncio.sleep(min(5.0, max(0.1, until - time.monotonic())))


def grew(seen: list[list[int]]) -> list[tuple[float, float, bool]]:
    """The memory of each process after the first quarter and at the end, in MB, and whether it grew."""
    found = []
    for numbers in zip(*seen, strict=True):
        settled, quarter = numbers[len(numbers) // 4 :], max(1, len(numbers) // 8)
        early, late = max(settled[:quarter]), min(settled[-quarter:])
        found.append((early / 1e6, late / 1e6, late > early * 1.1 + 5e6))
    return found


def left_over(pids: list[int], ports: dict[str, int]) -> list[str]:
    """The connections at these ports that nobody here has the other end of any more, by the kind of the port and their state.

    A client's library may keep an end open for a while, as gRPC's does: that one is the library's.
    """
    kinds = {port: kind for kind, port in ports.items()}
    found = [one for pid in pids for one in psutil.Process(pid).net_connections("tcp") if one.laddr.port in kinds and one.raddr]
    here = {one.laddr.port for one in psutil.Process().net_connections("tcp") if one.laddr}  # of IPv6 too: ::ffff:127.0.0.1
    return [f"{kinds[one.laddr.port]} ({one.status})" for one in found if one.raddr.port not in here]


def in_flight(routing: FakeRouting) -> int:
    return sum(stats.in_flight for stats in routing.reports[-1].endpoints)


async def soak(options: argparse.Namespace) -> list[str]:
    """Returns what was wrong."""
    wrong: list[str] = []
    rng = random.Random(options.seed)
    async with contextlib.AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        authority = Authority(directory)
        chain, key = authority.issue("soak.example")
        certificates = directory / "certificates"
        certificates.mkdir()
        (certificates / "soak.pem").write_bytes(chain + key)
        routing = await stack.enter_async_context(FakeRouting(report_s=0.2))
        places = [Place(kind, free_port()) for kind in KINDS]
        for place in places:
            stack.push_async_callback(place.end)
            for _ in range(3):
                await place.start_one()
        proxy = Proxy(routing.address, directory, workers=options.workers, arguments=("--certificates", str(certificates)))
        await proxy.start()
        stack.push_async_callback(proxy.stop)
        version = routing.put_table(*(place.route() for place in places))
        await routing.wait(lambda: routing.acknowledged >= version, "the table is served", PATIENCE_S)
        pids = [proxy.pid, *proxy.workers()]
        ports = {place.kind: place.port for place in places}
        load = Load(ports, ssl.create_default_context(cafile=authority.path), rng)
        until, seen = time.monotonic() + options.seconds, list[list[int]]()
        print(f"{options.seconds:g} s of mixed load, load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
        async with asyncio.TaskGroup() as group:
            changing = group.create_task(change(routing, places, until))
            group.create_task(watch(pids, until, seen))
            group.create_task(load.run(options.seconds))
        print(
            f"{changing.result()} endpoints were replaced; " + ", ".join(f"{n} {what}" for what, n in sorted(load.done.items()))
        )
        wrong += [f"{number} times {what}" for what, number in load.failed.most_common(20)]
        for name, (early, late, is_more) in zip(["supervisor", *["worker"] * options.workers], grew(seen), strict=True):
            print(f"memory of the {name}: {early:.1f} MB after the first quarter, {late:.1f} MB at the end")
            wrong += [f"the memory of a {name} grew from {early:.1f} to {late:.1f} MB"] if is_more else []
        if proxy.workers() != pids[1:]:
            wrong.append("a worker was replaced")
        deadline = time.monotonic() + PATIENCE_S
        while (left := left_over(proxy.workers(), ports)) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.2)  # the kernel tells nobody
        wrong += [f"connections are left whose clients are gone: {', '.join(left)}"] if left else []
        try:
            await routing.wait(lambda: not in_flight(routing), "nothing is in flight", PATIENCE_S)
        except AssertionError:
            wrong.append(f"{in_flight(routing)} requests are in flight, of nobody")
        status = await proxy.stop()
        wrong += [f"the proxy ended with status {status}"] if status else []
        bad = [line for line in proxy.log().splitlines() if " error " in line or "Traceback" in line]
        wrong += [f"its log has: {line}" for line in bad[:10]]
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description="A proxy under mixed load while its endpoints come and go.")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1, help="of what the clients do (%(default)s)")
    wrong = asyncio.run(soak(parser.parse_args()))
    print("\n".join(wrong) if wrong else "nothing failed, nothing is left, no memory grew")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
