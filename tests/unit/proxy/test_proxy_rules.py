"""What routes do to requests and answers, through a real proxy; and the pure parts of it."""

import asyncio
import base64
import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxy_rig import Backend, Http, Rig, answering, ask_once, endpoint, free_port, rig, route
from rookery.model import HeaderEdit, HeaderField, HttpRules, RateLimit, Redirect, Route, RouteId
from rookery.passwords import user_line
from rookery_proxy.rules import Buckets

F = HeaderField


def ruled(port: int, *endpoints: Any, path: str = "", host: str = "", **rules: Any) -> Route:
    made = HttpRules(**rules)
    plain = route(port, *endpoints, path=path, host=host)
    return dataclasses.replace(plain, id=RouteId(f"{plain.id} {made.selection}"), rules=made)


def head_of(backend: Backend, index: int = -1) -> str:
    return bytes(backend.received[index]).decode()


def basic(name: str, password: str) -> str:
    return f"Authorization: Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}\r\n"


def test_methods_and_headers_choose_the_route_and_the_most_particular_one_wins() -> None:
    async def main() -> None:
        port = free_port()
        async with (
            rig() as r,
            Backend(answering(b"any")) as any_,
            Backend(answering(b"post")) as post,
            Backend(answering(b"beta")) as beta,
            Backend(answering(b"deep")) as deep,
        ):
            await r.serve(
                ruled(port, endpoint("a", any_.port)),
                ruled(port, endpoint("b", post.port), methods=("POST", "PUT")),
                ruled(port, endpoint("c", beta.port), headers=(F(name="X-Version", value="beta"),)),
                ruled(port, endpoint("d", deep.port), path="/deep", methods=("GET",)),
            )
            async with Http(port) as client:
                assert (await client.ask("/"))[2] == b"any"
                assert (await client.ask("/", method="POST"))[2] == b"post"
                assert (await client.ask("/", headers="x-version: beta\r\n"))[2] == b"beta"
                assert (await client.ask("/", method="POST", headers="X-Version: beta\r\n"))[2] == b"beta"
                assert (await client.ask("/", headers="X-Version: betamax\r\n"))[2] == b"any"
                assert (await client.ask("/deep", headers="X-Version: beta\r\n"))[2] == b"deep"
                assert (await client.ask("/deep", method="POST"))[2] == b"post"

    asyncio.run(main())


def test_a_request_that_no_route_selects_is_404() -> None:
    async def main() -> None:
        port = free_port()
        async with rig() as r, Backend(answering()) as backend:
            await r.serve(ruled(port, endpoint("a", backend.port), methods=("GET",)))
            assert (await ask_once(port))[0] == 200
            assert (await ask_once(port, method="POST"))[0] == 404

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "rewrite", "asked", "seen"),
    [
        ("/api", "/v2", "/api/x?q=/api", "/v2/x?q=/api"),
        ("/api", "/v2/", "/api", "/v2"),
        ("/api", "/", "/api/x", "/x"),
        ("/api", "/", "/api", "/"),
        ("", "/base", "/x", "/base/x"),
        ("/api/", "/v2", "/api?x", "/v2?x"),
    ],
)
def test_a_path_is_rewritten(path: str, rewrite: str, asked: str, seen: str) -> None:
    async def main() -> None:
        port = free_port()
        async with rig() as r, Backend(answering()) as backend:
            await r.serve(ruled(port, endpoint("a", backend.port), path=path, rewrite=rewrite))
            assert (await ask_once(port, asked))[0] == 200
            assert head_of(backend).startswith(f"GET {seen} HTTP/1.1\r\n")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("redirect", "path", "asked", "host", "location"),
    [
        (Redirect(scheme="https"), "", "/a?b=c", "shop.example:8080", "https://shop.example/a?b=c"),
        (Redirect(scheme="https", port=8443), "", "/", "[::1]:80", "https://[::1]:8443/"),
        (Redirect(host="www.example"), "", "/a", "example:8080", "http://www.example/a"),
        (Redirect(path="/new", status=301), "/old", "/old/x?y", "example:8080", "http://example:8080/new/x?y"),
        (Redirect(path="/", status=302), "/old", "/old", "example", "http://example/"),
    ],
)
def test_a_client_is_sent_elsewhere(redirect: Redirect, path: str, asked: str, host: str, location: str) -> None:
    async def main() -> None:
        port = free_port()
        async with rig() as r:
            await r.serve(ruled(port, path=path, redirect=redirect))
            async with Http(port) as client:
                for method in ("GET", "HEAD"):
                    status, headers, _ = await client.ask(asked, method=method, headers=f"Host: {host}\r\n")
                    assert (status, headers["location"]) == (redirect.status, location)
                await client.send(b"GET / HTTP/1.0\r\n\r\n")
                status, headers, _ = await client.answer()
                assert status == (404 if path else redirect.status if redirect.host else 400)

    asyncio.run(main())


