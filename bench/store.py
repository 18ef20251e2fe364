"""Durable commits per second of the SQLite engine at 1, 10 and 100 concurrent committers, beside two floors on the same disk.

The floors: fsync'd appends of the same bytes to a plain file, and SQLite with one transaction a commit in the same thread.
python bench/store.py [DIRECTORY] [SECONDS]
"""

import asyncio
import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from rookery_manager.store import Commit, Put, SqliteStore

VALUE = b"v" * 500  # about a replica's record


def appends(path: Path, seconds: float) -> float:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        os.write(file, VALUE)
        os.fdatasync(file)
        count += 1
    os.close(file)
    return count / (time.perf_counter() - started)


def transactions(path: Path, seconds: float) -> float:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE entries (key TEXT PRIMARY KEY, value BLOB)")
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        connection.execute("INSERT OR REPLACE INTO entries VALUES (?, ?)", (f"key/{count % 1000}", VALUE))
        count += 1
    took_s = time.perf_counter() - started
    connection.close()
    return count / took_s


async def commits(path: Path, seconds: float, committers: int) -> tuple[float, float]:
    """Commits a second, and the slowest hundredth in milliseconds."""
    store = await SqliteStore.open(path)
    latencies: list[float] = []
    started = time.perf_counter()

    async def committer(number: int) -> None:
        count = 0
        while time.perf_counter() - started < seconds:
            before = time.perf_counter()
            writes = [Put(key=f"key/{number}/{count % 1000}", value=VALUE, why="measured")]
            await store.commit(Commit(writes=writes, actor="bench", at=time.time()))
            latencies.append(time.perf_counter() - before)
            count += 1

    await asyncio.gather(*(committer(number) for number in range(committers)))
    took_s = time.perf_counter() - started
    await store.close()
    return len(latencies) / took_s, sorted(latencies)[int(len(latencies) * 0.99)] * 1000


def main() -> None:
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 3.0
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as name:
        directory = Path(name)
        print(f"fsync'd appends to a file, one after another:  {appends(directory / 'appends', seconds):8,.0f} a second")
        print(f"SQLite, one transaction a commit:              {transactions(directory / 'plain.db', seconds):8,.0f} a second")
        for committers in (1, 10, 100):
            rate, slow_ms = asyncio.run(commits(directory / f"store{committers}.db", seconds, committers))
            print(f"store, {committers:3} at once:                           {rate:8,.0f} a second, p99 {slow_ms:.1f} ms")


if __name__ == "__main__":
    main()
