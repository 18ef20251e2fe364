"""Endpoints that break, and what becomes of the requests they had: through a real proxy."""

import asyncio
import contextlib

from proxy_rig import Backend, Http, Serve, answering, ask_once, endpoint, free_port, rig, route, wait_until
from rookery.model import ReplicaId
from rookery.v1.types_pb2 import RouteStats


def named(name: bytes, held: set[bytes]) -> Serve:
    """Answers with its name, but holds requests for /held when it is one of those."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith((b"GET /held", b"POST /held")) and name in held:
                await reader.read()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name))

    return serve


def breaking(count: list[int]) -> Serve:
    """Reads every request and ends the connection; counts them."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001
        await reader.readuntil(b"\r\n\r\n")
        count[0] += 1

    return serve


def test_requests_outlive_several_endpoints_that_break_at_the_same_moment() -> None:
    """A node dies with three of four endpoints, while each of them has requests."""
    dying = {b"a", b"b", b"c"}

    async def main() -> None:
        async with rig() as r, contextlib.AsyncExitStack() as stack:
            port = free_port()
            backends = {n: await stack.enter_async_context(Backend(named(n, dying))) for n in (b"a", b"b", b"c", b"d")}
            await r.serve(route(port, *(endpoint(n.decode(), b.port) for n, b in backends.items())))
            clients = [await stack.enter_async_context(Http(port)) for _ in range(24)]
            for _ in range(4):
                await asyncio.gather(*(client.ask() for client in clients))  # each endpoint has idle connections
            for client in clients:
                await client.send(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
            asked = asyncio.gather(*(client.answer() for client in clients))

            def held() -> bool:
                return all(b"/held" in b"".join(map(bytes, backends[n].received)) for n in dying)

            await wait_until(held, "all three have requests")
            await asyncio.gather(*(backends[name].stop() for name in dying))
            assert {answer[::2] for answer in await asked} == {(200, b"d")}
            await r.routing.wait(lambda: figures(r.routing.reports[-1].routes).resends >= 3, "resends are told")
            assert figures(r.routing.reports[-1].routes).resends_denied == 0

    asyncio.run(main())


def figures(routes: list[RouteStats]) -> RouteStats:
    """Of the one route; all 0 until it had a request."""
    return next(iter(routes), RouteStats())


def test_a_request_that_breaks_when_its_route_is_gone_is_not_sent_again() -> None:
    async def main() -> None:
        async with rig() as r, Backend(named(b"a", {b"a"})) as a, Backend(named(b"b", {b"b"})) as b:
            port = free_port()
            web = route(port, endpoint("a", a.port), endpoint("b", b.port))
            other = route(free_port(), endpoint("c", free_port()), name="shop/other")
            await r.serve(web, other)
            for change in ((route(port),), (other,)):  # first its endpoints go, then the route as a whole
                async with Http(port) as http:
                    before = a.connections + b.connections
                    await http.send(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
                    await wait_until(lambda before=before: a.connections + b.connections > before, "an endpoint has it")
                    await r.change(*change, removes=() if change != (other,) else (web.id,))
                    for backend in (a, b):
                        await backend.stop()
                        await backend.start()
                    status, _, why = await http.answer()
                    assert (status, why) == (502, b"the endpoint closed the connection without an answer\n")
                    assert a.connections + b.connections == before + 1
                if change != (other,):
                    await r.change(web)

    asyncio.run(main())


def test_a_post_that_breaks_is_never_sent_again() -> None:
    async def main() -> None:
        count = [0]
        async with rig() as r, Backend(breaking(count)) as a, Backend(breaking(count)) as b:
            port = free_port()
            await r.serve(route(port, endpoint("a", a.port), endpoint("b", b.port)))
            status, _, why = await ask_once(port, method="POST", body=b"x")
            assert (status, why) == (502, b"the endpoint closed the connection without an answer\n")
            assert count == [1]

    asyncio.run(main())


def test_a_request_that_breaks_whoever_takes_it_is_given_up() -> None:
    async def main() -> None:
        count = [0]
        async with rig() as r, contextlib.AsyncExitStack() as stack:
            port = free_port()
            backends = [await stack.enter_async_context(Backend(breaking(count))) for _ in range(5)]
            await r.serve(route(port, *(endpoint(str(n), b.port) for n, b in enumerate(backends))))
            status, _, why = await ask_once(port)
            assert (status, why) == (502, b"the endpoint closed the connection without an answer\n")
            assert count == [3]
            assert max(b.connections for b in backends) == 1  # never twice to the same

    asyncio.run(main())


def test_an_endpoint_that_breaks_requests_is_left_alone() -> None:
    async def main() -> None:
        count = [0]
        async with rig() as r, Backend(breaking(count)) as bad, Backend(answering()) as good:
            port = free_port()
            await r.serve(route(port, endpoint("bad", bad.port), endpoint("good", good.port)))
            for _ in range(60):
                assert (await ask_once(port))[0] == 200
            assert 3 <= count[0] <= 8  # once more for each ejection whose time is over
            await r.routing.wait(lambda: (s := r.routing.stats("bad")) and s.errors_upstream == count[0], "the errors are told")
            stats = r.routing.stats("bad")
            assert stats is not None
            assert 1 <= stats.ejections <= 6

    asyncio.run(main())


def test_an_endpoint_that_answers_for_a_broken_one_behind_it_is_left_alone() -> None:
    async def unavailable(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")

    async def main() -> None:
        async with rig() as r, Backend(unavailable) as bad, Backend(answering()) as good:
            port = free_port()
            await r.serve(route(port, endpoint("bad", bad.port), endpoint("good", good.port)))
            answers = [(await ask_once(port))[::2] for _ in range(60)]
            assert 5 <= answers.count((503, b"busy")) <= 10  # passed on as they are, and then no more
            assert answers.count((200, b"ok")) == 60 - answers.count((503, b"busy"))

    asyncio.run(main())


def test_an_endpoint_that_refused_is_back_as_soon_as_it_listens() -> None:
    async def main() -> None:
        async with rig() as r, Backend(answering(b"a")) as a, Backend(answering(b"b")) as b:
            port = free_port()
            await r.serve(route(port, endpoint("a", a.port), endpoint("b", b.port)))
            await a.stop()
            loop = asyncio.get_running_loop()
            ends_at = loop.time() + 7.5  # ejected for 1, 2, 4 and then 8 s
            while loop.time() < ends_at:
                assert (await ask_once(port))[2] == b"b"
                await asyncio.sleep(0.02)
            await a.start()
            started = loop.time()
            while (await ask_once(port))[2] != b"a":
                assert loop.time() - started < 5
                await asyncio.sleep(0.02)

    asyncio.run(main())


def test_resends_end_with_their_budget() -> None:
    """Every endpoint breaks every request: of many at once, few are sent again, and it is told how many were not."""

    async def main() -> None:
        count = [0]
        async with rig() as r, Backend(breaking(count)) as a, Backend(breaking(count)) as b:
            port = free_port()
            await r.serve(route(port, endpoint("a", a.port), endpoint("b", b.port)))
            statuses = await asyncio.gather(*(ask_once(port) for _ in range(100)))
            assert {status for status, _, _ in statuses} == {502}

            def errors() -> int:
                return sum(s.errors_upstream for name in "ab" if (s := r.routing.stats(ReplicaId(name))))

            await r.routing.wait(lambda: errors() == count[0], "all errors are told")
            stats = figures(r.routing.reports[-1].routes)
            assert stats.requests == 100
            assert 30 <= stats.resends <= 50
            assert stats.resends + 100 == count[0]
            assert stats.resends_denied >= 50

    asyncio.run(main())
