"""Which files the SQLite engine refuses, and what it says: the file, and the way out."""

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rookery_manager.store import Commit, Put, SqliteStore, StoreError
from rookery_manager.store.lock import RESTORING, hold


def open_and(path: Path, puts: int = 0) -> int:
    """The revision of the store after so many commits."""

    async def main() -> int:
        store = await SqliteStore.open(path)
        try:
            for i in range(puts):
                await store.commit(Commit(writes=[Put(key=f"k{i}", value=b"v" * 2000)], actor="test", at=0.0))
            return (await store.snapshot()).revision
        finally:
            await store.close()

    return asyncio.run(main())


def _text(path: Path) -> None:
    path.write_text("not a database\n" * 1000)


def _other_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()


def _newer(path: Path) -> None:
    open_and(path, 1)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def _cut(path: Path) -> None:
    open_and(path, 100)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _overwritten(path: Path) -> None:
    open_and(path, 100)
    content = bytearray(path.read_bytes())
    for page in range(2, len(content) // 4096):
        content[page * 4096 : page * 4096 + 512] = b"\x5a" * 512
    path.write_bytes(bytes(content))


def _directory(path: Path) -> None:
    path.mkdir()


def _emptied(path: Path) -> None:
    open_and(path, 1)
    path.write_bytes(b"")


def _beginning_overwritten(path: Path) -> None:
    open_and(path, 10)
    path.write_bytes(b"\0" * 4096 + path.read_bytes()[4096:])


def _edited(path: Path, statement: str) -> None:
    open_and(path, 3)
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


def _killed(path: Path, puts: int = 3) -> None:
    """A store as a manager leaves it that dies by SIGKILL after so many commits."""
    script = f"import test_store_open as t; from pathlib import Path; t.open_and_die(Path({str(path)!r}), {puts})"
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")


def open_and_die(path: Path, puts: int) -> None:
    async def main() -> None:
        store = await SqliteStore.open(path)
        for i in range(puts):
            await store.commit(Commit(writes=[Put(key=f"k{i}", value=b"v")], actor="test", at=0.0))
        os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(main())


def _log_gone(path: Path) -> None:
    _killed(path)
    path.with_name("store.db-wal").unlink()


def _restore_killed(path: Path) -> None:
    open_and(path, 1)
    lock = hold(path)
    lock.note(RESTORING)
    lock.close()


REFUSED = {
    "text": (_text, "is not a store of Rookery; move it away, or give another --data directory"),
    "another database": (_other_database, "is not a store of Rookery; move it away"),
    "newer": (_newer, "made by another version of Rookery (schema 99, this one reads 2); start that version"),
    "cut": (_cut, "the store is damaged: database disk image is malformed. 'rookery admin restore FILE --data "),
    "overwritten": (_overwritten, "the store is damaged: "),
    "emptied": (_emptied, "the store is damaged: the file is empty. 'rookery admin restore FILE"),
    "beginning overwritten": (_beginning_overwritten, "damaged: its beginning is no longer that of a database"),
    "a table gone": (lambda path: _edited(path, "DROP TABLE changes"), "damaged: it has no table changes"),
    "a mark gone": (
        lambda path: _edited(path, "DELETE FROM marks WHERE name = 'latest'"),
        "not say which revision is its latest",
    ),
    "behind itself": (
        lambda path: _edited(path, "UPDATE marks SET revision = 2 WHERE name = 'latest'"),
        "it holds revision 3, and its latest is said to be 2",
    ),
    "its log gone": (
        _log_gone,
        "its last writes were in store.db-wal, and that is gone; where a copy was put here by hand, restore",
    ),
    "a restore that was killed": (_restore_killed, "a restore did not get to its end; do it again"),
    "a directory": (_directory, "check that the directory exists and may be written to"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_is_no_whole_store_is_refused_and_left_alone(case: str, tmp_path: Path) -> None:
    make, message = REFUSED[case]
    path = tmp_path / "store.db"
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    for _ in range(2):  # the refusal lets go of the lock
        with pytest.raises(StoreError) as caught:
            open_and(path)
        assert str(path) in str(caught.value)
        assert message in str(caught.value)
    assert before == (path.read_bytes() if path.is_file() else b"")


def test_what_a_killed_manager_leaves_is_whole(tmp_path: Path) -> None:
    for puts in (0, 3, 0):
        _killed(tmp_path / "store.db", puts)
        assert (tmp_path / "store.db-wal").exists()
    assert open_and(tmp_path / "store.db") == 3


def test_a_store_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    _killed(tmp_path / "store.db")
    (tmp_path / "store.db").rename(tmp_path / "old.db")
    assert open_and(tmp_path / "store.db", 1) == 1


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("place", ["store.db", "store.db.lock", "."])
def test_what_may_not_be_read_is_named(place: str, tmp_path: Path) -> None:
    open_and(tmp_path / "store.db", 1)
    for path in (tmp_path, *tmp_path.iterdir()):
        os.chown(path, 65534, 65534)
    os.chown(tmp_path / place, 0, 0)
    path = repr(str(tmp_path / "store.db"))
    script = f"import test_store_open as t; from pathlib import Path; t.os.seteuid(65534); t.open_and(Path({path}))"
    for parent in (tmp_path.parent, tmp_path.parent.parent):
        parent.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=60)
    assert "check that the directory exists and may be written to" in done.stderr.splitlines()[-1], done.stderr


def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file or directory; check that the directory exists"):
        open_and(tmp_path / "nowhere" / "store.db")


def test_an_empty_file_is_a_new_store(tmp_path: Path) -> None:
    (tmp_path / "store.db").touch()
    assert open_and(tmp_path / "store.db", 2) == 2
    assert open_and(tmp_path / "store.db") == 2


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    open_and(tmp_path / "store.db", 1)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_one_manager_at_a_time(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "store.db"
        first = await SqliteStore.open(path)
        with pytest.raises(StoreError, match=r"store\.db is in use by another manager \(process \d+\); stop that one"):
            await SqliteStore.open(path)
        await first.close()
        await (await SqliteStore.open(path)).close()

    asyncio.run(main())


@pytest.mark.parametrize("value", [b"", b"x" * 3_000_000])
def test_any_size_of_value_comes_back(value: bytes, tmp_path: Path) -> None:
    async def main() -> None:
        store = await SqliteStore.open(tmp_path / "store.db")
        await store.commit(Commit(writes=[Put(key="k", value=value)], actor="test", at=0.0))
        assert (await store.snapshot()).entries["k"].value == value
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("spoil", [lambda c: c, lambda c: [*c, *c]], ids=["alone", "in a batch"])
def test_a_commit_that_cannot_be_written_fails_alone(spoil: Callable[[list[str]], list[str]], tmp_path: Path) -> None:
    async def main() -> None:
        store = await SqliteStore.open(tmp_path / "store.db")
        keys = spoil(["good", "\ud800", "better"])  # a lone surrogate is no text that can be kept
        commits = [Commit(writes=[Put(key="both", value=b""), Put(key=key, value=b"")], actor="t", at=0.0) for key in keys]
        outcomes = await asyncio.gather(*(store.commit(commit) for commit in commits), return_exceptions=True)
        assert [isinstance(outcome, StoreError) for outcome in outcomes] == [key == "\ud800" for key in keys]
        snapshot = await store.snapshot()
        assert set(snapshot.entries) == {"both", "good", "better"}
        assert snapshot.revision == len([key for key in keys if key != "\ud800"])
        await store.close()

    asyncio.run(main())
