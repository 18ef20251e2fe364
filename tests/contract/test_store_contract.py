"""What every engine of the Store protocol does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from rookery_manager.store import (
    Change,
    Commit,
    Compacted,
    Condition,
    Conflict,
    Delete,
    MemoryStore,
    Put,
    SqliteStore,
    Store,
    StoreError,
    Write,
)

KEEP_S = 1000.0
DEADLINE_S = 60.0
Scenario = Callable[[Store], Awaitable[None]]


@asynccontextmanager
async def _opened(engine: str, path: Path) -> AsyncIterator[Store]:
    store: Store = MemoryStore(keep_s=KEEP_S) if engine == "memory" else await SqliteStore.open(path, keep_s=KEEP_S)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture(params=["memory", "sqlite"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Scenario], None]:
    """Plays a scenario on an empty store of each engine."""

    async def main(scenario: Scenario) -> None:
        async with asyncio.timeout(DEADLINE_S), _opened(request.param, tmp_path / "store.db") as store:
            await scenario(store)

    return lambda scenario: asyncio.run(main(scenario))


def puts(*keys: str, value: bytes = b"v", at: float = 0.0, conditions: tuple[Condition, ...] = ()) -> Commit:
    writes = [Put(key=key, value=value, why=f"put {key}") for key in keys]
    return Commit(writes=writes, conditions=conditions, actor="test", at=at)


async def take(store: Store, count: int, *, after: int = 0, prefix: str = "") -> list[tuple[Change, ...]]:
    """The first so many items of a watch."""
    found: list[tuple[Change, ...]] = []
    watch = store.watch(after=after, prefix=prefix)
    while len(found) < count:
        found.append(await anext(watch))
    await watch.aclose()  # type: ignore[attr-defined]
    return found


def test_a_new_store_is_empty_at_revision_0(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        snapshot = await store.snapshot()
        assert (snapshot.revision, dict(snapshot.entries)) == (0, {})
        assert await store.history() == ()

    play(scenario)


def test_a_commit_makes_one_revision_with_all_its_writes(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        assert await store.commit(puts("a", "b", at=5.0)) == 1
        deletion = Commit(writes=[Delete(key="a", why="gone"), Put(key="c", value=b"", why="new")], actor="me", at=6.0)
        assert await store.commit(deletion) == 2
        snapshot = await store.snapshot()
        assert [(e.key, e.value, e.revision) for e in snapshot.entries.values()] == [("b", b"v", 1), ("c", b"", 2)]
        assert snapshot.revision == 2
        assert await store.history() == (
            Change(revision=1, at=5.0, actor="test", key="a", value=b"v", why="put a"),
            Change(revision=1, at=5.0, actor="test", key="b", value=b"v", why="put b"),
            Change(revision=2, at=6.0, actor="me", key="a", value=None, why="gone"),
            Change(revision=2, at=6.0, actor="me", key="c", value=b"", why="new"),
        )

    play(scenario)


def test_deleting_what_is_absent_is_a_revision_without_a_change(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        assert await store.commit(Commit(writes=[Delete(key="a")], actor="test", at=0.0)) == 1
        assert await store.commit(Commit(writes=[], actor="test", at=0.0)) == 2
        assert (await store.snapshot()).revision == 2
        assert await store.history() == ()

    play(scenario)


def test_writes_to_one_key_in_one_commit_happen_in_order(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        writes: list[Write] = [Put(key="a", value=b"1"), Delete(key="a"), Put(key="a", value=b"2")]
        await store.commit(Commit(writes=writes, actor="test", at=0.0))
        assert (await store.snapshot()).entries["a"].value == b"2"
        assert [change.value for change in await store.history()] == [b"1", None, b"2"]

    play(scenario)


def test_a_condition_that_does_not_hold_writes_nothing(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        await store.commit(puts("a"))
        for key, revision in (("a", 0), ("a", 2), ("b", 1)):
            conditions = (Condition(key="a", revision=1), Condition(key=key, revision=revision))
            with pytest.raises(Conflict) as caught:
                await store.commit(puts("a", "new", conditions=conditions))
            assert caught.value.key == key
        assert (await store.snapshot()).revision == 1
        assert await store.commit(puts("b", conditions=(Condition(key="a", revision=1), Condition(key="b", revision=0)))) == 2

    play(scenario)


def test_a_conflict_fails_only_its_own_commit(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        absent = (Condition(key="a", revision=0),)
        outcomes = await asyncio.gather(
            *(store.commit(puts("a", f"k{i}", conditions=absent)) for i in range(50)), return_exceptions=True
        )
        assert sorted(outcome for outcome in outcomes if isinstance(outcome, int)) == [1]
        assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 49
        assert len((await store.snapshot()).entries) == 2

    play(scenario)


def test_a_hundred_concurrent_conditional_increments_all_count(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        async def increment() -> None:
            while True:
                entry = (await store.snapshot("counter")).entries.get("counter")
                value = int(entry.value) + 1 if entry else 1
                condition = Condition(key="counter", revision=entry.revision if entry else 0)
                try:
                    await store.commit(puts("counter", value=str(value).encode(), conditions=(condition,)))
                except Conflict:
                    continue
                return

        await asyncio.gather(*(increment() for _ in range(100)))
        assert (await store.snapshot()).entries["counter"].value == b"100"
        assert [change.value for change in await store.history()] == [str(i).encode() for i in range(1, 101)]

    play(scenario)


def test_snapshot_and_history_keep_to_the_prefix(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        keys = [
            "a",
            "a/",
            "a/b",
            "a/é",
            "a/\U0010ffff",
            "a/\U0010ffff\U0010ffff",
            "a0",
            "b",
            "\U0010ffff",
            "\U0010ffffx",
            "\ud7ff",
        ]
        for key in keys:
            await store.commit(puts(key))
        for prefix in ["", *keys, "c"]:
            expected = [key for key in keys if key.startswith(prefix)]
            assert list((await store.snapshot(prefix)).entries) == sorted(expected)
            assert [change.key for change in await store.history(prefix)] == expected

    play(scenario)


def test_history_gives_the_newest_oldest_first(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        for i in range(10):
            await store.commit(puts(f"{'ab'[i % 2]}{i}"))
        assert [c.key for c in await store.history(limit=3)] == ["b7", "a8", "b9"]
        assert [c.key for c in await store.history("a", limit=2)] == ["a6", "a8"]
        assert [c.key for c in await store.history("a", after=7)] == ["a8"]
        assert await store.history(after=10) == ()
        assert await store.history(limit=0) == ()

    play(scenario)


def test_a_watch_from_any_revision_sees_what_history_says(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        for i in range(40):
            await store.commit(puts(f"a{i}", f"b{i}") if i % 3 else puts(f"b{i}"))
        for after in (0, 1, 17, 39):
            for prefix in ("", "a", "b1"):
                wanted = await store.history(prefix, after=after, limit=1000)
                revisions = sorted({change.revision for change in wanted})
                seen = await take(store, len(revisions), after=after, prefix=prefix)
                assert [changes[0].revision for changes in seen] == revisions
                assert tuple(change for changes in seen for change in changes) == wanted

    play(scenario)


def test_a_watch_waits_for_what_comes(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        first = asyncio.create_task(take(store, 3))
        second = asyncio.create_task(take(store, 1, prefix="c"))
        for key in "abc":
            await asyncio.sleep(0)
            await store.commit(puts(key))
        assert [changes[0].key for changes in await first] == ["a", "b", "c"]
        assert [changes[0].key for changes in await second] == ["c"]

    play(scenario)


def test_a_slow_watch_misses_nothing_and_holds_nobody_up(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        slow = store.watch(after=0)
        await store.commit(puts("first"))
        assert (await anext(slow))[0].key == "first"
        many = [f"k{i}" for i in range(100)]
        await asyncio.gather(*(store.commit(puts(*many)) for _ in range(150)))  # more than is kept at hand
        seen = [changes async for changes in _first(slow, 150)]
        assert [changes[0].revision for changes in seen] == list(range(2, 152))
        assert all(len(changes) == 100 for changes in seen)

    play(scenario)


async def _first(watch: AsyncIterator[tuple[Change, ...]], count: int) -> AsyncIterator[tuple[Change, ...]]:
    for _ in range(count):
        yield await anext(watch)


def test_old_history_is_dropped_by_age_but_no_current_value(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        await store.commit(puts("old", at=100.0))
        await store.commit(puts("old too", at=200.0))
        await store.commit(puts("young", at=200.0 + KEEP_S))
        await store.commit(puts("now", at=150.0 + KEEP_S))
        await store.commit(puts("later", at=300.0 + KEEP_S))
        await until(lambda: _is_compacted(store, after=1))
        assert set((await store.snapshot()).entries) == {"old", "old too", "young", "now", "later"}
        assert [change.key for change in await store.history()] == ["young", "now", "later"]
        assert [change.key for change in await store.history(after=2)] == ["young", "now", "later"]
        assert [changes[0].key for changes in await take(store, 3, after=2)] == ["young", "now", "later"]
        with pytest.raises(Compacted):
            await store.history(after=1)
        assert await store.commit(puts("old", conditions=(Condition(key="old", revision=1),))) == 6

    play(scenario)


async def _is_compacted(store: Store, *, after: int) -> bool:
    try:
        await take(store, 1, after=after, prefix="now")
    except Compacted:
        return True
    return False


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """The play's deadline bounds it."""
    while not await holds():  # noqa: ASYNC110 (what is waited for has no event)
        await asyncio.sleep(0.01)


