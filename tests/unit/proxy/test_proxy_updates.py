"""Tables that change under load, workers and managers that go away, ports that can't be had."""

import asyncio
import contextlib
import itertools
import os
import random
import resource
import signal
import socket
import tempfile
from pathlib import Path

from fake_routing import FakeRouting
from proxy_rig import (
    Backend,
    Http,
    Proxy,
    answering,
    ask_once,
    echo,
    endpoint,
    free_port,
    leave_no_descriptor,
    rig,
    route,
    wait_until,
)  # fmt: skip
from rookery.model import ListenProtocol
from rookery.v1.routing_pb2 import RouteDelta, RoutingMessage


def test_replacing_endpoints_in_the_acknowledged_order_loses_nothing() -> None:
    """The stop that drops nothing: leave the table, acknowledged; nothing in flight, reported; only then end."""

    async def main() -> None:
        async with rig(workers=2) as r, contextlib.AsyncExitStack() as stack:
            port = free_port()
            backends = {str(n): await stack.enter_async_context(Backend(answering(pause_s=0.002))) for n in range(3)}
            await r.serve(route(port, *(endpoint(name, b.port) for name, b in backends.items())))
            failures: list[object] = []
            done = asyncio.Event()
            asked = 0

            async def client(seed: int) -> None:
                nonlocal asked
                rng = random.Random(seed)
                while not done.is_set():
                    async with Http(port) as http:
                        for _ in range(rng.randrange(1, 40)):
                            status, _, body = await http.ask(method=rng.choice(["GET", "POST"]))
                            asked += 1
                            if (status, body) != (200, b"ok"):
                                failures.append((status, body))

            clients = [asyncio.create_task(client(seed)) for seed in range(12)]
            for n in range(3, 23):
                old = min(backends, key=int)
                new = await stack.enter_async_context(Backend(answering(pause_s=0.002)))
                leaving = backends.pop(old)
                backends[str(n)] = new
                await r.change(route(port, *(endpoint(name, b.port) for name, b in backends.items())))
                version = r.routing.table.version
                await r.routing.wait(
                    lambda old=old, version=version: (
                        r.routing.reports[-1].version >= version and not ((s := r.routing.stats(old)) and s.in_flight)
                    ),
                    f"{old} has nothing in flight",
                )
                await leaving.stop()
                before = asked
                await wait_until(lambda before=before: asked >= before + 50, "requests go on")  # type: ignore[misc]
            done.set()
            await asyncio.gather(*clients)
            assert failures == []

    asyncio.run(main())


def test_an_endpoint_that_leaves_gets_no_new_request_and_finishes_those_in_flight() -> None:
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await release.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")

    async def main() -> None:
        async with rig() as r, Backend(slow) as old, Backend(answering(b"new")) as new:
            port = free_port()
            await r.serve(route(port, endpoint("old", old.port)))
            async with Http(port) as waiting, Http(port) as other:
                await waiting.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                await wait_until(lambda: old.connections == 1, "the request is with the endpoint")
                await r.change(route(port, endpoint("new", new.port)))
                version = r.routing.table.version
                for _ in range(20):
                    assert (await other.ask())[2] == b"new"
                await r.routing.wait(
                    lambda: r.routing.reports[-1].version >= version and (s := r.routing.stats("old")) and s.in_flight == 1,
                    "the one that left is reported with 1 in flight",
                )
                release.set()
                assert (await waiting.answer())[2] == b"slow"
                await r.routing.wait(lambda: (s := r.routing.stats("old")) is None or s.in_flight == 0, "0 in flight")
                assert (await waiting.ask())[2] == b"new"
            assert old.connections == 1

    asyncio.run(main())


def test_idle_connections_to_an_endpoint_that_leaves_are_closed() -> None:
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert await reader.read() == b""
        ended.set()

    async def main() -> None:
        async with rig() as r, Backend(serve) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port)))
            assert (await ask_once(port))[0] == 200
            await r.change(route(port))
            await asyncio.wait_for(ended.wait(), 60)

    asyncio.run(main())


def test_ports_come_and_go() -> None:
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await release.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")
        await reader.read()

    async def main() -> None:
        async with rig(workers=2) as r, Backend(slow) as backend:
            port, other = free_port(), free_port()
            web = route(port, endpoint("a", backend.port))
            await r.serve(web)
            async with Http(port) as waiting, Http(port) as idle:
                await waiting.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                await wait_until(lambda: backend.connections == 1, "the request is with the endpoint")
                await r.change(route(other, endpoint("a", backend.port), name="shop/other"), removes=(web.id,))
                assert await idle.ended()
                await wait_until(lambda: refuses(port), "the port is closed")
                assert not refuses(other)
                release.set()
                assert (await waiting.answer())[2] == b"slow"
                assert await waiting.ended()
            await r.change(web)
            assert (await ask_once(port))[2] == b"slow"

    asyncio.run(main())


