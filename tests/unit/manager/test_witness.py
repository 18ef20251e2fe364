"""What agents, proxies and strangers were refused, in the history: each of them, but however many try, not much."""

import asyncio

import pytest
from rookery_manager.identity import witness
from rookery_manager.identity.witness import EACH_S, MOST, Witness
from rookery_manager.store import Change, MemoryStore
from whole_manager import until


class Scene:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.now = 1000.0
        self.witness = Witness(self.store, lambda: self.now)

    async def written(self, count: int) -> list[Change]:
        """What was written, when it is so many."""
        found: list[Change] = []

        async def there() -> bool:
            found[:] = await self.store.history(limit=1000)
            return len(found) >= count

        await until(there)
        return found


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness, "PAUSE_S", 0.01)


def test_each_is_written_down_once_a_minute_with_how_many_there_were() -> None:
    async def main() -> None:
        s = Scene()
        running = asyncio.create_task(s.witness.run())
        for _ in range(7):
            s.witness.saw("agent n1@10.0.0.7", "not for it")
        (first,) = await s.written(1)
        assert (first.key, first.actor, first.why) == ("attempts/agent n1", "agent n1@10.0.0.7", "refused: not for it (6 more)")
        s.witness.saw("agent n1@10.0.0.7", "not for it either")
        s.witness.saw("stranger@10.0.0.9", "no certificate")
        other = (await s.written(2))[1]
        assert other.actor == "stranger@10.0.0.9"
        s.now += EACH_S
        assert (await s.written(3))[2].why == "refused: not for it either"
        running.cancel()

    asyncio.run(main())


def test_a_crowd_does_not_fill_the_history() -> None:
    async def main() -> None:
        s = Scene()
        running = asyncio.create_task(s.witness.run())
        for number in range(5_000):
            s.witness.saw(f"stranger@10.0.{number // 250}.{number % 250}", "no certificate")
        await s.written(MOST)
        assert len(s.witness._seen) <= witness.MOST_KNOWN
        running.cancel()

    asyncio.run(main())
