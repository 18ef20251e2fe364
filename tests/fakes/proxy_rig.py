"""A real proxy process under a scripted manager, and backends that a test can script: all on loopback."""

import asyncio
import contextlib
import os
import resource
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from fake_routing import FakeRouting
from ports import free_port as free_port
from rookery.model import Endpoint, ListenProtocol, ReplicaId, Route, RouteId, Split

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Answer = tuple[int, dict[str, str], bytes]


def endpoint(replica: str, port: int, *, target: int = 80, revision: int = 1) -> Endpoint:
    return Endpoint(replica_id=ReplicaId(replica), address="127.0.0.1", port=port, target=target, revision=revision)


def route(
    port: int,
    *endpoints: Endpoint,
    name: str = "shop/web",
    protocol: ListenProtocol = ListenProtocol.HTTP,
    host: str = "",
    path: str = "",
    why_empty: str = "",
    strip_path: bool = False,
    split: Split | None = None,
) -> Route:
    app, service = name.split("/")
    return Route(
        id=RouteId(f"{name}:{port}{host}{path}"), app=app, service=service, port=port, protocol=protocol, host=host, path=path,
        endpoints=endpoints, why_empty=why_empty, strip_path=strip_path, split=split,
    )  # fmt: skip


def split(share: int, *replicas: str, cookie: str = "", header: str = "") -> Split:
    return Split(share=share, replica_ids=tuple(ReplicaId(name) for name in replicas), sticky_cookie=cookie, sticky_header=header)


class Backend:
    """A server of a test's own making. Records the bytes of every connection."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.port = free_port()  # which stays its own while it is stopped
        self.connections = 0
        self.received: list[bytearray] = []
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> "Backend":
        await self.start()
        return self

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=1 << 22)

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Ends as a killed process does: nothing listens, and open connections break."""
        assert self._server is not None
        self._server.close()
        while self._writers:
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.sleep(0.001)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        record = bytearray()
        self.received.append(record)
        feed = reader.feed_data

        def recording(data: bytes) -> None:
            record.extend(data)
            feed(data)

        reader.feed_data = recording  # type: ignore[method-assign]
        with contextlib.suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            await self._serve(reader, writer)
        self._writers.discard(writer)
        writer.close()


def answering(body: bytes = b"ok", *, headers: bytes = b"", pause_s: float = 0.0) -> Serve:
    """Answers every request (with any Content-Length body) alike, on connections that stay."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = [int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
            if length:
                await reader.readexactly(length[0])
            if pause_s:
                await asyncio.sleep(pause_s)
            writer.write(b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (headers, len(body), body))
            await writer.drain()

    return serve


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what comes, to the end of the input."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


class Proxy:
    """A rookery-proxy process."""

    def __init__(self, manager: str, data: Path, *, workers: int, arguments: Sequence[str] = ()) -> None:
        self._arguments = ["--insecure", "--manager", manager, "--data", str(data), "--bind", "127.0.0.1"]
        self._arguments += ["--workers", str(workers), *arguments]
        self._process: asyncio.subprocess.Process | None = None
        self._log_path = data / "proxy.log"

    async def start(self) -> None:
        with self._log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "rookery_proxy.main", *self._arguments, stderr=log, stdin=asyncio.subprocess.DEVNULL
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def workers(self) -> list[int]:
        """The pids of its worker processes."""
        tasks = Path(f"/proc/{self.pid}/task")
        return [int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()]

    def log(self) -> str:
        return self._log_path.read_text()

    async def ended(self) -> int:
        """Its status, once it has ended by itself."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        return await asyncio.wait_for(self._process.wait(), 60)


class Rig:
    def __init__(self, routing: FakeRouting, proxy: Proxy) -> None:
        self.routing = routing
        self.proxy = proxy

    async def serve(self, *routes: Route) -> None:
        """Makes these the routes, and waits until the proxy serves them."""
        await self.routing.wait_acknowledged(self.routing.put_table(*routes))

    async def change(self, *routes: Route, removes: tuple[str, ...] = ()) -> None:
        """Changes routes by a delta, and waits until the proxy serves them."""
        await self.routing.wait_acknowledged(self.routing.put_route(*routes, removes=removes))


@contextlib.asynccontextmanager
async def rig(*arguments: str, workers: int = 1, report_s: float = 0.05) -> AsyncIterator[Rig]:
    """`arguments` are further ones of the proxy."""
    with tempfile.TemporaryDirectory() as name:
        async with FakeRouting(report_s=report_s) as routing:
            proxy = Proxy(routing.address, Path(name), workers=workers, arguments=arguments)
            await proxy.start()
            try:
                yield Rig(routing, proxy)
            finally:
                await proxy.stop()
            assert "Traceback" not in proxy.log(), proxy.log()


class Http:
    """A client connection that speaks HTTP/1.1 by hand."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.trailer = b""

    async def __aenter__(self) -> "Http":
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, head_only: bool = False) -> Answer:
        async with asyncio.timeout(60):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
            status = int(lines[0].split()[1])
            body = b""
            if head_only or status < 200 or status in (204, 304):
                pass
            elif headers.get("transfer-encoding") == "chunked":
                body = await self._chunks()
            elif "content-length" in headers:
                body = await self.reader.readexactly(int(headers["content-length"]))
            else:
                body = await self.reader.read()
            return status, headers, body

    async def ask(self, path: str = "/", *, method: str = "GET", headers: str = "", body: bytes = b"") -> Answer:
        length = f"Content-Length: {len(body)}\r\n" if body or method == "POST" else ""
        host = "" if headers.lower().startswith("host:") else "Host: x\r\n"
        await self.send(f"{method} {path} HTTP/1.1\r\n{host}{headers}{length}\r\n".encode() + body)
        return await self.answer(head_only=method == "HEAD")

    async def ended(self) -> bool:
        """Whether the proxy ends the connection, with nothing more on it."""
        async with asyncio.timeout(60):
            return await self.reader.read(1) == b""

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
        self.trailer = await self.reader.readuntil(b"\r\n")
        while not self.trailer.endswith(b"\r\n\r\n") and self.trailer != b"\r\n":
            self.trailer += await self.reader.readuntil(b"\r\n")
        return body


async def ask_once(port: int, path: str = "/", *, method: str = "GET", headers: str = "", body: bytes = b"") -> Answer:
    async with Http(port) as client:
        return await client.ask(path, method=method, headers=headers, body=body)


async def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while not condition():
        assert loop.time() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.01)


def memory_bytes(pid: int) -> int:
    """The resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def leave_no_descriptor(pid: int) -> tuple[int, int]:
    """Lowers a process's limit to what it has open. Returns the limit that it had."""
    used = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(set(range(len(used) + 1)) - used), before[1]))
    return before