def refuses(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0


def test_a_port_in_use_is_reported_and_taken_when_it_is_free() -> None:
    async def main() -> None:
        for workers in (1, 2):
            async with rig(workers=workers) as r, Backend(answering()) as backend, Backend(echo) as squatter:
                port = free_port()
                await r.serve(
                    route(squatter.port, endpoint("a", backend.port), name="shop/taken"),
                    route(port, endpoint("a", backend.port)),
                    route(5353, protocol=ListenProtocol.UDP, name="shop/dns"),
                )
                assert r.routing.listener_errors == [
                    (5353, "shop/dns:5353: UDP is not balanced yet; use mode: host"),
                    (squatter.port, f"can't listen on 127.0.0.1:{squatter.port}: Address already in use"),
                ]
                assert (await ask_once(port))[0] == 200
                await squatter.stop()
                await r.routing.wait(lambda: len(r.routing.listener_errors) == 1, "the port is no longer an error")
                assert (await ask_once(squatter.port))[0] == 200

    asyncio.run(main())


def test_serves_without_a_manager_also_after_its_own_restart() -> None:
    async def main() -> None:
        async with rig() as r, Backend(answering()) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port)))
            await r.routing.stop()
            assert (await ask_once(port))[0] == 200
            await wait_until(lambda: "is served meanwhile" in r.proxy.log(), "it says that the manager is away")
            await r.proxy.stop(signal.SIGKILL)
            await wait_until(lambda: refuses(port), "the workers are gone with it")
            await r.proxy.start()
            await wait_until(lambda: not refuses(port), "it serves again")
            assert (await ask_once(port))[0] == 200
            await r.routing.start()
            await r.routing.wait(lambda: len(r.routing.hellos) > 1, "it follows the manager again")
            first, last = r.routing.hellos[0], r.routing.hellos[-1]
            assert last.info.id == first.info.id
            assert last.version == r.routing.table.version
            await r.change(route(port))
            assert (await ask_once(port))[0] == 503

    asyncio.run(main())


def test_a_delta_that_does_not_fit_makes_it_ask_for_the_whole_table() -> None:
    async def main() -> None:
        async with rig() as r, Backend(answering()) as backend:
            port = free_port()
            version = r.routing.put_table(route(port, endpoint("a", backend.port)))
            await r.routing.wait_acknowledged(version)
            r.routing.send(RoutingMessage(delta=RouteDelta(from_version=77, to_version=78)))
            await r.routing.wait(lambda: len(r.routing.hellos) == 2, "a second hello")
            assert r.routing.hellos[1].version == 0
            await r.change(route(port))
            assert (await ask_once(port))[0] == 503

    asyncio.run(main())


def test_a_killed_worker_is_replaced_and_the_port_stays() -> None:
    async def main() -> None:
        async with rig(workers=2) as r, Backend(answering()) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port)))
            for _ in range(40):
                assert (await ask_once(port))[0] == 200
            await r.routing.wait(lambda: (s := r.routing.stats("a")) and s.requests == 40, "40 counted")
            for pid in r.proxy.workers():
                os.kill(pid, signal.SIGKILL)
                assert not refuses(port)
            for _ in range(20):
                assert (await ask_once(port))[0] == 200  # what waited in the sockets of the dead is answered by their successors
            await r.routing.wait(lambda: (s := r.routing.stats("a")) and s.requests == 60, "60 counted, the dead one's too")
            await r.change(route(port))
            assert (await ask_once(port))[0] == 503

    asyncio.run(main())


def test_a_worker_that_can_not_be_replaced_for_want_of_descriptors_is_tried_again() -> None:
    async def main() -> None:
        async with rig(workers=2) as r, Backend(answering()) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port)))
            before = leave_no_descriptor(r.proxy.pid)
            one, other = r.proxy.workers()
            os.kill(one, signal.SIGKILL)
            await wait_until(lambda: "a worker can't be started: Too many open files" in r.proxy.log(), "it says so")
            assert r.proxy.workers() == [other]
            resource.prlimit(r.proxy.pid, resource.RLIMIT_NOFILE, before)
            await wait_until(lambda: len(r.proxy.workers()) == 2, "it is replaced")
            for _ in range(20):
                assert (await ask_once(port))[0] == 200

    asyncio.run(main())


