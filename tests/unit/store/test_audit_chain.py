"""The chain of hashes over the history: whatever is changed in a store's file by hand, `verify` names the place."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from rookery.model import AuditReport
from rookery_manager.audit import parse_head, verify
from rookery_manager.store import Commit, Delete, MemoryStore, Put, SqliteStore, Store
from rookery_manager.store.chain import BEGINNING, hash_of

KEEP_S = 1000.0


async def fill(store: Store, count: int, *, at: float = 0.0) -> None:
    """Commits that are written together, and in their order."""
    commits = []
    for number in range(1, count + 1):
        put = Put(key=f"people/p{number % 7}", value=b"v%d" % number, why=f"change {number}")
        writes = (put, Delete(key=f"people/p{(number + 3) % 7}", why="removed")) if number % 3 == 0 else (put,)
        commits.append(Commit(writes=writes, actor=f"ana{number}@h", at=at + number))
    await asyncio.gather(*map(store.commit, commits))


async def report(store: Store, expected: str = "") -> AuditReport:
    return await verify(await store.snapshot(), store.chain, parse_head(expected) if expected else None)


def made(path: Path, count: int = 600) -> str:
    """A store with so many revisions; its head."""

    async def main() -> str:
        store = await SqliteStore.open(path)
        await fill(store, count)
        told = await report(store)
        await store.close()
        assert not told.fault
        assert told.checked == count
        return f"{told.head_revision}:{told.head_hash}"

    return asyncio.run(main())


def looked_at(path: Path, expected: str = "") -> AuditReport:
    async def main() -> AuditReport:
        store = await SqliteStore.open(path)
        try:
            return await report(store, expected)
        finally:
            await store.close()

    return asyncio.run(main())


def edit(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("statement", "revision"),
    [
        ("UPDATE changes SET value = 'mine' WHERE revision = 300 AND number = 0", 300),
        ("UPDATE changes SET why = 'nothing' WHERE revision = 17", 17),
        ("UPDATE changes SET key = 'people/eve' WHERE revision = 300 AND number = 0", 300),
        ("UPDATE revisions SET actor = 'eve@h' WHERE revision = 599", 599),
        ("UPDATE revisions SET at = at + 1 WHERE revision = 600", 600),
        ("UPDATE revisions SET at = 'soon' WHERE revision = 600", 600),
        ("DELETE FROM changes WHERE revision = 300 AND number = 1", 300),
        ("INSERT INTO changes VALUES (5, 9, 'people/eve', 'admin', 'made admin')", 5),
        ("UPDATE revisions SET hash = zeroblob(32) WHERE revision = 200", 200),
        ("UPDATE revisions SET hash = NULL WHERE revision = 200", 200),
        ("UPDATE chain SET hash = zeroblob(31) || x'01'", 1),
        ("UPDATE entries SET value = 'mine' WHERE key = 'people/p5'", 600),
        ("INSERT INTO entries VALUES ('people/eve', 'admin', 600)", 600),
        ("DELETE FROM entries WHERE key = 'people/p5'", 600),
    ],
)
def test_the_first_revision_that_was_changed_is_named(tmp_path: Path, statement: str, revision: int) -> None:
    made(tmp_path / "store.db")
    edit(tmp_path / "store.db", statement)
    told = looked_at(tmp_path / "store.db")
    assert told.fault
    if "entries" in statement:
        assert "people/" in told.fault
    else:
        assert told.broken_revision == revision


def test_a_revision_that_was_taken_out_is_missed_at_the_next(tmp_path: Path) -> None:
    made(tmp_path / "store.db")
    edit(tmp_path / "store.db", "DELETE FROM changes WHERE revision = 256", "DELETE FROM revisions WHERE revision = 256")
    assert looked_at(tmp_path / "store.db").broken_revision == 257


def _cut(path: Path) -> None:
    """The end is cut off so that nothing is left of it."""
    made(path.with_name("shorter.db"), 590)
    path.with_name("shorter.db").replace(path)
    path.with_name("shorter.db.lock").replace(path.with_name("store.db.lock"))


def _write_anew(path: Path) -> None:
    """All hashes from a changed revision on are made anew."""
    edit(path, "UPDATE revisions SET actor = 'eve@h' WHERE revision = 500")

    async def main() -> None:
        store = await SqliteStore.open(path)
        before, hashes = BEGINNING, []
        after = 0
        while links := (await store.chain(after, 256)).links:
            for link in links:
                before = hash_of(before, link.revision, link.at, link.actor, link.changes)
                hashes.append((before, link.revision))
            after = links[-1].revision
        await store.close()
        with sqlite3.connect(path) as connection:
            connection.executemany("UPDATE revisions SET hash = ? WHERE revision = ?", hashes)
        connection.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("forge", "words"), [(_cut, "was cut off"), (_write_anew, "has another hash than was expected")], ids=["cut", "anew"]
)
def test_what_the_chain_alone_can_not_tell_a_head_kept_elsewhere_does(
    tmp_path: Path, forge: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "store.db"
    head = made(path)
    assert not looked_at(path, head).fault
    forge(path)
    assert not looked_at(path).fault
    told = looked_at(path, head)
    assert words in told.fault


@pytest.mark.parametrize("memory", [True, False], ids=["memory", "sqlite"])
def test_history_that_is_dropped_leaves_the_rest_verifiable(tmp_path: Path, memory: bool) -> None:
    async def main() -> None:
        store: Store = MemoryStore(keep_s=KEEP_S) if memory else await SqliteStore.open(tmp_path / "store.db", keep_s=KEEP_S)
        await fill(store, 100)
        early = await report(store)
        await fill(store, 50, at=5000.0)
        await store.commit(Commit(writes=(), actor="a", at=5900.0))  # lets it drop what is old
        async with asyncio.timeout(60):
            while (told := await report(store)).from_revision < 100:
                await store.commit(Commit(writes=(), actor="a", at=6000.0 + told.head_revision * 100))
        assert not told.fault
        assert told.checked == told.head_revision - told.from_revision
        assert not (await report(store, f"{told.head_revision}:{told.head_hash}")).fault
        assert "is no longer kept" in (await report(store, f"7:{early.head_hash}")).fault
        await store.close()

    asyncio.run(main())


def test_both_engines_make_the_same_chain(tmp_path: Path) -> None:
    async def main() -> None:
        heads = set()
        for store in (MemoryStore(), await SqliteStore.open(tmp_path / "store.db")):
            await fill(store, 40)
            heads.add((await report(store)).head_hash)
            await store.close()
        assert len(heads) == 1

    asyncio.run(main())


def test_a_store_from_before_begins_its_chain_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    made(path, 20)
    edit(path, "ALTER TABLE revisions DROP COLUMN hash", "DROP TABLE chain", "PRAGMA user_version = 1")

    async def main() -> None:
        store = await SqliteStore.open(path)
        told = await report(store)
        assert (told.from_revision, told.checked, told.fault) == (20, 0, "")
        await fill(store, 5, at=100.0)
        told = await report(store)
        assert (told.from_revision, told.checked, told.fault) == (20, 5, "")
        assert len(await store.history(limit=100)) > 25  # what was before is there
        await store.close()

    asyncio.run(main())
    edit(path, "UPDATE revisions SET actor = 'eve' WHERE revision = 23")
    assert looked_at(path).broken_revision == 23
