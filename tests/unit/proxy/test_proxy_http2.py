"""HTTP/2 from clients to endpoints: gRPC by its own library on both sides, each call balanced by itself; and a plain client."""

import asyncio
import contextlib
import dataclasses
import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, StreamReset
from pem import Authority
from proxy_rig import Backend, Http, Rig, answering, ask_once, endpoint, free_port, rig, route, wait_until
from rookery.model import HeaderField, HttpRules, ListenProtocol, Route
from test_proxy_tls import put, trusting

LARGE = 8_000_000
OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


# ruff: noqa: ARG001, ARG002 (handlers take what the library gives them)


class Server:
    """A gRPC server that tells its name, echoes, streams, fails and waits as it is asked to."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.port = 0
        self.calls = 0
        self.cancelled = asyncio.Event()
        self.metadata: list[tuple[str, Any]] = []
        self._server = grpc.aio.server(options=OPTIONS)

    async def __aenter__(self) -> "Server":
        plain = {
            "Name": grpc.unary_unary_rpc_method_handler(self._name),
            "Echo": grpc.unary_unary_rpc_method_handler(self._echo),
            "Fail": grpc.unary_unary_rpc_method_handler(self._fail),
            "Wait": grpc.unary_unary_rpc_method_handler(self._wait),
            "Count": grpc.unary_stream_rpc_method_handler(self._count),
            "Talk": grpc.stream_stream_rpc_method_handler(self._talk),
            "Sum": grpc.stream_unary_rpc_method_handler(self._sum),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", plain),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop(None)

    async def stop(self, grace_s: float | None) -> None:
        await self._server.stop(grace_s)

    async def _name(self, request: bytes, context: Any) -> bytes:
        self.calls += 1
        self.metadata = list(context.invocation_metadata())
        return self.name

    async def _echo(self, request: bytes, context: Any) -> bytes:
        await context.send_initial_metadata((("x-early", "1"),))
        context.set_trailing_metadata((("x-late", "2"),))
        return request

    async def _fail(self, request: bytes, context: Any) -> bytes:
        await context.abort(next(c for c in grpc.StatusCode if c.value[0] == int(request)), "on purpose")
        return b""

    async def _wait(self, request: bytes, context: Any) -> bytes:
        self.calls += 1
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return b""

    async def _count(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        for number in range(int(request)):
            yield b"%d" % number

    async def _talk(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request.upper()

    async def _sum(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b"%d" % sum([len(request) async for request in requests])


def call(channel: grpc.aio.Channel, method: str, kind: str = "unary_unary") -> Any:
    return getattr(channel, kind)(f"/t.T/{method}")


def served(port: int, *servers: Server, **fields: Any) -> Route:
    ends = [endpoint(server.name.decode(), server.port) for server in servers]
    return dataclasses.replace(route(port, *ends, protocol=ListenProtocol.HTTP2), **fields)


@contextlib.asynccontextmanager
async def shop(*names: str, workers: int = 1, arguments: tuple[str, ...] = ()) -> AsyncIterator[tuple[Rig, int, list[Server]]]:
    """A proxy before gRPC servers with these names, and its port."""
    port = free_port()
    async with rig(*arguments, workers=workers) as r, contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(Server(name.encode())) for name in names]
        await r.serve(served(port, *servers))
        yield r, port, servers


def dial(port: int) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS)


async def figures(r: Rig, replica: str, **wanted: int) -> None:
    """Waits until an endpoint is reported with these."""

    def told() -> bool:
        latest = {s.replica_id: s for s in r.routing.reports[-1].endpoints} if r.routing.reports else {}
        return replica in latest and all(getattr(latest[replica], name) == value for name, value in wanted.items())

    await r.routing.wait(told, f"{replica}: {wanted}")


def test_calls_of_one_channel_are_spread_over_all_replicas() -> None:
    async def main() -> None:
        async with shop("a", "b", "c") as (r, port, servers), dial(port) as channel:
            got = Counter([await call(channel, "Name")(b"") for _ in range(90)])
            assert got.keys() == {b"a", b"b", b"c"}
            assert min(got.values()) > 10
            assert sum(server.calls for server in servers) == 90
            said = dict(servers[0].metadata)
            assert said["x-forwarded-for"] == "127.0.0.1"
            assert said["x-forwarded-proto"] == "http"
            await figures(r, "a", requests=got[b"a"], in_flight=0, responses_2xx=got[b"a"])

    asyncio.run(main())


def test_messages_of_any_size_streams_and_metadata_go_through() -> None:
    async def main() -> None:
        async with shop("a", workers=2) as (r, port, _), dial(port) as channel:
            for size in (0, 1, 16_384, 65_536, LARGE):
                body = os.urandom(size)
                echo = call(channel, "Echo")(body, metadata=(("x-mine", "ü".encode().hex()),))
                assert await echo == body
                assert ("x-early", "1") in list(await echo.initial_metadata())
                assert ("x-late", "2") in list(await echo.trailing_metadata())
            assert [part async for part in call(channel, "Count", "unary_stream")(b"2000")] == [b"%d" % n for n in range(2000)]
            total = await call(channel, "Sum", "stream_unary")(iter([b"x" * 100_000] * 50))
            assert total == b"5000000"
            talk = call(channel, "Talk", "stream_stream")()
            for word in (b"one", b"two", b"three"):
                await talk.write(word)
                assert await talk.read() == word.upper()
            await talk.done_writing()
            assert await talk.read() is grpc.aio.EOF
            await asyncio.gather(*(one_echo(channel, n) for n in range(60)))
            await figures(r, "a", in_flight=0)

    async def one_echo(channel: grpc.aio.Channel, number: int) -> None:
        body = b"%d" % number * 50_000
        assert await call(channel, "Echo")(body) == body

    asyncio.run(main())


def test_failures_of_a_server_are_its_own_and_counted() -> None:
    async def main() -> None:
        async with shop("a") as (r, port, _), dial(port) as channel:
            for code in (5, 7, 13, 14):  # NOT_FOUND and PERMISSION_DENIED are answers; INTERNAL and UNAVAILABLE are failures
                with pytest.raises(grpc.aio.AioRpcError) as error:
                    await call(channel, "Fail")(b"%d" % code)
                assert (error.value.code().value[0], error.value.details()) == (code, "on purpose")
            await figures(r, "a", requests=4, responses_2xx=2, responses_5xx=2)

    asyncio.run(main())


def test_deadlines_and_cancellations_reach_the_server() -> None:
    async def main() -> None:
        async with shop("a") as (r, port, (server,)), dial(port) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call(channel, "Wait")(b"", timeout=0.5)
            assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            await asyncio.wait_for(server.cancelled.wait(), 15)
            server.cancelled.clear()
            waiting = call(channel, "Wait")(b"")
            await wait_until(lambda: server.calls == 2, "the server has it")
            waiting.cancel()
            await asyncio.wait_for(server.cancelled.wait(), 15)
            await figures(r, "a", in_flight=0)
            assert await call(channel, "Name")(b"") == b"a"  # the connections live on

    asyncio.run(main())


def test_a_client_that_goes_away_ends_its_calls() -> None:
    async def main() -> None:
        async with shop("a") as (r, port, (server,)):
            async with dial(port) as channel:
                task = asyncio.ensure_future(call(channel, "Wait")(b""))
                await wait_until(lambda: server.calls == 1, "the server has it")
            await asyncio.wait_for(server.cancelled.wait(), 15)
            await figures(r, "a", in_flight=0)
            with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
                await task

    asyncio.run(main())


def test_a_dead_replica_is_passed_over_and_none_is_said_in_grpcs_own_words() -> None:
    async def main() -> None:
        port, dead = free_port(), free_port()
        async with rig() as r, Server(b"a") as alive, dial(port) as channel:
            both = served(port, alive)
            await r.serve(dataclasses.replace(both, endpoints=(*both.endpoints, endpoint("x", dead))))
            assert {await call(channel, "Name")(b"") for _ in range(20)} == {b"a"}
            await r.serve(served(port, why_empty="it is scaled to 0"))
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call(channel, "Name")(b"")
            assert (error.value.code(), error.value.details()) == (grpc.StatusCode.UNAVAILABLE, "shop/web: it is scaled to 0")

    asyncio.run(main())


def test_a_replica_that_breaks_ends_its_calls_and_the_next_go_elsewhere() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        await asyncio.sleep(0.05)

    async def main() -> None:
        port = free_port()
        async with rig() as r, Backend(hang_up) as broken, Server(b"a") as good, dial(port) as channel:
            await r.serve(dataclasses.replace(served(port), endpoints=(endpoint("x", broken.port),)))
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call(channel, "Name")(b"")
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE
            await r.serve(served(port, good))
            assert await call(channel, "Name")(b"") == b"a"

    asyncio.run(main())


def test_a_server_that_goes_away_in_order_finishes_what_it_has() -> None:
    async def main() -> None:
        async with shop("a", "b") as (_, port, (first, _second)), dial(port) as channel:
            talks = [call(channel, "Talk", "stream_stream")() for _ in range(8)]
            for talk in talks:
                await talk.write(b"x")
                assert await talk.read() == b"X"
            stopping = asyncio.create_task(first.stop(20))
            await asyncio.sleep(0)
            for talk in talks:
                await talk.write(b"y")
                assert await talk.read() == b"Y"
                await talk.done_writing()
                assert await talk.read() is grpc.aio.EOF
            await asyncio.wait_for(stopping, 15)
            assert await call(channel, "Name")(b"") == b"b"

    asyncio.run(main())


def test_a_replica_that_leaves_the_table_gets_no_new_call_and_finishes_those_it_has() -> None:
    async def main() -> None:
        async with shop("a") as (r, port, (old,)), Server(b"new") as new, dial(port) as channel:
            talk = call(channel, "Talk", "stream_stream")()
            await talk.write(b"x")
            assert await talk.read() == b"X"
            await r.serve(served(port, new))
            assert {await call(channel, "Name")(b"") for _ in range(5)} == {b"new"}
            await figures(r, "a", in_flight=1)
            await talk.write(b"y")
            assert await talk.read() == b"Y"
            await talk.done_writing()
            assert await talk.read() is grpc.aio.EOF
            await r.routing.wait(lambda: (s := r.routing.stats("a")) is not None and not s.in_flight, "nothing is in flight")
            assert old.calls == 0

    asyncio.run(main())


def test_a_proxy_that_stops_lets_calls_finish() -> None:
    async def main() -> None:
        async with shop("a") as (r, port, _), dial(port) as channel:
            talk = call(channel, "Talk", "stream_stream")()
            await talk.write(b"x")
            assert await talk.read() == b"X"
            stopping = asyncio.create_task(r.proxy.stop())
            await wait_until(lambda: "stopping:" in r.proxy.log(), "it stops")
            await talk.write(b"y")
            assert await talk.read() == b"Y"
            await talk.done_writing()
            assert await talk.read() is grpc.aio.EOF
            assert await stopping == 0

    asyncio.run(main())


def test_grpc_over_tls_and_a_plain_client(tmp_path: Path) -> None:
    async def main() -> None:
        port, log, directory = free_port(), tmp_path / "access.log", tmp_path / "certificates"
        directory.mkdir()
        authority = Authority(tmp_path)
        put(directory, "shop", authority.issue("shop.example"))
        arguments = ("--certificates", str(directory), "--request-ids", "--access-log", str(log))
        async with rig(*arguments) as r, Server(b"a") as server:
            await r.serve(served(port, server, tls=True, path="/t.T"))
            credentials = grpc.ssl_channel_credentials(authority.path.read_bytes())
            named = [("grpc.ssl_target_name_override", "shop.example")]
            async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options=named) as channel:
                assert await call(channel, "Name")(b"") == b"a"
            said = dict(server.metadata)
            assert said["x-forwarded-proto"] == "https"
            assert said["x-request-id"]
            await wait_until(lambda: log.exists() and bool(log.read_text()), "a line")
            line = json.loads(log.read_text())
            assert (line["version"], line["target"], line["status"], line["replica"]) == ("HTTP/2", "/t.T/Name", 200, "a")
            assert line["request_id"] == said["x-request-id"]
            async with httpx.AsyncClient(http2=True, verify=trusting(authority)) as client:
                extensions = {"sni_hostname": "shop.example"}
                answer = await client.post(f"https://127.0.0.1:{port}/nowhere", content=b"x", extensions=extensions)
                assert (answer.http_version, answer.status_code) == ("HTTP/2", 404)
                assert answer.text == f"no route for 127.0.0.1:{port}/nowhere\n"

    asyncio.run(main())


def test_routes_choose_by_host_path_and_header() -> None:
    async def main() -> None:
        port = free_port()
        async with rig() as r, Server(b"any") as any_, Server(b"other") as other, Server(b"beta") as beta, dial(port) as channel:
            rules = HttpRules(headers=(HeaderField(name="x-version", value="beta"),))
            await r.serve(
                dataclasses.replace(served(port, any_), path="/t.T"),
                dataclasses.replace(served(port, beta), path="/t.T", rules=rules, id=route(port, name="shop/b").id),
                dataclasses.replace(served(port, other), host="other.example", id=route(port, name="shop/c").id),
            )
            assert await call(channel, "Name")(b"") == b"any"
            assert await call(channel, "Name")(b"", metadata=(("x-version", "beta"),)) == b"beta"
            named = [("grpc.default_authority", "other.example")]
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=named) as by_host:
                assert await call(by_host, "Name")(b"") == b"other"
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await channel.unary_unary("/nowhere/X")(b"")
            assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED
            assert "no route for" in (error.value.details() or "")

    asyncio.run(main())


class Raw:
    """An HTTP/2 client that can do wrong."""

    def __init__(self, client: Http) -> None:
        self._client = client
        self.conn = H2Connection(
            H2Configuration(client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False)
        )
        self.conn.initiate_connection()
        self.events: list[Any] = []

    def ask(self, *headers: tuple[str, str], path: str = "/", method: str = "POST", end: bool = False) -> int:
        stream = self.conn.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", path)]
        self.conn.send_headers(stream, [*pseudo, *headers], end_stream=end)
        return stream

    async def flush(self) -> None:
        with contextlib.suppress(ConnectionError):
            await self._client.send(self.conn.data_to_send())

    async def until(self, kind: type) -> Any:
        async with asyncio.timeout(15):
            while True:
                data = await self._client.reader.read(65536)
                assert data, f"the connection ended before {kind.__name__}: {self.events}"
                for event in self.conn.receive_data(data):
                    self.events.append(event)
                    if isinstance(event, kind):
                        return event


def test_what_is_no_http2_or_an_attack_ends_that_connection_alone() -> None:
    async def main() -> None:
        async with shop("a") as (r, port, _), dial(port) as channel:
            assert await call(channel, "Name")(b"") == b"a"
            for data in (
                b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                os.urandom(500),
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 60_000,  # a frame of 16 MB
            ):
                async with Http(port) as client:
                    await client.send(data)
                    with contextlib.suppress(ConnectionError):
                        await asyncio.wait_for(client.reader.read(), 15)
            async with Http(port) as client:  # calls that are only made to be cancelled
                raw = Raw(client)
                for _ in range(1200):
                    raw.conn.reset_stream(raw.ask(), ErrorCodes.CANCEL)
                await raw.flush()
                with contextlib.suppress(ConnectionError, AssertionError):
                    await raw.until(ConnectionTerminated)
            async with Http(port) as client:  # what HTTP/2 forbids, of one call
                raw = Raw(client)
                raw.ask(("connection", "close"))
                await raw.flush()
                with contextlib.suppress(ConnectionError):
                    event = await raw.until((ConnectionTerminated, StreamReset))  # type: ignore[arg-type]
                    assert event
            async with Http(port) as client:
                raw = Raw(client)
                raw.ask(path="nowhere", end=True)
                await raw.flush()
                async with asyncio.timeout(15):
                    assert await client.reader.read(4096)
            assert await call(channel, "Name")(b"") == b"a"
            await figures(r, "a", in_flight=0)

    asyncio.run(main())


def test_a_client_that_does_not_read_holds_no_more_than_its_windows() -> None:
    async def main() -> None:
        async with shop("a") as (_, port, _servers), dial(port) as channel, Http(port) as client:
            raw = Raw(client)
            for _ in range(20):
                stream = raw.ask(("content-type", "application/grpc"), ("te", "trailers"), path="/t.T/Count")
                message = b"1000000"
                raw.conn.send_data(stream, b"\0" + len(message).to_bytes(4, "big") + message, end_stream=True)
            await raw.flush()
            assert await call(channel, "Echo")(b"x" * 1_000_000) == b"x" * 1_000_000  # others are served meanwhile

    asyncio.run(main())


def test_other_ports_are_not_touched() -> None:
    async def main() -> None:
        async with shop("a") as (r, port, (server,)), Backend(answering(b"one")) as backend:
            plain = free_port()
            await r.serve(served(port, server), route(plain, endpoint("b", backend.port), name="shop/one"))
            assert (await ask_once(plain))[2] == b"one"

    asyncio.run(main())
