"""Split routes through a real proxy process: shares, clients that stay on their side, and a side that dies."""

import asyncio
import contextlib
import random
import signal
import socket
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from proxy_rig import Backend, Http, answering, ask_once, endpoint, free_port, rig, route, split, wait_until
from rookery.model import ListenProtocol, Split


@pytest.mark.parametrize("workers", [1, 2])
def test_shares_are_exact_to_within_a_few(workers: int) -> None:
    """And the counts that the manager compares the sides by are those of the requests."""

    async def main() -> None:
        async with rig(workers=workers) as r, Backend(answering(b"old")) as old, Backend(answering(b"new")) as new:
            port = free_port()
            endpoints = (endpoint("a", old.port), endpoint("b", old.port), endpoint("c", new.port))
            total = 0
            for share in (5, 25, 50):
                await r.serve(route(port, *endpoints, split=split(share, "c")))
                taken = await ask(port, 1000, connections=10)
                assert abs(taken["new"] - share * 10) <= 5 * workers, (share, taken)
                total += taken["new"]
            await r.routing.wait(lambda: (s := r.routing.stats("c")) and s.requests == total, "the new side's requests")
            await r.routing.wait(
                lambda: sum(s.responses_2xx for name in "abc" if (s := r.routing.stats(name))) == 3000, "all requests"
            )

    asyncio.run(main())


def test_a_header_keeps_its_client_on_one_side_while_the_share_rises() -> None:
    async def main() -> None:
        async with rig(workers=2) as r, Backend(answering(b"old")) as old, Backend(answering(b"new")) as new:
            port = free_port()
            endpoints = (endpoint("a", old.port), endpoint("b", new.port))
            users = [f"user-{n}" for n in range(100)]
            before: set[str] = set()
            for share in (5, 25, 50, 100):
                await r.serve(route(port, *endpoints, split=split(share, "b", header="X-User")))
                seen = {}
                for user in users:
                    bodies = {(await ask_once(port, headers=f"X-User: {user}\r\n"))[2] for _ in range(3)}
                    (seen[user],) = bodies
                now = {user for user in users if seen[user] == b"new"}
                assert before <= now
                assert abs(len(now) - share) <= 15
                before = now
            await r.serve(route(port, *endpoints, split=split(25, "b", header="X-User")))
            taken = await ask(port, 200)
            assert abs(taken["new"] - 50) <= 10, taken  # without the header, as without sticky

    asyncio.run(main())


def test_a_cookie_is_given_once_and_keeps_its_client_on_one_side() -> None:
    async def main() -> None:
        async with rig(workers=2) as r, Backend(answering(b"old")) as old, Backend(answering(b"new")) as new:
            port = free_port()
            endpoints = (endpoint("a", old.port), endpoint("b", new.port))
            await r.serve(route(port, *endpoints, split=split(25, "b", cookie="side")))
            clients: dict[str, bytes] = {}
            for _ in range(60):
                _, headers, body = await ask_once(port)
                pair, *attributes = headers["set-cookie"].split("; ")
                assert attributes == ["Path=/", "HttpOnly", "SameSite=Lax"]
                assert pair.startswith("side=")
                clients[pair] = body
            assert len(clients) == 60
            assert 3 <= sum(body == b"new" for body in clients.values()) <= 30
            for pair, side in clients.items():
                for _ in range(3):
                    _, headers, body = await ask_once(port, headers=f"Cookie: a=b; {pair}; c=d\r\n")
                    assert body == side  # the token decided for the request already that it was given with
                    assert "set-cookie" not in headers
            await r.serve(route(port, *endpoints, split=split(50, "b", cookie="side")))
            for pair, side in clients.items():
                body = (await ask_once(port, headers=f"Cookie: {pair}\r\n"))[2]
                assert body == b"new" or side == b"old"
            await r.serve(route(port, *endpoints))
            assert "set-cookie" not in (await ask_once(port))[1]

    asyncio.run(main())


