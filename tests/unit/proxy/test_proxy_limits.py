"""Time limits and bounds, on a worker's loop with short limits in a thread of the test."""

import asyncio
import contextlib
import resource
import socket
import threading
from collections.abc import AsyncIterator

import httpx
import pytest
from proxy_rig import Backend, Http, answering, ask_once, endpoint, free_port, leave_no_descriptor, rig, route, wait_until
from rookery.model import ListenProtocol, Route, RouteTable
from rookery_proxy.balance import Context
from rookery_proxy.control import Applied, Channel, Count, Drain, Listen, Replace
from rookery_proxy.loop import Loop
from rookery_proxy.main import _parser
from rookery_proxy.settings import Limits
from rookery_proxy.stats import Figures
from rookery_proxy.worker import Worker


class InThread:
    """A worker in a thread, driven over its control socket."""

    def __init__(self, limits: Limits) -> None:
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        self._loop = Loop()
        self._worker = Worker(Context(self._loop, limits), Channel(theirs))
        self._sockets: list[socket.socket] = []
        self.thread = threading.Thread(target=self._loop.run, daemon=True)
        self.thread.start()

    async def serve(self, *routes: Route) -> None:
        self.channel.send(Replace(table=RouteTable(version=1, routes=routes)))
        for port in sorted({r.port for r in routes}):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
            sock.listen(100)
            self.channel.send(Listen(port=port), sock.fileno())
            self._sockets.append(sock)
        assert isinstance(await self.hear(), Applied)

    async def figures(self) -> Figures:
        self.channel.send(Count())
        heard = await self.hear()
        assert isinstance(heard, Figures)
        return heard

    async def hear(self) -> object:
        for _ in range(1000):
            messages = self.channel.receive()
            if messages:
                return messages[0]
            await asyncio.sleep(0.01)
        raise AssertionError("the worker says nothing")


@contextlib.asynccontextmanager
async def worker(limits: Limits) -> AsyncIterator[InThread]:
    made = InThread(limits)
    try:
        yield made
    finally:
        made.channel.send(Drain(timeout_s=0.1))
        await asyncio.to_thread(made.thread.join, 10)
        assert not made.thread.is_alive()
        for sock in (*made._sockets, made.channel.sock, made._worker._channel.sock):
            sock.close()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001
    await reader.read()


def test_a_head_that_dribbles_in_is_refused_in_time() -> None:
    async def main() -> None:
        async with worker(Limits(head_s=0.3)) as w, Backend(answering()) as backend:
            port = free_port()
            await w.serve(route(port, endpoint("a", backend.port)))
            async with Http(port) as http:
                for byte in b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"y" * 200:
                    with contextlib.suppress(ConnectionError):
                        await http.send(bytes([byte]))
                    await asyncio.sleep(0.01)
                    if http.reader._buffer:  # type: ignore[attr-defined]
                        break
                assert (await http.answer())[0] == 408
            async with Http(port) as silent:
                assert await silent.ended()
            assert backend.connections == 0

    asyncio.run(main())


def test_idle_clients_and_idle_endpoints_are_let_go() -> None:
    async def main() -> None:
        async with worker(Limits(idle_s=0.3, upstream_idle_s=0.3)) as w, Backend(answering()) as backend:
            port = free_port()
            await w.serve(route(port, endpoint("a", backend.port)))
            async with Http(port) as http:
                assert (await http.ask())[0] == 200
                assert await http.ended()
            await wait_until(lambda: not backend._writers, "the endpoint's connection is closed")

    asyncio.run(main())


def test_an_endpoint_that_does_not_answer_is_504_and_a_body_that_stops_is_408() -> None:
    async def main() -> None:
        async with worker(Limits(answer_s=0.3, stall_s=0.3)) as w, Backend(silent) as backend:
            port = free_port()
            await w.serve(route(port, endpoint("a", backend.port)))
            assert (await ask_once(port))[::2] == (504, b"the endpoint did not answer in time\n")
            async with Http(port) as http:
                await http.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
                assert (await http.answer())[0] == 408
            figures = await w.figures()
            assert figures.endpoints[0].in_flight == 0
            assert figures.endpoints[0].errors_upstream == 1

    asyncio.run(main())


def test_an_endpoint_of_http2_that_does_not_answer_is_504() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\0\0\0\4\0\0\0\0\0")  # SETTINGS, and nothing else
        await silent(reader, writer)

    async def main() -> None:
        async with worker(Limits(answer_s=0.2)) as w, Backend(serve) as backend:
            port = free_port()
            await w.serve(route(port, endpoint("a", backend.port), protocol=ListenProtocol.HTTP2))
            async with httpx.AsyncClient(http1=False, http2=True, timeout=20) as client:
                answer = await client.get(f"http://127.0.0.1:{port}/")
            assert (answer.status_code, answer.text) == (504, "the endpoint did not answer in time\n")

    asyncio.run(main())


def test_an_endpoint_that_takes_no_connections_is_given_up_for_another() -> None:
    async def main() -> None:
        # A full backlog drops what comes: the connect neither succeeds nor fails.
        with socket.socket() as full, contextlib.ExitStack() as stack:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for _ in range(3):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(full.getsockname())
            async with worker(Limits(connect_s=0.3)) as w, Backend(answering()) as backend:
                port, tcp = free_port(), free_port()
                endpoints = (endpoint("full", full.getsockname()[1]), endpoint("a", backend.port))
                await w.serve(route(port, *endpoints), route(tcp, *endpoints, protocol=ListenProtocol.TCP, name="shop/tcp"))
                for _ in range(4):
                    assert (await ask_once(port, method="POST"))[0] == 200
                    assert (await ask_once(tcp))[0] == 200
                figures = await w.figures()
                assert sum(e.errors_connect for e in figures.endpoints if e.replica_id == "full") >= 1

    asyncio.run(main())


