"""A full disk under the SQLite engine: an error that says so, nothing half-written, and on it goes when there is room again."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rookery_manager.store import Commit, Put, SqliteStore, StoreError

LIMITED = """
import asyncio, resource, signal, sys
from pathlib import Path
from rookery_manager.store import Commit, Put, SqliteStore, StoreError

def pair(i):
    return Commit(writes=[Put(key=f"{half}/{i}", value=b"v" * 20_000) for half in ("left", "right")], actor="test", at=0.0)

async def main(path):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = await SqliteStore.open(path)
    await store.commit(pair(0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
    acknowledged, failure = 1, None
    while failure is None and acknowledged < 200:
        try:
            await store.commit(pair(acknowledged))
            acknowledged += 1
        except StoreError as error:
            failure = str(error)
    assert failure is not None and str(path) in failure and "nothing was written" in failure, failure
    assert len((await store.snapshot()).entries) == 2 * acknowledged
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert await store.commit(pair(acknowledged)) == acknowledged + 1
    await store.close()
    store = await SqliteStore.open(path)
    assert len((await store.snapshot()).entries) == 2 * acknowledged + 2
    await store.close()

asyncio.run(main(Path(sys.argv[1])))
"""


def test_a_file_that_may_not_grow_is_a_full_disk(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path / "store.db")], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], capture_output=True, text=True, timeout=30
    )
    if mounted.returncode:
        pytest.skip(f"can't mount a small disk here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True, timeout=30)


@pytest.mark.root
def test_a_full_disk_is_named_and_survived(small_disk: Path) -> None:
    async def main() -> None:
        path = small_disk / "store.db"
        filler = small_disk / "filler"
        filler.write_bytes(b"x" * 800_000)
        store = await SqliteStore.open(path)
        outcomes: list[int | BaseException] = []
        while not any(isinstance(outcome, StoreError) for outcome in outcomes) and len(outcomes) < 1000:
            first = len(outcomes)
            commits = (store.commit(_pair(first + i)) for i in range(8))
            outcomes += await asyncio.gather(*commits, return_exceptions=True)
        failures = [outcome for outcome in outcomes if isinstance(outcome, StoreError)]
        assert f"{path}: the disk is full, nothing was written; make room there" in str(failures[0])
        with pytest.raises(StoreError, match="the disk is full"):
            await store.lease("l" * 100_000, "me", ttl_s=1, now=0.0)
        written = sorted(i for i, outcome in enumerate(outcomes) if isinstance(outcome, int))
        assert await _pairs(store) == written
        filler.unlink()
        await store.commit(_pair(5000))
        await store.close()
        store = await SqliteStore.open(path)
        assert await _pairs(store) == [*written, 5000]
        await store.close()

    asyncio.run(main())


@pytest.mark.root
def test_a_store_on_a_full_disk_opens_once_there_is_room(small_disk: Path) -> None:
    async def main() -> None:
        store = await SqliteStore.open(small_disk / "store.db")
        await store.commit(_pair(1))
        await store.close()
        filler = _fill(small_disk)
        with pytest.raises(StoreError, match=r"store\.db: the disk is full"):
            await SqliteStore.open(small_disk / "store.db")
        filler.unlink()
        store = await SqliteStore.open(small_disk / "store.db")
        assert await _pairs(store) == [1]
        await store.close()

    asyncio.run(main())


@pytest.mark.root
def test_no_room_even_to_begin_is_said(small_disk: Path) -> None:
    _fill(small_disk)
    with pytest.raises(StoreError, match=r"store\.db: the disk is full"):
        asyncio.run(SqliteStore.open(small_disk / "store.db"))


def _fill(place: Path) -> Path:
    filler = place / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    return filler


def _pair(i: int) -> Commit:
    return Commit(writes=[Put(key=f"{half}/{i:05}", value=b"v" * 20_000) for half in ("left", "right")], actor="test", at=0.0)


async def _pairs(store: SqliteStore) -> list[int]:
    """The numbers whose halves are both there; fails where one is there alone."""
    entries = (await store.snapshot()).entries
    left, right = ([int(key[-5:]) for key in entries if key.startswith(half)] for half in ("left/", "right/"))
    assert left == right
    return left
