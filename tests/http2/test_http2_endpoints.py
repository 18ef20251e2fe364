"""Each rule of endpoint_cases.py, said by hand to a real proxy by an endpoint; and what a client and a gRPC client hear of it."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from endpoint_cases import CASES, GOOD, Case, Told
from frames import ACK, DATA, END_STREAM, HEADERS, PREFACE, RST_STREAM, SETTINGS, Heard, data, headers, parse, settings, window
from hpack import Decoder
from proxy_rig import Backend, Rig, endpoint, free_port, rig, route
from rookery.model import ListenProtocol

GRPC = [("content-type", "application/grpc"), ("te", "trailers")]


@dataclass(slots=True)
class Script:
    """An endpoint that says what a case has, in pieces of `step` bytes. A request for /wait is answered on `go_on`."""

    case: Case
    step: int
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._say(writer, self.case.greeting)
        decoder, left = Decoder(), b""
        waiting: list[asyncio.Task[None]] = []
        got = await reader.readexactly(len(PREFACE))
        while got:
            got = await reader.read(65536)
            frames, left = parse(left + got)
            for heard in frames:
                if heard.kind == SETTINGS and not heard.flags & ACK:
                    writer.write(settings(flags=ACK))
                elif heard.kind == HEADERS:
                    path = dict(decoder.decode(heard.payload))[":path"]
                    if path == "/wait":
                        waiting.append(asyncio.create_task(self._wait(writer, heard.stream)))
                    else:
                        await self._say(writer, (self.case.sent if path == "/bad" else GOOD)(heard.stream))
                    if path == "/bad" and self.case.ends:
                        return
        for task in waiting:
            task.cancel()

    async def _say(self, writer: asyncio.StreamWriter, what: bytes) -> None:
        for at in range(0, len(what), self.step):
            writer.write(what[at : at + self.step])
            await writer.drain()
            if self.step < len(what):
                await asyncio.sleep(0)

    async def _wait(self, writer: asyncio.StreamWriter, stream: int) -> None:
        await self.go_on.wait()
        writer.write(GOOD(stream))


class Client:
    """An HTTP/2 client by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = Decoder()
        self._left = b""
        self._last = -1
        self._heard: dict[int, Told] = {}
        self._over: set[int] = set()
        writer.write(PREFACE + settings())

    def ask(self, path: str, *fields: tuple[str, str], method: str = "GET") -> int:
        self._last += 2
        pseudo = [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", path)]
        self._heard[self._last] = Told()
        self._writer.write(headers(self._last, [*pseudo, *fields], end=method != "POST"))
        if method == "POST":
            self._writer.write(data(self._last, b"\0\0\0\0\0", end=True))
        return self._last

    async def answer(self, stream: int) -> Told:
        async with asyncio.timeout(15):
            while stream not in self._over:
                got = await self._reader.read(65536)
                assert got, f"the proxy ended the connection: {self._heard}"
                frames, self._left = parse(self._left + got)
                for heard in frames:
                    self._hear(heard)
        return self._heard[stream]

    def _hear(self, heard: Heard) -> None:
        told = self._heard.get(heard.stream, Told())
        if heard.kind == HEADERS:
            fields = dict(self._decoder.decode(heard.payload))
            status = int(fields.get(":status", told.status))
            grpc = int(fields["grpc-status"]) if "grpc-status" in fields else told.grpc
            told = Told(status if status >= 200 else told.status, grpc=grpc, body=told.body)
        elif heard.kind == DATA:
            assert told.status, "a body before its head"
            if heard.payload:
                self._writer.write(window(0, len(heard.payload)))
            told = Told(told.status, grpc=told.grpc, body=told.body + heard.payload)
        elif heard.kind == RST_STREAM:
            told = Told(told.status, heard.code, told.grpc, told.body)
            self._over.add(heard.stream)
        if heard.kind in (HEADERS, DATA) and heard.flags & END_STREAM:
            self._over.add(heard.stream)
        self._heard[heard.stream] = told


@dataclass(slots=True)
class Shop:
    runner: asyncio.Runner
    rig: Rig
    port: int


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        proxy = runner.run(stack.enter_async_context(rig()))
        try:
            yield Shop(runner, proxy, free_port())
        finally:
            runner.run(stack.aclose())


def matches(told: Told, wanted: Told) -> bool:
    """Whether it is what is wanted. Of an answer that breaks off any part may have come."""
    body = wanted.reset is not None or told.body == wanted.body or (wanted.status >= 500 and wanted.body in told.body)
    return (told.status, told.reset, told.grpc) == (wanted.status, wanted.reset, wanted.grpc) and body


async def judge(shop: Shop, case: Case, step: int) -> None:
    for wanted, is_grpc in ((case.plain, False), (case.grpc, True)):
        if is_grpc and case.method == "HEAD":
            continue
        script = Script(case, step)
        async with Backend(script.serve) as backend:
            await shop.rig.serve(route(shop.port, endpoint("a", backend.port), protocol=ListenProtocol.HTTP2))
            reader, writer = await asyncio.open_connection("127.0.0.1", shop.port)
            try:
                client = Client(reader, writer)
                other = client.ask("/wait", method="POST")
                bad = client.ask("/bad", *(GRPC if is_grpc else []), method="POST" if is_grpc else case.method)
                told = await client.answer(bad)
                assert matches(told, wanted), f"{told}, not {wanted}"
                script.go_on.set()
                told = await client.answer(other)
                assert told.status == (200 if case.lives else told.status), f"the other call: {told}"
                assert case.lives or told.status in (502, 503), f"the other call: {told}"
                if case.greeting == settings():
                    assert (await client.answer(client.ask("/good"))).status == 200
            finally:
                writer.transport.abort()
    await shop.rig.routing.wait(lambda: all(not s.in_flight for s in shop.rig.routing.reports[-1].endpoints), "nothing in flight")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_an_endpoint_says_of_a_call(shop: Shop, case: Case) -> None:
    shop.runner.run(judge(shop, case, 1_000_000))


@pytest.mark.parametrize("case", [case for case in CASES if len(case.sent(3)) < 500], ids=lambda case: case.name)
def test_where_it_is_cut_makes_no_difference(shop: Shop, case: Case) -> None:
    shop.runner.run(judge(shop, case, 5))
