"""Blocking calls on threads: as many at once as were promised, whenever they come."""

import asyncio
import threading

from rookery_agent.runtime.blocking import Calls

THREADS = 8


def test_calls_that_come_at_once_run_at_once_also_where_a_thread_was_idle() -> None:
    async def scene() -> None:
        calls = Calls("call", THREADS)
        try:
            assert await calls.run(lambda: "made one thread, which is idle now", 30)
            all_run = threading.Barrier(THREADS)
            await asyncio.gather(*(calls.run(lambda: all_run.wait(30), 60) for _ in range(THREADS)))
            await asyncio.gather(*(calls.run(lambda: all_run.wait(30), 60) for _ in range(THREADS)))
        finally:
            calls.close()

    asyncio.run(scene())


def test_no_more_threads_are_made_than_calls_need() -> None:
    async def scene() -> None:
        calls = Calls("few", THREADS)
        try:
            for _ in range(50):
                await calls.run(lambda: None, 30)
            assert sum(thread.name.startswith("few ") for thread in threading.enumerate()) == 1
        finally:
            calls.close()

    asyncio.run(scene())
