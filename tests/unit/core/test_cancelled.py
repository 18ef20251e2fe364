"""Loops end when they are asked to, also when what they call swallows that."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from rookery.cancelled import cancellable


async def call() -> None:
    """As grpc.aio does when it is cancelled just as the connection breaks."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise ConnectionError from None


async def group() -> None:
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(call())
    except* ConnectionError:
        raise ConnectionError from None


@pytest.mark.parametrize("calls", [call, group])
def test_a_loop_ends_whose_call_swallows_its_cancellation(calls: Callable[[], Coroutine[Any, Any, None]]) -> None:
    tries = 0

    async def loop() -> None:
        nonlocal tries
        while True:
            tries += 1
            try:
                await cancellable(calls())
            except ConnectionError:
                continue

    async def run() -> None:
        task = asyncio.create_task(loop())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=60)
        assert task.cancelled()

    asyncio.run(run())
    assert tries == 1


def test_what_fails_by_itself_fails_also_after_a_group_that_did() -> None:
    async def fails() -> None:
        raise ConnectionError

    async def fails_in_a_group() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fails())

    async def run() -> None:
        with pytest.raises(ExceptionGroup):
            await fails_in_a_group()
        with pytest.raises(ConnectionError):
            await cancellable(fails())

    asyncio.run(run())
