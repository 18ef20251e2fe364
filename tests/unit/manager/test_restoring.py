"""Restoring: what is put in place, what is kept, what is refused, and what is left by a restore that was killed."""

import asyncio
import os
import shutil
import stat
from pathlib import Path

import pytest
from rookery.model import App
from rookery_manager import restoring
from rookery_manager.records import put
from rookery_manager.restoring import examine, raised, restore
from rookery_manager.store import Commit, Damaged, Put, SqliteStore, StoreError

NOW = 10_000.0


def commits(data: Path, *names: str, at: float = 1000.0) -> int:
    """The revision after an app of each name was written."""

    data.mkdir(exist_ok=True)

    async def main() -> int:
        store = await SqliteStore.open(data / "store.db")
        revision = 0
        for name in names:
            writes = [put(App(name=name), "deployed"), Put(key="cluster", value=b"c1")]
            revision = await store.commit(Commit(writes=writes, actor="test", at=at))
        await store.close()
        return revision

    return asyncio.run(main())


def held(data: Path) -> tuple[int, set[str]]:
    async def main() -> tuple[int, set[str]]:
        store = await SqliteStore.open(data / "store.db")
        snapshot = await store.snapshot()
        await store.close()
        return snapshot.revision, {key for key in snapshot.entries if key.startswith("apps/")}

    return asyncio.run(main())


def backup(data: Path, to: Path) -> Path:
    async def main() -> None:
        store = await SqliteStore.open(data / "store.db")
        await store.backup(to)
        await store.close()

    asyncio.run(main())
    return to


@pytest.mark.parametrize(
    ("held_", "at", "known", "now", "expected"),
    [
        (50, 1000.0, 0, 1000.0, 1_000_050),
        (50, 1000.0, 0, 1010.0, 1_100_050),  # what was committed in 10 s
        (50, 1000.0, 80, 1010.0, 1_100_080),  # what was there knows of more
        (50, 1000.0, 0, 10.0, 1_000_050),  # a clock that is wrong
    ],
)
def test_revisions_go_on_above_all_that_can_have_been_seen(held_: int, at: float, known: int, now: float, expected: int) -> None:
    assert raised(held_, at, known, now) == expected


def test_a_second_restore_of_the_same_backup_is_above_the_first() -> None:
    first = raised(50, 1000.0, 0, 2000.0)
    assert raised(50, 1000.0, 0, 2001.0) >= first + restoring.REVISIONS_PER_S


def test_a_backup_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    data = tmp_path / "data"
    commits(data, "a", "b")
    file = backup(data, tmp_path / "backup.db")
    assert commits(data, "c", "d", "e") == 5
    done = restore(file, data, NOW)
    assert (done.held.revision, done.held.at, done.held.counts) == (2, 1000.0, {"apps": 2, "cluster": 1})
    assert held(data) == (done.revision, {"apps/a", "apps/b"})
    assert done.revision == 1_000_005 + int((NOW - 1000.0) * restoring.REVISIONS_PER_S)
    assert stat.S_IMODE((data / "store.db").stat().st_mode) == 0o600
    assert done.kept == data / "store-before-19700101T024640Z.db"
    assert examine(done.kept).revision == 5
    assert sorted(os.listdir(data)) == ["store-before-19700101T024640Z.db", "store.db", "store.db.lock"]
    again = restore(file, data, NOW)
    assert again.kept == data / "store-before-19700101T024640Z-2.db"
    assert again.revision > done.revision


def test_a_backup_is_restored_on_a_new_machine(tmp_path: Path) -> None:
    commits(tmp_path / "old", "a")
    done = restore(backup(tmp_path / "old", tmp_path / "backup.db"), tmp_path / "far" / "new", NOW)
    assert done.kept is None
    assert held(tmp_path / "far" / "new") == (done.revision, {"apps/a"})


def test_the_history_says_that_it_was_restored(tmp_path: Path) -> None:
    commits(tmp_path, "a")
    restore(backup(tmp_path, tmp_path / "backup.db"), tmp_path, NOW)

    async def main() -> None:
        store = await SqliteStore.open(tmp_path / "store.db")
        (change,) = await store.history(limit=1)
        assert (change.key, change.actor, change.at) == ("cluster", "restore", NOW)
        assert change.why == "restored from a backup of revision 1"
        await store.close()

    asyncio.run(main())


