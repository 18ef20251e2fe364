"""HTTP/1.1 through a real proxy process: what a client and an endpoint see of each other."""

import asyncio
from dataclasses import replace

from proxy_rig import Backend, Http, answering, ask_once, echo, endpoint, free_port, memory_bytes, rig, route
from rookery.model import HttpRules, Redirect


def test_requests_are_spread_evenly() -> None:
    async def main() -> None:
        async with rig() as r, Backend(answering()) as a, Backend(answering()) as b, Backend(answering()) as c:
            port = free_port()
            await r.serve(route(port, endpoint("a", a.port), endpoint("b", b.port), endpoint("c", c.port)))

            async def client() -> None:
                async with Http(port) as http:
                    for _ in range(300):
                        assert (await http.ask())[0] == 200

            def counts() -> list[int]:
                return [stats.requests for name in "abc" if (stats := r.routing.stats(name))]

            await asyncio.gather(*(client() for _ in range(10)))
            await r.routing.wait(lambda: sum(counts()) == 3000, "3,000 requests counted")
            assert min(counts()) > 850, counts()
            assert max(counts()) < 1150, counts()
            assert all((stats := r.routing.stats(name)) and stats.responses_2xx == stats.requests for name in "abc")

    asyncio.run(main())


def test_connections_are_kept_on_both_sides() -> None:
    async def main() -> None:
        async with rig() as r, Backend(answering()) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port)))
            async with Http(port) as http:
                for _ in range(20):
                    assert (await http.ask())[2] == b"ok"
            async with Http(port) as http:
                assert (await http.ask())[2] == b"ok"
            assert backend.connections == 1

    asyncio.run(main())


def test_pipelined_requests_are_answered_in_order() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))

    async def main() -> None:
        async with rig() as r, Backend(serve) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port)))
            async with Http(port) as http:
                wanted = [f"/{n}".encode() for n in range(3000)]
                await http.send(b"".join(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in wanted))
                assert [(await http.answer())[2] for _ in wanted] == wanted

    asyncio.run(main())


def test_the_endpoint_sees_who_asked_and_no_field_of_the_connection() -> None:
    async def main() -> None:
        async with rig() as r, Backend(answering()) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port)))
            await ask_once(
                port,
                headers="Host: shop.test\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
                "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nAccept:  a/b \r\n",
            )
            lines = bytes(backend.received[0]).split(b"\r\n")
            assert lines == [
                b"GET / HTTP/1.1", b"Host: shop.test", b"Accept:  a/b ", b"X-Forwarded-For: 203.0.113.9, 127.0.0.1",
                b"X-Forwarded-Proto: http", b"X-Forwarded-Host: shop.test", b"", b"",
            ]  # fmt: skip

    asyncio.run(main())


def test_routes_by_host_and_longest_path() -> None:
    async def main() -> None:
        async with (
            rig() as r,
            Backend(answering(b"any")) as other,
            Backend(answering(b"api")) as api,
            Backend(answering(b"v2")) as v2,
        ):
            port = free_port()
            await r.serve(
                route(port, endpoint("any", other.port), host="shop.test"),
                route(port, endpoint("api", api.port), host="shop.test", path="/api", strip_path=True, name="shop/api"),
                route(port, endpoint("v2", v2.port), host="shop.test", path="/api/v2", name="shop/v2"),
            )
            async with Http(port) as http:
                for path, body in (
                    ("/", b"any"),
                    ("/apis", b"any"),
                    ("/api", b"api"),
                    ("/api/x?y", b"api"),
                    ("/api/v2/z", b"v2"),
                ):
                    assert (await http.ask(path, headers="Host: SHOP.test:80\r\n"))[2] == body, path
                status, headers, why = await http.ask("/", headers="Host: other.test\r\n")
                assert (status, headers["content-type"]) == (404, "text/plain; charset=utf-8")
                assert why == b"no route for other.test/\n"
            assert bytes(api.received[0]).split(b"\r\n")[0] == b"GET / HTTP/1.1"
            assert b"GET /x?y HTTP/1.1\r\n" in bytes(api.received[0])

    asyncio.run(main())