def test_a_client_that_asks_and_never_reads_does_not_fill_the_memory() -> None:
    body = b"x" * 60_000

    async def main() -> None:
        async with worker(Limits()) as w, Backend(answering(body)) as backend:
            port = free_port()
            await w.serve(route(port, endpoint("a", backend.port)))
            async with Http(port) as http:
                http.writer.transport.pause_reading()  # type: ignore[attr-defined]
                count = 2000
                http.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * count)
                seen = []
                for _ in range(400):
                    seen.append(len((backend.received and backend.received[0]) or b""))
                    if len(seen) > 20 and len(set(seen[-20:])) == 1 and seen[-1]:
                        break
                    await asyncio.sleep(0.01)
                asked = bytes(backend.received[0]).count(b"GET ")
                assert asked < 300  # the rest waits for the client to read
                http.writer.transport.resume_reading()  # type: ignore[attr-defined]
                for _ in range(count):
                    assert (await http.answer())[2] == body

    asyncio.run(main())


def test_without_descriptors_new_clients_are_refused_and_old_ones_served() -> None:
    async def main() -> None:
        async with worker(Limits()) as w, Backend(answering()) as backend:
            port = free_port()
            await w.serve(route(port, endpoint("a", backend.port)))
            async with Http(port) as old:
                assert (await old.ask())[0] == 200
                await asyncio.to_thread(int)  # its first call opens files
                soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
                with contextlib.ExitStack() as stack:
                    ready = [stack.enter_context(socket.socket()) for _ in range(3)]
                    used = max(s.fileno() for s in ready)
                    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, hard))
                    stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
                    for sock in ready:
                        sock.settimeout(10)
                        sock.connect(("127.0.0.1", port))
                        assert await asyncio.to_thread(sock.recv, 1) == b""
                        assert (await old.ask())[0] == 200
                assert (await ask_once(port))[0] == 200

    asyncio.run(main())


def test_without_descriptors_no_endpoint_is_blamed_for_it() -> None:
    async def main() -> None:
        ending, port = answering(headers=b"Connection: close\r\n"), free_port()
        async with rig() as r, Backend(ending) as one, Backend(ending) as two:
            await r.serve(route(port, endpoint("a", one.port), endpoint("b", two.port)))
            async with Http(port) as client:
                assert (await client.ask())[0] == 200
                (pid,) = r.proxy.workers()
                before = leave_no_descriptor(pid)
                answer = await client.ask()
                while answer[0] == 200:  # by what the request before left
                    leave_no_descriptor(pid)
                    answer = await client.ask()
                assert (answer[0], b"Too many open files" in answer[2]) == (503, True)
                async with Http(port) as other:
                    assert await other.ended()
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
            assert {(await ask_once(port))[0] for _ in range(4)} == {200}
            await r.routing.wait(lambda: sum(s.requests for s in r.routing.reports[-1].endpoints) >= 5, "all are told of")
            assert all(not s.errors_connect and not s.ejections for s in r.routing.reports[-1].endpoints)
            assert r.proxy.log().count("no file descriptors left") == 1

    asyncio.run(main())


def test_drain_waits_for_what_is_in_flight_no_longer_than_told() -> None:
    async def main() -> None:
        async with worker(Limits()) as w, Backend(silent) as backend:
            port = free_port()
            await w.serve(route(port, endpoint("a", backend.port)))
            async with Http(port) as http:
                await http.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                await wait_until(lambda: backend.connections == 1, "the request is with the endpoint")
                w.channel.send(Drain(timeout_s=0.2))
                await asyncio.to_thread(w.thread.join, 10)
                assert not w.thread.is_alive()

    asyncio.run(main())


def test_a_port_with_too_many_connections_says_so_and_serves_those_it_has() -> None:
    async def main() -> None:
        async with worker(Limits(connections=3, linger_s=0.2)) as w, Backend(answering()) as backend:
            port, tcp = free_port(), free_port()
            end = endpoint("a", backend.port)
            await w.serve(route(port, end), route(tcp, end, protocol=ListenProtocol.TCP, name="shop/tcp"))
            for number in (port, tcp):
                async with Http(number) as a, Http(number) as b, Http(number) as c:
                    held = [a, b, c]
                    assert [(await http.ask())[0] for http in held] == [200] * 3
                    async with Http(number) as late:
                        if number == port:
                            status, headers, why = await late.answer()
                            assert (status, headers["connection"]) == (503, "close")
                            assert why == b"this port has 3 connections, and takes no more\n"
                        assert await late.ended()
                    assert [(await http.ask())[0] for http in held] == [200] * 3
            assert (await ask_once(port))[0] == 200

    asyncio.run(main())


@pytest.mark.parametrize("flag", ["--most-connections=0", "--head-timeout=0.1", "--idle-timeout=4000", "--head-timeout=x"])
def test_a_limit_out_of_bounds_is_refused_with_the_bounds(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _parser().parse_args([flag])
    assert flag.partition("=")[0] in capsys.readouterr().err