def test_a_store_is_restored_from_what_is_left_of_itself(tmp_path: Path) -> None:
    commits(tmp_path, "a", "b")
    (tmp_path / "store.db.lock").write_text("123 open")  # as left by one that was killed, its log removed
    with pytest.raises(Damaged, match=r"store\.db-wal, and that is gone"):
        held(tmp_path)
    done = restore(tmp_path / "store.db", tmp_path, NOW)
    assert held(tmp_path) == (done.revision, {"apps/a", "apps/b"})


def test_a_copy_that_has_its_log_beside_it_is_restored_with_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()

    async def main() -> None:
        store = await SqliteStore.open(tmp_path / "data" / "store.db")
        await store.commit(Commit(writes=[put(App(name="a"), "deployed")], actor="test", at=1.0))
        for name in ("store.db", "store.db-wal"):
            shutil.copyfile(tmp_path / "data" / name, tmp_path / name)
        await store.close()

    asyncio.run(main())
    assert examine(tmp_path / "store.db").counts == {"apps": 1}


def test_not_while_a_manager_runs(tmp_path: Path) -> None:
    data = tmp_path / "data"
    commits(data, "a")
    file = backup(data, tmp_path / "backup.db")

    async def main() -> None:
        store = await SqliteStore.open(data / "store.db")
        with pytest.raises(StoreError, match=r"in use by another manager \(process \d+\); stop that one"):
            restore(file, data, NOW)
        with pytest.raises(StoreError, match="Of a store in use, 'rookery admin backup' makes a copy"):
            restore(data / "store.db", tmp_path / "other", NOW)
        await store.commit(Commit(writes=[put(App(name="b"), "")], actor="test", at=1.0))
        await store.close()

    asyncio.run(main())
    assert held(data) == (2, {"apps/a", "apps/b"})


def _unreadable(path: Path) -> None:
    async def main() -> None:
        store = await SqliteStore.open(path)
        await store.commit(Commit(writes=[Put(key="apps/x", value=b"\xff\xff")], actor="test", at=1.0))
        await store.close()

    asyncio.run(main())


def _cut(path: Path) -> None:
    commits(path.parent, *"abcdefghij" * 30)
    path.write_bytes(path.read_bytes()[:-8192])


REFUSED = {
    "text": (lambda path: path.write_text("no store" * 1000), r"is not a store of Rookery; take another backup$"),
    "empty": (lambda path: path.touch(), r"the file is empty$"),
    "cut": (_cut, r"the store is damaged: .*; take another backup$"),
    "unreadable": (_unreadable, r"it holds what can't be read, or was written by a later version: apps/x: not a App"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_whole_store_is_refused_and_changes_nothing(case: str, tmp_path: Path) -> None:
    make, message = REFUSED[case]
    data, bad = tmp_path / "data", tmp_path / "bad"
    commits(data, "a")
    bad.mkdir()
    make(bad / "store.db")
    before = (data / "store.db").read_bytes()
    for attempt in (lambda: examine(bad / "store.db"), lambda: restore(bad / "store.db", data, NOW)):
        with pytest.raises(StoreError, match=message) as caught:
            attempt()
        assert str(caught.value).startswith(str(bad / "store.db"))
    assert (data / "store.db").read_bytes() == before
    assert sorted(os.listdir(data)) == ["store.db", "store.db.lock"]


@pytest.mark.parametrize("step", range(1, 8))
def test_killed_in_the_middle_it_is_done_again(step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dies before the nth change of a file in place, and leaves what it has done."""
    data = tmp_path / "data"
    commits(data, "a")
    file = backup(data, tmp_path / "backup.db")
    commits(data, "b")
    left = step

    def dying(real: object) -> object:
        def change(*args: object, **kwargs: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            return real(*args, **kwargs)  # type: ignore[operator]

        return change

    with monkeypatch.context() as patched:
        for name in ("link", "chown", "replace", "fsync"):
            patched.setattr(restoring.os, name, dying(getattr(os, name)))
        try:
            restore(file, data, NOW)
            done = True
        except KeyboardInterrupt:
            done = False
    try:
        found = held(data)[1]
    except Damaged as error:
        assert "a restore did not get to its end; do it again" in str(error)  # noqa: PT017
    else:
        assert found == ({"apps/a"} if done else {"apps/a", "apps/b"})
    again = restore(file, data, NOW + 1)
    assert held(data) == (again.revision, {"apps/a"})
    assert any(examine(path).revision == 2 for path in data.glob("store-before-*.db"))
