"""The manager's process on a store that it can't use: one line with what, where and the way out; status 1; nothing touched."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rookery.model import App, Service
from rookery_manager.records import put
from rookery_manager.store import Commit, Put, SqliteStore


def refused(data: Path) -> str:
    """What the manager says when it does not start."""
    command = [sys.executable, "-m", "rookery_manager.main", "--listen", "127.0.0.1:0", "--data", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    return line


def written(data: Path, *writes: Put) -> None:
    async def main() -> None:
        store = await SqliteStore.open(data / "store.db")
        for i in range(20):
            await store.commit(Commit(writes=[put(App(name=f"a{i}"), "x" * 2000)], actor="test", at=1.0))
        await store.commit(Commit(writes=writes, actor="test", at=1.0))
        await store.close()

    asyncio.run(main())


def _cut(data: Path) -> None:
    path = data / "store.db"
    path.write_bytes(path.read_bytes()[:-8192])


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (_cut, "the store is damaged: "),
    "no database": (
        lambda data: (data / "store.db").write_bytes(b"\x01" * 40_000),
        "its beginning is no longer that of a database",
    ),
    "emptied": (lambda data: (data / "store.db").write_bytes(b""), "the file is empty"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_damaged_store_is_refused_with_the_newest_snapshot(case: str, tmp_path: Path) -> None:
    make, what = WRONG[case]
    written(tmp_path)
    make(tmp_path)
    before = (tmp_path / "store.db").read_bytes()
    (tmp_path / "snapshots").mkdir()
    for name in ("store-20250101T000000Z-r812.db", "store-20240101T000000Z-r7.db"):
        (tmp_path / "snapshots" / name).touch()
    said = refused(tmp_path)
    assert f"{tmp_path / 'store.db'}: the store is damaged: " in said
    assert what in said
    assert f"'rookery admin restore FILE --data {tmp_path}' puts a backup in its place" in said
    assert f"the newest snapshot is {tmp_path}/snapshots/store-20250101T000000Z-r812.db, of revision 812, made " in said
    assert said.endswith(" days ago")
    assert (tmp_path / "store.db").read_bytes() == before


def test_records_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    bad = [Put(key=f"services/shop/s{i}", value=b"\xff\xff") for i in range(3)]
    misplaced = Put(key="services/shop/web", value=put(Service(app="shop", name="api", revision=1), "").value)
    written(tmp_path, *bad, misplaced, Put(key="revisions/shop/web/x", value=b""))
    said = refused(tmp_path)
    assert "damaged: 5 records can't be read, or a later version wrote them: revisions/shop/web/x: " in said
    assert "services/shop/s0: not a Service: " in said
    assert "; and 2 more. 'rookery admin restore FILE" in said
    assert f"there is no snapshot in {tmp_path}/snapshots. Without a backup, move store.db away to begin anew" in said


def test_a_second_manager_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rookery_manager.main", "--listen", "127.0.0.1:0", "--data", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as first:
        assert first.stderr is not None
        try:
            while "listening on" not in first.stderr.readline():
                assert first.poll() is None
            said = refused(tmp_path)
            assert f"{tmp_path}/store.db is in use by another manager (process {first.pid}); stop that one" in said
        finally:
            os.kill(first.pid, signal.SIGKILL)
