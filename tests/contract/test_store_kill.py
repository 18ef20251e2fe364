"""SIGKILL at any moment: every acknowledged write is there afterwards, and none is there in part."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from rookery_manager.store import SqliteStore

ROUNDS = 10
DEADLINE_S = 60.0

WRITER = """
import asyncio, os, sys
from pathlib import Path
from rookery_manager.store import Commit, Put, SqliteStore

async def main(path, run):
    store = await SqliteStore.open(path)
    os.write(1, b"ready\\n")

    async def write(writer):
        number = 0
        while True:
            number += 1
            name = f"{run}/{writer}/{number}"
            writes = [Put(key=f"{half}/{name}", value=name.encode() * 50, why="test") for half in ("left", "right")]
            revision = await store.commit(Commit(writes=writes, actor="test", at=0.0))
            os.write(1, f"{revision} {name}\\n".encode())

    await asyncio.gather(*(write(writer) for writer in range(8)))

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


def _killed_writer(path: Path, run: int, lives_s: float) -> dict[str, int]:
    """What a writer acknowledged before it was killed: names and their revisions."""
    told_path = path.with_name(f"told-{run}")
    with told_path.open("wb") as told:
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(run)], stdout=told)
    try:
        give_up_at = time.monotonic() + DEADLINE_S
        while told_path.stat().st_size <= len("ready\n"):
            assert child.poll() is None, "the writer ended by itself"
            assert time.monotonic() < give_up_at, "the writer wrote nothing"
            time.sleep(0.001)
        time.sleep(lives_s)  # the moment of death, not a wait for anything
    finally:
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    acknowledged = {}
    for line in told_path.read_text().splitlines(keepends=True)[1:]:
        if line.endswith("\n"):
            revision, name = line.split()
            acknowledged[name] = int(revision)
    return acknowledged


def test_kill_9_loses_nothing_acknowledged_and_halves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    moments = random.Random(20)
    acknowledged: dict[str, int] = {}
    for run in range(ROUNDS):
        told = _killed_writer(path, run, moments.uniform(0.0, 0.15))
        assert told
        assert not acknowledged.keys() & told.keys()
        acknowledged |= told
        _check(path, acknowledged)


def _check(path: Path, acknowledged: dict[str, int]) -> None:
    async def main() -> None:
        store = await SqliteStore.open(path)  # a lock that the dead one held would refuse this
        snapshot = await store.snapshot()
        history = await store.history(limit=10_000_000)
        await store.close()
        for name, revision in acknowledged.items():
            assert snapshot.entries[f"left/{name}"].revision == revision
        names: dict[str, list[str]] = {}
        for key, entry in snapshot.entries.items():
            half, _, name = key.partition("/")
            assert entry.value == name.encode() * 50
            names.setdefault(name, []).append(half)
        assert all(halves == ["left", "right"] for halves in names.values())
        assert [change.revision for change in history] == sorted(2 * list(range(1, len(names) + 1)))
        assert snapshot.revision == len(names)

    asyncio.run(main())


def test_the_writer_of_this_test_is_really_killed(tmp_path: Path) -> None:
    """Else the test above would show nothing: the file must have been left as it was, write-ahead log and all."""
    path = tmp_path / "store.db"
    _killed_writer(path, 0, 0.05)
    assert os.stat(f"{path}-wal").st_size > 0
