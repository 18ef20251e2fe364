"""Each rule of http2_cases.py, said to a real proxy by hand, frame by frame; and each whole corpus cut at other places."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from frames import ACK, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, Heard, parse, settings
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, StreamEnded
from hpack import Decoder
from http2_cases import CASES, Case
from proxy_rig import Backend, endpoint, free_port, rig, route
from rookery.model import ListenProtocol


@dataclass(slots=True)
class Shop:
    """A proxy, and the paths that its one endpoint was asked for."""

    runner: asyncio.Runner
    port: int
    asked: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with asyncio.Runner() as runner:
        shop = Shop(runner, free_port())

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            conn = H2Connection(H2Configuration(client_side=False, header_encoding="latin-1"))
            conn.initiate_connection()
            paths: dict[int, str] = {}
            while got := await reader.read(65536):
                for event in conn.receive_data(got):
                    if isinstance(event, RequestReceived):
                        path = paths[event.stream_id] = dict(event.headers)[":path"]  # type: ignore[index]
                        shop.asked.append(path)
                    elif isinstance(event, StreamEnded) and paths[event.stream_id] != "/slow":
                        conn.send_headers(event.stream_id, [(":status", "200")], end_stream=True)
                writer.write(conn.data_to_send())

        stack = contextlib.AsyncExitStack()
        backend = runner.run(stack.enter_async_context(Backend(serve)))
        proxy = runner.run(stack.enter_async_context(rig()))
        runner.run(proxy.serve(route(shop.port, endpoint("a", backend.port), protocol=ListenProtocol.HTTP2)))
        try:
            yield shop
        finally:
            runner.run(stack.aclose())


@dataclass(slots=True)
class Outcome:
    ended: bool = False
    frames: list[Heard] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    decoder: Decoder = field(default_factory=Decoder)

    def codes(self, kind: int) -> set[int]:
        return {heard.code for heard in self.frames if heard.kind == kind}

    @property
    def is_settled(self) -> bool:
        acknowledged = any(heard.kind == SETTINGS and heard.flags & ACK for heard in self.frames)
        return self.ended or (acknowledged and bool(self.statuses or self.codes(RST_STREAM)))


async def send(port: int, sent: bytes, outcome: Outcome, step: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def speak() -> None:
        with contextlib.suppress(ConnectionError):
            for at in range(0, len(sent), step):
                writer.write(sent[at : at + step])
                await writer.drain()
                if step < len(sent):
                    await asyncio.sleep(0)

    speaking, left = asyncio.create_task(speak()), b""
    try:
        async with asyncio.timeout(60):
            while not outcome.is_settled:
                try:
                    got = await reader.read(65536)
                except ConnectionError:
                    got = b""
                outcome.ended = not got
                frames, left = parse(left + got)
                outcome.frames += frames
                for heard in frames:
                    if heard.kind == HEADERS:
                        fields = dict(outcome.decoder.decode(heard.payload))
                        outcome.statuses += [int(fields[":status"])] if ":status" in fields else []
    finally:
        speaking.cancel()
        writer.transport.abort()


def judge(shop: Shop, case: Case, step: int) -> None:
    outcome = Outcome()
    shop.asked.clear()
    sent = case.sent if case.bare else PREFACE + settings() + case.sent
    shop.runner.run(send(shop.port, sent, outcome, step))
    told = f"{case.name}: ended {outcome.ended}, statuses {outcome.statuses}, {outcome.frames[-3:]}"
    assert "/bad" not in [path[:4] for path in shop.asked], told
    if not case.codes:
        assert set(outcome.statuses) <= set(case.statuses), told
        assert outcome.statuses, told
        assert not outcome.ended, told
        return
    if outcome.ended:
        assert outcome.codes(GOAWAY) <= set(case.codes), told
    elif outcome.codes(RST_STREAM):
        assert case.is_stream, told
        assert outcome.codes(RST_STREAM) <= set(case.codes), told
    else:
        assert case.is_stream, told
        assert set(outcome.statuses) <= set(case.statuses) - {200}, told


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_may_not_be_ends_as_it_should_and_reaches_no_endpoint(shop: Shop, case: Case) -> None:
    judge(shop, case, len(case.sent) + 100)


@pytest.mark.parametrize("case", [case for case in CASES if len(case.sent) < 500], ids=lambda case: case.name)
def test_where_it_is_cut_makes_no_difference(shop: Shop, case: Case) -> None:
    judge(shop, case, 7)


def test_ping_is_answered_with_what_it_brought(shop: Shop) -> None:
    outcome = Outcome()
    (case,) = [case for case in CASES if case.name == "6.7 PING"]
    shop.runner.run(send(shop.port, PREFACE + settings() + case.sent, outcome, 1000))
    assert [heard.payload for heard in outcome.frames if heard.kind == PING and heard.flags & ACK] == [b"12345678"]