def test_bodies_and_trailers_pass_both_ways() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"chunked" in head:
                body = await reader.readuntil(b"0\r\nX-Sum: 7\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
            else:
                body = await reader.readexactly(int(head.lower().split(b"content-length:")[1].split()[0]))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    message = (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5;a=b\r\n01234\r\n0\r\nX-Sum: 7\r\n\r\n"
    )

    async def main() -> None:
        async with rig() as r, Backend(serve) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port)))
            async with Http(port) as http:
                big = bytes(range(256)) * 8192
                assert (await http.ask(method="POST", body=big))[2] == big
                await http.send(message)
                assert (await http.answer())[2] == b"abc01234"
                assert http.trailer == b"X-Sum: 7\r\n\r\n"
                assert (await http.ask(method="POST", body=big))[2] == big
                for at in range(len(message)):
                    await http.send(message[at : at + 1])
                    await asyncio.sleep(0.001)
                assert (await http.answer())[2] == b"abc01234"

    asyncio.run(main())


def test_chunks_are_taken_apart_for_a_client_of_http_1_0() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        await reader.read()

    async def main() -> None:
        async with rig() as r, Backend(serve) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port)))
            async with Http(port) as http:
                await http.send(b"GET / HTTP/1.0\r\n\r\n")
                status, headers, body = await http.answer()
                assert (status, body) == (200, b"abcde")
                assert "transfer-encoding" not in headers
            assert b"\r\nHost: web\r\n" in bytes(backend.received[0])

    asyncio.run(main())


def test_answers_without_a_body_and_interim_answers() -> None:
    answers = {
        b"/204": b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        b"/304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
        b"/103": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
        b"/end": b"HTTP/1.0 200 OK\r\n\r\nto the end",
        b"/head": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    }

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
            writer.write(answers[path])
            if path == b"/end":
                return

    async def main() -> None:
        async with rig() as r, Backend(serve) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port)))
            async with Http(port) as http:
                status, headers, _ = await http.ask("/204")
                assert (status, "content-length" in headers) == (204, False)
                assert (await http.ask("/304"))[0] == 304
                assert (await http.ask("/head", method="HEAD"))[1]["content-length"] == "5"
                assert (await http.ask("/103"))[:2] == (103, {"link": "</a>"})
                assert (await http.answer())[2] == b"x"
                assert backend.connections == 1
                status, headers, body = await http.ask("/end")
                assert (status, headers["connection"], body) == (200, "close", b"to the end")

    asyncio.run(main())


def test_expect_100_continue_is_the_endpoints_to_answer() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert b"100-continue" in await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await reader.readexactly(4) == b"body"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    async def main() -> None:
        async with rig() as r, Backend(serve) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port)))
            async with Http(port) as http:
                await http.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
                assert (await http.answer())[0] == 100
                await http.send(b"body")
                assert (await http.answer())[0] == 200

    asyncio.run(main())


def test_an_answer_before_the_request_is_whole_ends_the_connection() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await reader.read()

    async def main() -> None:
        async with rig() as r, Backend(serve) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port)))
            async with Http(port) as http:
                await http.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nbegun")
                status, headers, body = await http.answer()
                assert (status, headers["connection"], body) == (413, "close", b"big")
                assert await http.ended()

    asyncio.run(main())


def test_an_upgraded_connection_goes_through_and_is_in_flight() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in head
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello")
        await echo(reader, writer)

    async def main() -> None:
        async with rig() as r, Backend(serve) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port)))
            async with Http(port) as http:
                status, headers, _ = await http.ask(headers="Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n")
                assert (status, headers["upgrade"], headers["connection"]) == (101, "websocket", "Upgrade")
                assert await http.reader.readexactly(5) == b"hello"
                await http.send(b"\x00\xff\r\n\r\n")
                assert await http.reader.readexactly(6) == b"\x00\xff\r\n\r\n"
                await r.routing.wait(lambda: (s := r.routing.stats("a")) and s.in_flight == 1, "1 in flight")
                http.writer.write_eof()
                assert await http.ended()
            await r.routing.wait(lambda: (s := r.routing.stats("a")) and s.in_flight == 0, "0 in flight")

    asyncio.run(main())


