"""Calls of HTTP/2 with endpoints that do not take them and clients that never finish: which go elsewhere, and what ends."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import grpc
import httpx
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from proxy_rig import Backend, Http, Rig, Serve, ask_once, endpoint, free_port, rig, route, wait_until
from rookery.model import ListenProtocol
from test_proxy_http2 import Server, call, dial, served

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
HEADERS_WITHOUT_END = b"\0\0\1\1\0\0\0\0\1\x83"

Asked = Callable[[H2Connection, int, bytes], None]


def speaking(asked: Asked, *, streams: int = 100, ends: bool = False) -> Serve:
    """An HTTP/2 endpoint that does so with each request once it is whole; with `ends` it then ends the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conn = H2Connection(H2Configuration(client_side=False))
        conn.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: streams})
        conn.initiate_connection()
        bodies: dict[int, bytes] = {}
        while got := await reader.read(65536):
            try:
                events = conn.receive_data(got)
            except ProtocolError:  # it has gone away
                return
            for event in events:
                if isinstance(event, RequestReceived):
                    bodies[event.stream_id or 0] = b""
                elif isinstance(event, DataReceived):
                    bodies[event.stream_id or 0] += event.data or b""
                    conn.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
                elif isinstance(event, StreamEnded):
                    stream = event.stream_id or 0
                    asked(conn, stream, bodies[stream])
                    if ends:
                        return
            writer.write(conn.data_to_send())

    return serve


def refuse(conn: H2Connection, stream: int, _body: bytes) -> None:
    conn.reset_stream(stream, ErrorCodes.REFUSED_STREAM)


def go_away(conn: H2Connection, stream: int, _body: bytes) -> None:
    conn.close_connection(last_stream_id=stream - 1)


def nothing(_conn: H2Connection, _stream: int, _body: bytes) -> None: ...


def echo(conn: H2Connection, stream: int, body: bytes) -> None:
    conn.send_headers(stream, [(":status", "200")])
    for at in range(0, len(body), 10_000):
        conn.send_data(stream, body[at : at + 10_000])
    conn.end_stream(stream)


async def with_two(bad: Serve, act: Callable[[Rig, int, httpx.AsyncClient], Awaitable[None]]) -> None:
    """A route with a bad endpoint and a good one."""
    port = free_port()
    async with rig() as r, Backend(bad) as one, Backend(speaking(echo)) as two:
        ends = endpoint("bad", one.port), endpoint("good", two.port)
        await r.serve(route(port, *ends, protocol=ListenProtocol.HTTP2))
        async with httpx.AsyncClient(http1=False, http2=True, base_url=f"http://127.0.0.1:{port}") as client:
            await act(r, port, client)


@pytest.mark.parametrize("bad", [refuse, go_away], ids=["refused", "gone away"])
def test_what_was_not_looked_at_goes_elsewhere_with_all_that_was_sent(bad: Asked) -> None:
    async def act(r: Rig, _port: int, client: httpx.AsyncClient) -> None:
        body = b"x" * 30_000
        for _ in range(12):
            answer = await client.post("/", content=body)
            assert (answer.status_code, answer.content) == (200, body)
        await r.routing.wait(lambda: (s := r.routing.stats("bad")) is not None and s.requests > 0, "the bad one was asked")

    asyncio.run(with_two(speaking(bad), act))


def test_a_connection_that_breaks_takes_with_it_what_may_not_be_done_twice() -> None:
    async def act(r: Rig, _port: int, client: httpx.AsyncClient) -> None:
        assert {(await client.get("/")).status_code for _ in range(8)} == {200}
        await asyncio.sleep(0)
        statuses = [(await client.post("/", content=b"x")).status_code for _ in range(30)]
        assert set(statuses) <= {200, 502}
        await r.routing.wait(lambda: (s := r.routing.stats("bad")) is not None and s.errors_upstream > 0, "it broke some")

    asyncio.run(with_two(speaking(nothing, ends=True), act))


def test_a_request_that_is_too_large_to_keep_is_not_sent_again() -> None:
    async def act(_r: Rig, _port: int, client: httpx.AsyncClient) -> None:
        answers = [await client.post("/", content=b"x" * 60_000 + b"y" * 40_000) for _ in range(8)]
        assert {answer.status_code for answer in answers} <= {200, 503}
        assert all("endpoint refuses" in answer.text for answer in answers if answer.status_code == 503)

    asyncio.run(with_two(speaking(refuse), act))


