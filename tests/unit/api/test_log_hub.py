"""The hub between agents' uploads and those who read them."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from rookery.v1.dispatch_pb2 import LogLine, LogUpload
from rookery_manager.logs import LIMIT, End, LogHub


def upload(text: str, request_id: str = "", error: str = "") -> LogUpload:
    return LogUpload(request_id=request_id, lines=[LogLine(line=text.encode())], error=error)


async def stream(*uploads: LogUpload, broken: bool = False) -> AsyncIterator[LogUpload]:
    for one in uploads:
        yield one
    if broken:
        raise ConnectionError("gone")


def test_uploads_reach_their_reader_in_order_then_the_end() -> None:
    async def scene() -> None:
        hub = LogHub()
        with hub.open("r1") as reader:
            await hub.receive(stream(upload("a", "r1"), upload("b")))
            assert [await reader.next(1) for _ in range(2)] == [upload("a", "r1"), upload("b")]
            assert await reader.next(1) == End()

    asyncio.run(scene())


def test_the_agents_error_and_a_broken_stream_end_it_with_a_reason() -> None:
    async def scene() -> None:
        hub = LogHub()
        with hub.open("r1") as reader:
            await hub.receive(stream(upload("a", "r1", error="no such container")))
            await reader.next(1)
            assert await reader.next(1) == End("no such container")
        with hub.open("r2") as reader:
            with pytest.raises(ConnectionError):
                await hub.receive(stream(upload("a", "r2"), broken=True))
            await reader.next(1)
            assert await reader.next(1) == End("the connection to its node broke")

    asyncio.run(scene())


def test_a_slow_reader_holds_the_agent_up_and_its_going_lets_it_go() -> None:
    async def scene() -> None:
        hub = LogHub()
        with hub.open("r1") as reader:
            sent = asyncio.ensure_future(hub.receive(stream(*(upload(str(n), "r1") for n in range(LIMIT + 5)))))
            for _ in range(100):
                await asyncio.sleep(0)
            assert not sent.done()
            first = await reader.next(1)
            assert isinstance(first, LogUpload)
            assert first.lines[0].line == b"0"
        async with asyncio.timeout(30):
            await sent

    asyncio.run(scene())


def test_an_end_behind_a_full_queue_is_not_lost() -> None:
    async def scene() -> None:
        hub = LogHub()
        with hub.open("r1") as reader:
            await hub.receive(stream(*(upload(str(n), "r1") for n in range(LIMIT))))
            for _ in range(LIMIT):
                assert isinstance(await reader.next(1), LogUpload)
            assert await reader.next(1) == End()

    asyncio.run(scene())


def test_what_nobody_reads_is_refused() -> None:
    async def scene() -> None:
        hub = LogHub()
        assert not await hub.feed("nobody", upload("a"))
        with hub.open("r1"):
            pass
        assert not await hub.feed("r1", upload("a"))

    asyncio.run(scene())