def test_a_refused_connection_goes_on_to_another_endpoint() -> None:
    async def main() -> None:
        async with rig() as r, Backend(answering()) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("gone", free_port()), endpoint("a", backend.port)))
            async with Http(port) as http:
                for _ in range(50):
                    assert (await http.ask(method="POST", body=b"once"))[0] == 200
            await r.routing.wait(lambda: (s := r.routing.stats("a")) and s.requests == 50, "50 requests")
            gone = r.routing.stats("gone")
            assert gone is not None
            assert gone.requests == 0
            assert 1 <= gone.errors_connect <= 5  # left alone for a while after each failure
            assert b"".join(bytes(c) for c in backend.received).count(b"once") == 50

    asyncio.run(main())


def test_no_endpoint_is_a_503_with_the_reason() -> None:
    async def main() -> None:
        async with rig() as r:
            port, other = free_port(), free_port()
            await r.serve(
                route(port, why_empty="0 of 3 replicas are ready: web.1 waits for its image"),
                route(other, endpoint("gone", free_port()), name="shop/api"),
            )
            status, headers, body = await ask_once(port)
            assert (status, body) == (503, b"shop/web: 0 of 3 replicas are ready: web.1 waits for its image\n")
            assert "connection" not in headers
            status, _, body = await ask_once(other)
            assert status == 503
            assert body.startswith(b"shop/api: none of the 1 endpoints that were tried took the connection")

    asyncio.run(main())


def test_a_pooled_connection_that_died_is_retried_for_idempotent_methods() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Closes right after the second request came, without an answer."""
        seen.append((await reader.readuntil(b"\r\n\r\n")).split()[1])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        seen.append((await reader.readuntil(b"\r\n\r\n")).split()[1])

    async def main() -> None:
        async with rig() as r, Backend(serve) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port)))
            async with Http(port) as http:
                assert (await http.ask("/1"))[0] == 200
                assert (await http.ask("/2"))[0] == 200
                assert seen == [b"/1", b"/2", b"/2"]
                status, _, body = await http.ask("/3", method="POST", body=b"x")
                assert (status, body) == (502, b"the endpoint closed the connection without an answer\n")
            await r.routing.wait(lambda: (s := r.routing.stats("a")) and s.errors_upstream == 1, "an error counted")

    asyncio.run(main())


def test_a_request_that_dies_with_its_endpoint_is_retried_once_for_idempotent_methods() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers every second connection; the others are closed with the request read and nothing said."""
        seen.append((await reader.readuntil(b"\r\n\r\n")).split()[1])
        if len(seen) % 2 == 0:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    async def main() -> None:
        async with rig() as r, Backend(serve) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port)))
            async with Http(port) as http:
                assert (await http.ask("/1"))[0] == 200
                assert seen == [b"/1", b"/1"]
                status, _, body = await http.ask("/2", method="POST", body=b"x")
                assert (status, body) == (502, b"the endpoint closed the connection without an answer\n")
                assert seen == [b"/1", b"/1", b"/2"]

    asyncio.run(main())


def test_an_idle_connection_that_the_endpoint_closed_is_not_used() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(1)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def main() -> None:
        async with rig() as r, Backend(serve) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port)))
            async with Http(port) as http:
                for _ in range(50):
                    await asyncio.sleep(0.002)  # time for the end of the last connection to arrive
                    assert (await http.ask(method="POST", body=b"x"))[0] == 200
            assert backend.connections == 50

    asyncio.run(main())


