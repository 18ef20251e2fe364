"""Runs cases through a proxy: a client that cuts what it sends, and an endpoint that records what it gets.

A lane is one port of the proxy with an endpoint of its own, so what the endpoint sees belongs to the case in hand. What follows a
case on its connection is the probe: a proxy that took the case's framing in another way answers or forwards it wrongly.
"""

import asyncio
import contextlib
import itertools
import random
import re
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from http1_case import PROBE, PROBE_ANSWER, Answered, Asked

_STATUS = re.compile(rb"(?:\A|(?<=\n)|(?<=ok)|(?<=probe))HTTP/1\.1 ([1-5][0-9][0-9]) ")
_CODING = re.compile(rb"(?i)\r\ntransfer-encoding: *chunked\r\n")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)\r\n")
_SMALL_BYTES = 250  # up to here a message is also sent byte by byte
_RANDOM_CUTS = 3

Cuts = Sequence[int]
Case = Asked | Answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a case: all that the client got until its connection ended, and all that the endpoint got."""

    client: bytes
    endpoint: bytes
    ended: bool = True  # within the time there is

    @property
    def statuses(self) -> tuple[int, ...]:
        return tuple(int(status) for status in _STATUS.findall(self.client))


def cuttings(case: Case) -> list[Cuts]:
    """Where the message of a case is cut, one way after the other: nowhere, everywhere, here and there."""
    size = case.cut_until if isinstance(case, Answered) and case.cut_until else len(case.sent)
    rng = random.Random(zlib.crc32(f"{case.rule} {case.name}".encode()))
    ways: list[Cuts] = [()]
    if size <= _SMALL_BYTES:
        ways.append(range(1, size))
    if size > 2:
        ways += [sorted(rng.sample(range(1, size), min(_RANDOM_CUTS, size - 1))) for _ in range(2)]
    return ways


class Lane:
    """`port` is the proxy's; set it when the endpoint's is known."""

    def __init__(self) -> None:
        self.port = 0
        self.endpoint_port = 0
        self._answer: Answered | None = None
        self._cuts: Cuts = ()
        self._seen = bytearray()
        self._within = 0  # connections that are within a request
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self.endpoint_port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        while self._writers:
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.sleep(0.001)

    async def run(self, case: Case, cuts: Cuts, timeout_s: float = 10.0, *, ends_input: bool = False) -> Outcome:
        """Sends a case, with the probe behind it. `ends_input`: then the client ends its output, so no proxy waits for more."""
        self._seen = bytearray()
        if isinstance(case, Asked):
            self._answer = None
            pieces = _cut(case.sent, cuts)
            pieces[-1] += PROBE
        else:
            self._answer, self._cuts = case, cuts
            pieces = [case.asked + PROBE]
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        got, ended = bytearray(), False
        try:
            sending = asyncio.create_task(_send(writer, pieces, then_end=ends_input))
            with contextlib.suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(timeout_s):
                    while data := await reader.read(65536):
                        got += data
                    ended = True
            if not ended:
                ended = reader.exception() is not None
            sending.cancel()
        finally:
            writer.transport.abort()
        await asyncio.sleep(0.002)  # what is on its way to the endpoint arrives
        for _ in range(1000):
            if not self._within:
                break
            await asyncio.sleep(0.002)  # the proxy gives up what it forwarded a part of
        return Outcome(client=bytes(got), endpoint=bytes(self._seen), ended=ended)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
                while await self._serve_one(reader, writer):
                    pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers a request, as the case in hand says. Returns whether the connection stays."""

        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            self._seen += error.partial
            raise
        seen = self._seen  # of the run that it began in
        seen += head

        async def take(read: Awaitable[bytes]) -> bytes:
            try:
                data = await read
            except asyncio.IncompleteReadError as error:
                seen.extend(error.partial)
                raise
            seen.extend(data)
            return data

        self._within += 1
        try:
            if _CODING.search(head):
                while await _chunk(reader, take):
                    pass
            length = _LENGTH.search(head)
            if length is not None:
                await take(reader.readexactly(int(length[1])))
        finally:
            self._within -= 1
        if b" /probe " in head:
            writer.write(PROBE_ANSWER)
        elif self._answer is None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + (b"" if head[:5] == b"HEAD " else b"ok"))
        else:
            answer = self._answer
            await _send(writer, _cut(answer.sent, self._cuts))
            return not answer.closes
        return True


async def _chunk(reader: asyncio.StreamReader, take: Callable[[Awaitable[bytes]], Awaitable[bytes]]) -> bool:
    """Takes one chunk, or the end. Returns whether more is to come."""
    size = int((await take(reader.readuntil(b"\r\n"))).partition(b";")[0], 16)
    if size:
        await take(reader.readexactly(size + 2))
        return True
    while await take(reader.readuntil(b"\r\n")) != b"\r\n":
        pass
    return False


async def _send(writer: asyncio.StreamWriter, pieces: list[bytes], *, then_end: bool = False) -> None:
    with contextlib.suppress(ConnectionError):
        for piece in pieces:
            if piece:
                writer.write(piece)
                await writer.drain()
                if len(pieces) > 1:
                    await asyncio.sleep(0.0002)  # the proxy reads each piece for itself, mostly
        if then_end:
            writer.write_eof()


def _cut(data: bytes, cuts: Cuts) -> list[bytes]:
    places = [0, *cuts, len(data)]
    return [data[start:stop] for start, stop in itertools.pairwise(places)]