def test_more_calls_at_once_than_an_endpoint_takes_all_get_their_answers() -> None:
    async def main() -> None:
        port = free_port()
        async with rig() as r, Backend(speaking(echo, streams=5)) as backend:
            await r.serve(route(port, endpoint("a", backend.port), protocol=ListenProtocol.HTTP2))
            async with httpx.AsyncClient(http1=False, http2=True, base_url=f"http://127.0.0.1:{port}") as client:
                # All may go out before the endpoint says how many it takes; 35 refusals are within a new route's budget of 38.
                answers = await asyncio.gather(*(client.get("/") for _ in range(40)))
            assert {answer.status_code for answer in answers} == {200}

    asyncio.run(main())


def test_a_grpc_call_that_is_refused_goes_elsewhere() -> None:
    async def main() -> None:
        port = free_port()
        async with rig() as r, Backend(speaking(refuse)) as bad, Server(b"a") as good, dial(port) as channel:
            both = served(port, good)
            ends = (*both.endpoints, endpoint("bad", bad.port))
            await r.serve(route(port, *ends, protocol=ListenProtocol.HTTP2))
            assert {await call(channel, "Name")(b"") for _ in range(12)} == {b"a"}
            await r.serve(route(port, endpoint("bad", bad.port), protocol=ListenProtocol.HTTP2))
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call(channel, "Name")(b"")
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "refuses to take more calls" in (error.value.details() or "")

    asyncio.run(main())


def test_an_endpoint_that_is_silent_after_the_connection_is_given_up() -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            pass

    async def main() -> None:
        port = free_port()
        async with rig("--head-timeout", "1") as r, Backend(silent) as backend, dial(port) as channel:
            await r.serve(route(port, endpoint("a", backend.port), protocol=ListenProtocol.HTTP2))
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call(channel, "Name")(b"")
            assert "does not say that it speaks HTTP/2" in (error.value.details() or "")

    asyncio.run(main())


def test_an_answer_that_came_whole_survives_its_connection() -> None:
    async def main() -> None:
        port, large = free_port(), b"z" * 120_000

        def answer(conn: H2Connection, stream: int, _body: bytes) -> None:
            conn.send_headers(stream, [(":status", "200")])
            for at in range(0, 60_000, 10_000):
                conn.send_data(stream, large[at : at + 10_000], end_stream=at == 50_000)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                await speaking(answer)(reader, writer)

        async with rig() as r, Backend(serve) as backend:
            await r.serve(route(port, endpoint("a", backend.port), protocol=ListenProtocol.HTTP2))
            async with Http(port) as client:
                conn = H2Connection(H2Configuration(client_side=True))
                conn.initiate_connection()
                conn.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1000})
                ask = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/")]
                conn.send_headers(1, ask, end_stream=True)
                await client.send(conn.data_to_send())
                got = 0
                while got < 1000:
                    events = conn.receive_data(await client.reader.read(4096))
                    got += sum(len(event.data or b"") for event in events if isinstance(event, DataReceived))
                await wait_until(lambda: r.routing.stats("a") is not None, "it is told of")
                await backend.stop()
                conn.increment_flow_control_window(100_000, 1)
                await client.send(conn.data_to_send())
                ended = False
                async with asyncio.timeout(10):
                    while not ended:
                        for event in conn.receive_data(await client.reader.read(65536)):
                            got += len(event.data or b"") if isinstance(event, DataReceived) else 0
                            ended = ended or isinstance(event, StreamEnded)
                assert got == 60_000

    asyncio.run(main())


def test_a_client_of_http1_is_told_so_in_its_own_words() -> None:
    async def main() -> None:
        port = free_port()
        async with rig() as r, Backend(speaking(echo)) as backend:
            await r.serve(route(port, endpoint("a", backend.port), protocol=ListenProtocol.HTTP2))
            status, _, body = await ask_once(port)
            assert (status, body) == (505, b"this port speaks HTTP/2 alone: by prior knowledge, or over TLS by ALPN h2\n")

    asyncio.run(main())


@pytest.mark.parametrize("sent", [b"", PREFACE, PREFACE + SETTINGS, PREFACE + SETTINGS + HEADERS_WITHOUT_END])
def test_a_client_that_dribbles_or_stops_is_let_go_and_others_are_served(sent: bytes) -> None:
    async def main() -> None:
        port = free_port()
        async with rig("--head-timeout", "1") as r, Server(b"a") as server, dial(port) as channel:
            await r.serve(served(port, server))
            async with Http(port) as slow:

                async def dribble() -> None:
                    with contextlib.suppress(ConnectionError):
                        for at in range(len(sent)):
                            await slow.send(sent[at : at + 1])
                            await asyncio.sleep(0.01)

                dribbling = asyncio.create_task(dribble())
                assert await call(channel, "Name")(b"") == b"a"
                with contextlib.suppress(ConnectionError):
                    async with asyncio.timeout(15):
                        while await slow.reader.read(4096):
                            pass
                await dribbling
            assert await call(channel, "Name")(b"") == b"a"

    asyncio.run(main())