def test_memory_is_bounded_when_a_client_or_an_endpoint_does_not_read() -> None:
    size = 64 * 1024 * 1024
    release = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"POST"):
            await release.wait()
            left = size
            while left:
                left -= len(await reader.read(min(left, 65536)))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await reader.read()
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 65536):
            writer.write(b"x" * 65536)
            await writer.drain()

    async def main() -> None:
        async with rig() as r, Backend(serve) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port)))
            (worker,) = r.proxy.workers()
            before = memory_bytes(worker)
            async with Http(port) as reading, Http(port) as writing:
                reading.writer.transport.pause_reading()  # type: ignore[attr-defined]
                await reading.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                writing.writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
                writing.writer.write(bytes(size))
                moved: list[int] = []

                def stands_still() -> bool:
                    stats = r.routing.stats("a")
                    moved.append(stats.bytes_in + stats.bytes_out if stats and stats.in_flight == 2 else -len(moved))
                    return len(moved) > 10 and len(set(moved[-10:])) == 1

                await r.routing.wait(stands_still, "both wait for the other side")
                assert moved[-1] > 500_000
                assert memory_bytes(worker) - before < 8 * 1024 * 1024
                release.set()
                reading.writer.transport.resume_reading()  # type: ignore[attr-defined]
                _, _, body = await reading.answer()
                assert len(body) == size
                assert (await writing.answer())[0] == 200

    asyncio.run(main())


def test_garbage_on_the_port_harms_nobody_else() -> None:
    async def main() -> None:
        async with rig() as r, Backend(answering()) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port)))
            workers = r.proxy.workers()
            async with Http(port) as good:
                for garbage in (
                    b"\x00" * 1000,
                    b"\xff\xfe" * 70000,
                    b"\r\n" * 5000,
                    b"A" * 200000,
                    b"\x16\x03\x01\x00\xa5\x01",
                    b"GET",
                ):
                    async with Http(port) as bad:
                        bad.writer.write(garbage)
                    assert (await good.ask())[0] == 200
            assert backend.connections == 1
            assert r.proxy.workers() == workers

    asyncio.run(main())


def test_a_request_that_is_asked_again_follows_the_table() -> None:
    """What a connection asks once more goes where the table sends it now, not where it went before."""

    async def main() -> None:
        async with rig() as r, Backend(answering(b"one")) as one, Backend(answering(b"two")) as two:
            port = free_port()
            first = route(port, endpoint("a", one.port))
            closer = route(port, endpoint("c", two.port), name="shop/closer", host="x")
            shorter = route(port, endpoint("d", two.port), name="shop/shorter", host="x", path="/a", strip_path=True)
            away = replace(first, rules=HttpRules(redirect=Redirect(scheme="https", port=443)))
            tables = [
                ([first], 200, b"one"),
                ([route(port, endpoint("b", two.port))], 200, b"two"),
                ([first], 200, b"one"),
                ([first, closer], 200, b"two"),
                ([first], 200, b"one"),
                ([away], 308, b""),
                ([first], 200, b"one"),
                ([first, shorter], 200, b"two"),
            ]
            await r.serve(first)
            async with Http(port) as http:
                for routes, wanted, text in tables:
                    await r.serve(*routes)
                    for _ in range(4):
                        status, _, body = await http.ask("/a/b")
                        assert (status, text in body) == (wanted, True)
            assert sum(bytes(received).count(b"GET /a/b HTTP/1.1\r\n") for received in one.received) == 16
            assert sum(bytes(received).count(b"GET /b HTTP/1.1\r\n") for received in two.received) == 4

    asyncio.run(main())


def test_a_client_that_ends_its_side_gets_its_answer_and_then_the_end() -> None:
    async def main() -> None:
        async with rig() as r, Backend(answering(pause_s=0.05)) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port)))
            for asked_before in (0, 3):
                async with Http(port) as http:
                    for _ in range(asked_before):
                        await http.ask()
                    await http.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    http.writer.write_eof()
                    status, headers, body = await http.answer()
                    assert (status, headers["connection"], body) == (200, "close", b"ok")
                    assert await http.ended()

    asyncio.run(main())