def test_a_lease_has_one_holder_until_it_ends(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        assert await store.lease("leader", "m1", ttl_s=3, now=100.0)
        assert not await store.lease("leader", "m2", ttl_s=3, now=102.9)
        assert await store.lease("other", "m2", ttl_s=3, now=102.9)
        assert await store.lease("leader", "m1", ttl_s=3, now=102.9)
        assert not await store.lease("leader", "m2", ttl_s=3, now=105.8)
        assert await store.lease("leader", "m2", ttl_s=3, now=105.9)
        assert not await store.lease("leader", "m1", ttl_s=3, now=106.0)
        assert (await store.snapshot()).revision == 0

    play(scenario)


def test_closing_ends_the_watches_and_refuses_the_rest(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        async def watch() -> int:
            return len([changes async for changes in store.watch(after=0)])

        watching = asyncio.create_task(watch())
        under_way = [asyncio.create_task(store.commit(puts(f"k{i}"))) for i in range(5)]
        await asyncio.sleep(0)
        await store.close()
        await store.close()
        assert sorted(await asyncio.gather(*under_way)) == [1, 2, 3, 4, 5]
        assert await watching <= 5
        assert [changes async for changes in store.watch(after=0)] == []
        for verb in (store.snapshot(), store.commit(puts("a")), store.history(), store.lease("l", "m", ttl_s=1, now=0.0)):
            with pytest.raises(StoreError, match="closed"):
                await verb

    play(scenario)


def test_a_cancelled_commit_leaves_the_others_alone(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        commits = [asyncio.create_task(store.commit(puts(f"k{i}"))) for i in range(20)]
        await asyncio.sleep(0)
        for commit in commits[::2]:
            commit.cancel()
        outcomes = await asyncio.gather(*commits, return_exceptions=True)
        assert all(isinstance(outcome, int) for outcome in outcomes[1::2])
        assert await store.commit(puts("after"))

    play(scenario)


def test_revisions_go_on_from_where_a_commit_says(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        for key in ("a", "b"):
            await store.commit(puts(key))
        following = asyncio.create_task(take(store, 4))
        jump = Commit(writes=[Put(key="c", value=b"", why="put c")], actor="test", at=0.0, at_least=500)
        assert await store.commit(jump) == 500
        assert await store.commit(jump) == 501  # that is above it already
        assert [changes[0].revision for changes in await following] == [1, 2, 500, 501]
        assert [changes[0].revision for changes in await take(store, 2, after=2)] == [500, 501]
        assert [change.revision for change in await store.history(after=1)] == [2, 500, 501]
        for within in (3, 400):
            with pytest.raises(Compacted, match="begin with a snapshot"):
                await anext(store.watch(after=within))
            with pytest.raises(Compacted, match="begin with a snapshot"):
                await store.history(after=within)
        assert await store.history(after=700) == ()
        assert (await store.snapshot()).revision == 501

    play(scenario)


def test_history_is_dropped_across_a_jump(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        await store.commit(puts("a", at=1.0))
        await store.commit(Commit(writes=[Put(key="b", value=b"")], actor="test", at=2.0, at_least=500))
        await store.commit(puts("c", at=2.0 + 2 * KEEP_S))

        while True:  # SQLite does it after the commit
            if [change.revision for change in await store.history()] == [501]:
                break
            await asyncio.sleep(0.01)
        for gone in (1, 400, 499):
            with pytest.raises(Compacted):
                await anext(store.watch(after=gone))
        assert [changes[0].revision for changes in await take(store, 1, after=500)] == [501]

    play(scenario)