def test_headers_are_set_and_removed_on_both_ways_and_only_where_the_route_says_so() -> None:
    async def main() -> None:
        port = free_port()
        async with rig() as r, Backend(answering(headers=b"Server: x\r\nX-Powered-By: y\r\nX-Stay: z\r\n")) as backend:
            edit = HeaderEdit(set=(F(name="X-User", value="proxy"), F(name="Host", value="inner")), remove=("Cookie",))
            back = HeaderEdit(set=(F(name="Strict-Transport-Security", value="max-age=1"),), remove=("Server", "x-powered-by"))
            await r.serve(
                ruled(port, endpoint("a", backend.port), path="/edited", request_headers=edit, response_headers=back),
                ruled(port, endpoint("a", backend.port)),
            )
            said = "Host: shop\r\nX-User: me\r\nx_user: me\r\nCookie: a=b\r\nX-Usher: me\r\n"
            async with Http(port) as client:
                for path in ("/plain", "/edited", "/plain"):  # of one connection, with the same fields
                    _, headers, _ = await client.ask(path, headers=said)
                    assert ("server" in headers, headers["x-stay"]) == (path == "/plain", "z")
                    assert ("strict-transport-security" in headers) == (path == "/edited")
            plain, again = head_of(backend, 0).split("\r\n\r\n")[:2]  # each route has its own connections
            edited = head_of(backend, 1).split("\r\n\r\n")[0]
            assert "X-User: me\r\nx_user: me\r\nCookie: a=b\r\nX-Usher: me" in plain
            assert plain == again
            fields = edited.split("\r\n")[1:]
            assert fields.count("X-User: proxy") == fields.count("Host: inner") == 1
            assert [f for f in fields if "me" in f] == ["X-Usher: me"]
            assert not any(f.startswith("Cookie") for f in fields)

    asyncio.run(main())


def test_a_name_and_a_password_are_asked_for_and_stay_with_the_proxy() -> None:
    async def main() -> None:
        port = free_port()
        async with rig() as r, Backend(answering()) as backend:
            await r.serve(ruled(port, endpoint("a", backend.port), users=(user_line("ann", "secret"), user_line("bob", "x"))))
            async with Http(port) as client:
                status, headers, _ = await client.ask()
                assert status == 401
                assert headers["www-authenticate"].startswith("Basic realm=")
                others = ("Authorization: Basic !\r\n", "Authorization: Bearer x\r\n", basic("ann", "secret") * 2)
                for wrong in (basic("ann", "Secret"), basic("eve", "secret"), *others):
                    assert (await client.ask(headers=wrong))[0] == 401
                for _ in range(3):
                    assert (await client.ask(headers=basic("ann", "secret")))[0] == 200
                assert (await client.ask(headers=basic("bob", "x").replace("Basic", "bAsIc")))[0] == 200
            assert "uthorization" not in head_of(backend)
            assert (await guesses(port, 30)) == {401, 429}
            async with Http(port) as client:  # who was known stays so
                assert (await client.ask(headers=basic("ann", "secret")))[0] == 200

    async def guesses(port: int, count: int) -> set[int]:
        async with Http(port) as client:
            return {(await client.ask(headers=basic("ann", str(n))))[0] for n in range(count)}

    asyncio.run(main())


def test_more_than_a_rate_is_told_when_to_come_again() -> None:
    async def main() -> None:
        port = free_port()
        async with rig() as r, Backend(answering()) as backend:
            limit = RateLimit(per_s=0.01, burst=3)
            await r.serve(ruled(port, endpoint("a", backend.port), rate_limit=limit))
            async with Http(port) as client:
                assert [(await client.ask())[0] for _ in range(5)] == [200, 200, 200, 429, 429]
                assert 90 <= int((await client.ask())[1]["retry-after"]) <= 100
            # Another endpoint changes nothing about what was counted.
            await r.change(ruled(port, endpoint("a", backend.port), endpoint("b", backend.port), rate_limit=limit))
            assert (await ask_once(port))[0] == 429

    asyncio.run(main())


@pytest.mark.parametrize(("networks", "status"), [(("127.0.0.0/8",), 200), (("::1", "10.0.0.0/8"), 403), (("127.0.0.1",), 200)])
def test_only_some_addresses_may_ask(networks: tuple[str, ...], status: int) -> None:
    async def main() -> None:
        port = free_port()
        async with rig() as r, Backend(answering()) as backend:
            await r.serve(ruled(port, endpoint("a", backend.port), allow_from=networks))
            forged = "X-Forwarded-For: 10.0.0.1\r\n"  # what a client says of itself proves nothing
            assert (await ask_once(port, headers=forged))[0] == status

    asyncio.run(main())


def test_a_route_with_rules_that_can_not_be_carried_out_is_named_and_the_others_served() -> None:
    async def main() -> None:
        port, other = free_port(), free_port()
        async with rig() as r, Backend(answering()) as backend:
            await serve_both(r, port, other, backend)
            assert (await ask_once(other))[0] == 200

    async def serve_both(r: Rig, port: int, other: int, backend: Backend) -> None:
        await r.serve(ruled(port, endpoint("a", backend.port), rewrite="no path"), ruled(other, endpoint("a", backend.port)))
        assert any("rewrite: 'no path' is no path" in why for _, why in r.routing.listener_errors)

    asyncio.run(main())


@given(
    st.floats(0.1, 100.0),
    st.integers(1, 20),
    st.lists(st.tuples(st.floats(0.0, 3.0), st.sampled_from([b"a", b"b"])), max_size=60),
)
def test_no_client_gets_more_than_its_rate_and_burst(per_s: float, burst: int, asked: list[tuple[float, bytes]]) -> None:
    buckets, now = Buckets(RateLimit(per_s=per_s, burst=burst)), 1000.0
    taken: dict[bytes, list[float]] = {b"a": [], b"b": []}
    for pause, client in asked:
        now += pause
        wait_s = buckets.take(client, now)
        if not wait_s:
            taken[client].append(now)
        else:
            assert 0 < wait_s <= 1 / per_s
    for times in taken.values():
        for i, first in enumerate(times):
            for j in range(i, len(times)):
                assert j - i + 1 <= burst + per_s * (times[j] - first) + 1e-6