def test_a_cookie_is_given_to_every_client_that_has_none_on_a_connection_that_stays() -> None:
    """Each answer is for its own request: no cookie of one is given with another's."""

    async def main() -> None:
        own = answering(b"own", headers=b"Set-Cookie: side=mine\r\n")
        async with rig() as r, Backend(answering(b"ok")) as a, Backend(own) as b:
            port = free_port()
            plain = route(port, endpoint("a", a.port), host="plain")
            sticky = route(port, endpoint("a", a.port), endpoint("x", a.port), host="sticky", split=split(50, "x", cookie="side"))
            owner = route(port, endpoint("b", b.port), endpoint("y", b.port), host="own", split=split(50, "y", cookie="side"))
            down = free_port()
            dead = route(port, endpoint("d", down), endpoint("e", down), host="dead", split=split(50, "e", cookie="side"))
            await r.serve(plain, sticky, owner, dead)
            async with Http(port) as http:
                given = set()
                for _ in range(5):
                    given.add((await http.ask(headers="Host: sticky\r\n"))[1]["set-cookie"])
                    assert "set-cookie" not in (await http.ask(headers="Host: plain\r\n"))[1]
                    assert "set-cookie" not in (await http.ask(headers="Host: sticky\r\nCookie: side=x\r\n"))[1]
                    status, headers, _ = await http.ask(headers="Host: dead\r\n")
                    assert (status, "set-cookie" in headers) == (503, False)
                    assert "set-cookie" not in (await http.ask(headers="Host: plain\r\n"))[1]
                assert len(given) == 5
                await http.send(b"GET / HTTP/1.1\r\nHost: own\r\n\r\n")
                head = await http.reader.readuntil(b"\r\n\r\n")
                assert head.lower().count(b"set-cookie") == 1
                assert b"side=mine" in head

    asyncio.run(main())