def test_sigterm_finishes_what_is_in_flight() -> None:
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if b" /slow " in head:
                await release.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")

    async def main() -> None:
        async with rig() as r, Backend(slow) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port)))
            async with Http(port) as waiting, Http(port) as idle:
                assert (await idle.ask())[0] == 200
                await waiting.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
                await wait_until(lambda: b"GET /slow" in b"".join(backend.received), "the request is there")
                stopping = asyncio.create_task(r.proxy.stop())
                await wait_until(lambda: refuses(port), "it takes no more connections")
                release.set()
                status, headers, body = await waiting.answer()
                assert (status, headers["connection"], body) == (200, "close", b"slow")
                assert await idle.ended()
                assert await stopping == 0

    asyncio.run(main())


def test_a_damaged_table_on_disk_and_a_bad_argument_are_said_in_one_line() -> None:
    async def main() -> None:
        with tempfile.TemporaryDirectory() as name:
            data = Path(name)
            (data / "routes").write_bytes(b"\xff\xffno table")
            async with FakeRouting() as routing:
                proxy = Proxy(routing.address, data, workers=1)
                await proxy.start()
                await routing.wait(lambda: routing.hellos, "it follows")
                assert routing.hellos[0].version == 0
                assert await proxy.stop() == 0
            assert "can't be read" in proxy.log()
            assert "Traceback" not in proxy.log()
            (data / "file").write_text("")
            broken = Proxy("127.0.0.1:1", data / "file", workers=1)
            broken._log_path = data / "broken.log"
            await broken.start()
            assert await broken.stop(signal.SIGCONT) == 1
            assert "choose another directory with --data" in broken.log()
            assert "Traceback" not in broken.log()

    asyncio.run(main())


def test_a_request_that_broke_is_not_sent_again_on_a_connection_that_is_broken_too() -> None:
    """Both endpoints restart while the worker stands still: it learns of the end of the request's before the other's."""
    held: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            await asyncio.sleep(0.05)
            if b" /held " in head and not held:
                held.append(writer)
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def main() -> None:
        async with rig() as r, Backend(serve) as a, Backend(serve) as b, contextlib.AsyncExitStack() as stack:
            port = free_port()
            await r.serve(route(port, endpoint("a", a.port), endpoint("b", b.port)))
            clients = [await stack.enter_async_context(Http(port)) for _ in range(6)]
            await asyncio.gather(*(client.ask() for client in clients))
            await clients[0].send(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
            await wait_until(lambda: bool(held), "an endpoint has the request")
            (worker,) = r.proxy.workers()
            os.kill(worker, signal.SIGSTOP)
            held[0].transport.abort()
            await asyncio.sleep(0)
            for backend in (a, b):
                await backend.stop()
                await backend.start()
            os.kill(worker, signal.SIGCONT)
            assert (await clients[0].answer())[0] == 200

    asyncio.run(main())


def test_a_manager_that_is_away_for_long_is_tried_again_well_within_its_lease() -> None:
    """It waits one lease (3 s) after its start for the proxies; who comes later is sent to replicas that were stopped."""

    async def main() -> None:
        tries: list[float] = []
        enough = asyncio.Event()

        async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tries.append(asyncio.get_running_loop().time())
            writer.close()
            if len(tries) == 9:  # long enough for a delay that doubles from 0.1 s to have passed 3 s
                enough.set()

        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with tempfile.TemporaryDirectory() as name:
            proxy = Proxy(f"127.0.0.1:{port}", Path(name), workers=1)
            async with server:
                await proxy.start()
                try:
                    await asyncio.wait_for(enough.wait(), 30)
                finally:
                    await proxy.stop()
        assert max(later - sooner for sooner, later in itertools.pairwise(tries)) < 1.5

    asyncio.run(main())


def test_a_manager_that_takes_half_a_second_to_answer_is_followed() -> None:
    """As over a long way, or on a machine that is busy."""

    async def main() -> None:
        async with FakeRouting() as routing, Backend(answering()) as backend:
            host, _, port = routing.address.rpartition(":")

            async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await asyncio.sleep(0.5)
                answers, there = await asyncio.open_connection(host, int(port))
                try:
                    await asyncio.gather(_pass_on(reader, there), _pass_on(answers, writer))
                finally:
                    there.close()

            async with Backend(late) as relay:
                with tempfile.TemporaryDirectory() as name:
                    proxy = Proxy(f"127.0.0.1:{relay.port}", Path(name), workers=1)
                    await proxy.start()
                    try:
                        served = free_port()
                        await routing.wait_acknowledged(routing.put_table(route(served, endpoint("a", backend.port))))
                        assert (await ask_once(served))[2] == b"ok"
                    finally:
                        await proxy.stop()

    asyncio.run(main())


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
