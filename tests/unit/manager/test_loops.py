"""Dirty keys: each is looked at once a mark, never by two at once, and again when its time has come."""

import asyncio

from rookery_manager.clock import steady_clock
from rookery_manager.loops import DirtyKeys, reconcile


def test_a_key_marked_twice_is_taken_once() -> None:
    async def scene() -> list[str]:
        keys: DirtyKeys[str] = DirtyKeys(steady_clock())
        for key in ("a", "b", "a"):
            keys.mark(key)
        return [await keys.take(), await keys.take()]

    assert asyncio.run(scene()) == ["a", "b"]


def test_a_key_marked_while_it_is_worked_on_is_taken_again_and_never_by_two() -> None:
    async def scene() -> list[str]:
        keys: DirtyKeys[str] = DirtyKeys(steady_clock())
        seen: list[str] = []
        inside: set[str] = set()
        finished = asyncio.Event()

        async def step(key: str) -> None:
            assert key not in inside
            inside.add(key)
            seen.append(key)
            if len(seen) == 1:
                keys.mark(key)  # something changed meanwhile
            await asyncio.sleep(0)
            inside.discard(key)
            if len(seen) == 2:
                finished.set()

        keys.mark("a")
        loop = asyncio.create_task(reconcile(keys, step, workers=3))
        async with asyncio.timeout(30):
            await finished.wait()
        loop.cancel()
        return seen

    assert asyncio.run(scene()) == ["a", "a"]


def test_a_timer_marks_its_key_and_the_earliest_counts() -> None:
    async def scene() -> float:
        clock = steady_clock()
        keys: DirtyKeys[str] = DirtyKeys(clock)
        start = clock()
        keys.mark_at("a", start + 60)
        keys.mark_at("a", start + 0.02)
        keys.mark_at("a", start + 30)
        async with asyncio.timeout(30):
            assert await keys.take() == "a"
        return clock() - start

    assert 0.02 <= asyncio.run(scene()) < 5


def test_a_key_that_was_looked_at_forgets_its_timer() -> None:
    async def scene() -> bool:
        clock = steady_clock()
        keys: DirtyKeys[str] = DirtyKeys(clock)
        keys.mark_at("a", clock() + 0.01)
        keys.mark("a")
        await keys.take()
        keys.done("a")
        try:
            async with asyncio.timeout(0.05):
                await keys.take()
        except TimeoutError:
            return True
        return False

    assert asyncio.run(scene())