def test_an_upgraded_connection_is_one_request_and_is_given_the_cookie() -> None:
    async def switching(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while data := await reader.read(100):
            writer.write(data)

    async def main() -> None:
        async with rig() as r, Backend(switching) as old, Backend(switching) as new:
            port = free_port()
            endpoints = (endpoint("a", old.port), endpoint("b", new.port))
            asked = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
            await r.serve(route(port, *endpoints, split=split(100, "b", cookie="side")))
            async with Http(port) as http:
                status, headers, _ = await http.ask(headers=asked)
                assert status == 101
                assert headers["set-cookie"].startswith("side=")
                await http.send(b"hello")
                assert await http.reader.readexactly(5) == b"hello"
            await r.serve(route(port, *endpoints, split=split(25, "b")))
            for _ in range(40):
                assert (await ask_once(port, headers=asked))[0] == 101
            assert abs(new.connections - 1 - 10) <= 4

    asyncio.run(main())


def test_tcp_connections_are_shared_out() -> None:
    async def main() -> None:
        async with rig() as r, contextlib.AsyncExitStack() as stack:
            old, new = [await stack.enter_async_context(Backend(saying(text))) for text in (b"old", b"new")]
            port, endpoints = free_port(), (endpoint("a", old.port), endpoint("b", new.port))

            async def taken(count: int) -> Counter[bytes]:
                bodies: Counter[bytes] = Counter()
                for _ in range(count):
                    async with Http(port) as tcp:
                        bodies[await tcp.reader.read(-1)] += 1
                return bodies

            tcp = ListenProtocol.TCP
            await r.serve(route(port, *endpoints, protocol=tcp, split=split(25, "b", cookie="side", header="X-User")))
            assert abs((await taken(200))[b"new"] - 50) <= 4
            await new.stop()
            assert await taken(40) == {b"old": 40}

    asyncio.run(main())


@pytest.mark.parametrize("dies", ["old", "new"])
def test_the_other_side_takes_the_requests_of_one_that_dies(dies: str) -> None:
    """Also those that were in flight and may be sent again, and those of clients that stay on a side."""

    async def main() -> None:
        async with rig() as r, contextlib.AsyncExitStack() as stack:
            names = ["old-1", "old-2", "new-1", "new-2"]
            backends = {n: await stack.enter_async_context(Backend(answering(n[:3].encode(), pause_s=0.002))) for n in names}
            port = free_port()
            held = tuple(endpoint(name, backend.port) for name, backend in backends.items())
            await r.serve(route(port, *held, split=split(50, "new-1", "new-2", header="X-User")))
            taken: Counter[str] = Counter()
            loading = asyncio.create_task(ask(port, 800, connections=6, headers=every_other, into=taken))
            await wait_until(lambda: all(b.connections for b in backends.values()), "every endpoint has served")
            for name in names:
                if name.startswith(dies):
                    before = taken.total()
                    await backends[name].stop()
                    await wait_until(
                        lambda before=before: taken.total() > before + 100, "the requests that it broke were answered"
                    )
            await loading
            assert taken.total() == 800
            survivor = "new" if dies == "old" else "old"
            assert await ask(port, 100) == {survivor: 100}
            for name in names:
                if name.startswith(dies):
                    await backends[name].start()
            async with asyncio.timeout(30):
                while (await ask(port, 20))[dies] < 7:  # until they are no longer left alone
                    pass

    asyncio.run(main())


def test_a_split_that_changes_and_goes_away_under_load_loses_nothing() -> None:
    async def main() -> None:
        async with rig(workers=2) as r, contextlib.AsyncExitStack() as stack:
            old, new = [await stack.enter_async_context(Backend(answering(b, pause_s=0.002))) for b in (b"old", b"new")]
            port, endpoints = free_port(), (endpoint("a", old.port), endpoint("b", new.port))
            await r.serve(route(port, endpoints[0]))
            done = asyncio.Event()

            async def load(seed: int) -> int:
                rng, asked = random.Random(seed), 0
                while not done.is_set():
                    async with Http(port) as http:
                        for _ in range(rng.randrange(1, 40)):
                            status, _, body = await http.ask(method=rng.choice(["GET", "POST"]))
                            assert (status, body) in ((200, b"old"), (200, b"new"))
                            asked += 1
                return asked

            loads = [asyncio.create_task(load(seed)) for seed in range(8)]
            for _ in range(3):
                splits = [split(5, "b"), split(25, "b", cookie="side"), split(50, "b", header="X"), split(99, "b"), None]
                for wanted in splits:
                    await r.change(route(port, *endpoints, split=wanted))
                    await asyncio.sleep(0.05)
                await r.change(route(port, endpoints[1]))  # the roll-out is over: all traffic is the new one's
                assert await ask(port, 20) == {"new": 20}
                await r.routing.wait(lambda: (s := r.routing.stats("a")) is None or s.in_flight == 0, "none on the old")
                await r.change(route(port, endpoints[0]))
            done.set()
            assert sum(await asyncio.gather(*loads)) > 500

    asyncio.run(main())


def test_a_side_that_leaves_the_route_finishes_what_it_has_and_loses_its_idle_connections() -> None:
    """At a share of 0 or 100 the manager takes the side's endpoints out of the route, with or without a split that is left."""
    release, ended = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if b" /slow " in head:
                await release.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold")

    async def noting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await slow(reader, writer)
        finally:
            ended.set()

    async def main() -> None:
        async with rig() as r, Backend(noting) as old, Backend(answering(b"new")) as new:
            port = free_port()
            a, b = endpoint("a", old.port), endpoint("b", new.port)
            await r.serve(route(port, a, b, split=split(1, "b")))
            async with Http(port) as waiting, Http(port) as other:
                first, second = await asyncio.gather(waiting.ask(), other.ask())
                while (first[2], second[2]) != (b"old", b"old"):
                    first, second = await asyncio.gather(waiting.ask(), other.ask())
                while True:  # one of a hundred goes to the new side
                    slow_before = asked_slowly(new)
                    await waiting.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
                    await wait_until(lambda n=slow_before: asked_slowly(old) or asked_slowly(new) > n, "a side has it")  # type: ignore[misc]
                    if asked_slowly(old):
                        break
                    await waiting.answer()
                assert (await other.ask())[0] == 200
                await r.change(route(port, b, split=split(100, "b")))
                await asyncio.wait_for(ended.wait(), 60)  # the idle one
                for _ in range(10):
                    assert (await other.ask())[2] == b"new"
                await r.routing.wait(lambda: (s := r.routing.stats("a")) and s.in_flight == 1, "1 in flight is told")
                release.set()
                assert (await waiting.answer())[2] == b"old"
                await r.routing.wait(lambda: (s := r.routing.stats("a")) is None or s.in_flight == 0, "0 in flight")
                assert (await waiting.ask())[2] == b"new"

    asyncio.run(main())


@pytest.mark.parametrize(
    "odd",
    [
        split(50), split(50, "nobody"), split(50, "a", "b"), split(-7, "b"), split(1000, "b"),
        split(50, "b", cookie="a\r\nX-Evil: 1", header="b\r\nX-Evil: 1"), split(50, "b", cookie="a b", header=":"),
    ],
)  # fmt: skip
def test_an_odd_split_is_served_and_injects_nothing(odd: Split) -> None:
    async def main() -> None:
        async with rig() as r, Backend(answering()) as a, Backend(answering()) as b:
            port = free_port()
            await r.serve(route(port, endpoint("a", a.port), endpoint("b", b.port), split=odd))
            assert r.routing.listener_errors == []
            for _ in range(20):
                status, headers, _ = await ask_once(port)
                assert (status, set(headers)) == (200, {"content-length"})

    asyncio.run(main())


def test_a_split_outlives_workers_managers_and_the_proxy() -> None:
    async def main() -> None:
        async with rig() as r, Backend(answering(b"old")) as old, Backend(answering(b"new")) as new:
            port = free_port()
            held = route(port, endpoint("a", old.port), endpoint("b", new.port), split=split(25, "b", header="X-User"))
            await r.serve(held)
            users = [f"user-{n}" for n in range(20)]

            async def sides() -> list[bytes]:
                return [(await ask_once(port, headers=f"X-User: {user}\r\n"))[2] for user in users]

            before = await sides()
            await r.routing.stop()
            await r.proxy.stop(signal.SIGKILL)
            await wait_until(lambda: refuses(port), "the workers are gone with it")
            await r.proxy.start()
            await wait_until(lambda: not refuses(port), "it serves from its disk")
            assert await sides() == before
            assert abs((await ask(port, 200))["new"] - 50) <= 5
            await r.routing.start()
            await r.change(route(port, endpoint("a", old.port), endpoint("b", new.port)))

    asyncio.run(main())


async def ask(
    port: int,
    count: int,
    *,
    connections: int = 4,
    headers: Callable[[int], str] = lambda _: "",
    into: Counter[str] | None = None,
) -> Counter[str]:
    """Asks so often, over several connections at once; the bodies of the answers."""
    bodies: Counter[str] = Counter() if into is None else into

    async def one(mine: range) -> None:
        async with Http(port) as http:
            for n in mine:
                status, _, body = await http.ask(headers=headers(n))
                assert status == 200, body
                bodies[body.decode()] += 1

    await asyncio.gather(*(one(range(first, count, connections)) for first in range(connections)))
    return bodies


def asked_slowly(backend: Backend) -> int:
    return b"".join(backend.received).count(b" /slow ")


def every_other(n: int) -> str:
    return f"X-User: {n}\r\n" if n % 2 else ""


def saying(text: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001
        writer.write(text)

    return serve


def refuses(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0
