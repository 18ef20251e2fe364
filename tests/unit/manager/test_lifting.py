"""A store that is older than what a node was told: its revisions go on above that."""

import asyncio

import pytest
from rookery_manager.lifting import APART, MOST, rise_above
from rookery_manager.state import State
from rookery_manager.store import Commit, MemoryStore, Put, StoreError


async def begun() -> tuple[MemoryStore, State, "asyncio.Task[None]"]:
    store, state = MemoryStore(), State()
    await store.commit(Commit(writes=[Put(key="cluster", value=b"c1")], actor="test", at=1.0))
    state.load(await store.snapshot())

    async def follow() -> None:
        async for changes in store.watch(after=state.revision):
            state.apply(changes)

    return store, state, asyncio.create_task(follow())


@pytest.mark.parametrize(("told", "revision"), [(0, 1), (1, 1), (2, 2 + APART), (900, 900 + APART), (MOST + 1, 1), (1 << 62, 1)])
def test_revisions_go_on_above_what_was_told(told: int, revision: int, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        store, state, following = await begun()
        await rise_above(told, "n1", store=store, state=state, clock=lambda: 2.0)
        assert (state.revision, (await store.snapshot()).revision) == (revision, revision)
        assert ("was told generation" in caplog.text) == ((told != 0 and revision > 1) or told > MOST)
        following.cancel()

    asyncio.run(main())


def test_many_nodes_at_once_end_above_all_of_them() -> None:
    async def main() -> None:
        store, state, following = await begun()
        await asyncio.gather(
            *(rise_above(told, "n", store=store, state=state, clock=lambda: 2.0) for told in range(5_000, 5_020))
        )
        assert state.revision > 5_020
        following.cancel()

    asyncio.run(main())


def test_a_store_that_cannot_write_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Full(MemoryStore):
        async def commit(self, commit: Commit) -> int:  # noqa: ARG002
            raise StoreError("the disk is full")

    async def main() -> None:
        await rise_above(900, "n1", store=Full(), state=State(), clock=lambda: 2.0)
        assert "revisions could not be raised; it is tried again when the node connects again: the disk is full" in caplog.text

    asyncio.run(main())
