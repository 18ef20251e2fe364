"""Backups: copies of the store while it is in use. Those that the manager makes by itself are called snapshots.

Invariant: what lies in the directory under a snapshot's name is whole and on the disk; the oldest go when there are too many. A
full disk never stops the manager here, and a copy never takes the room that the store needs to go on.
"""

import asyncio
import logging
import math
import os
import re
import secrets
import shutil
import time
from calendar import timegm
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rookery_manager.clock import Clock
from rookery_manager.store import Store, StoreError

log = logging.getLogger("rookery.manager")

RETRY_S = 600.0  # after a snapshot that failed, where the timetable does not say sooner
AT_ONCE = 4  # copies that are being sent
ROOM_LEFT_BYTES = 8 << 20
_NAME = re.compile(r"store-(\d{8}T\d{6})Z-r(\d+)\.db")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A snapshot; `revision` is the store's, as of `at`."""

    path: Path
    at: float
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A whole copy, open for reading; it is gone when it is closed."""

    file: IO[bytes]
    size_bytes: int


def kept_in(directory: Path) -> tuple[Kept, ...]:
    """The snapshots in a directory, newest first."""
    found = []
    with suppress(OSError):
        for path in directory.iterdir():
            match = _NAME.fullmatch(path.name)
            if match:
                at = timegm(time.strptime(match[1], "%Y%m%dT%H%M%S"))
                found.append(Kept(path=path, at=float(at), revision=int(match[2])))
    return tuple(sorted(found, key=lambda kept: (kept.at, kept.revision), reverse=True))


def name_of(at: float, revision: int) -> str:
    return f"store-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(at))}-r{revision}.db"


class Backups:
    """`every_s` of 0: no timetable. `revision` tells that of the store now."""

    def __init__(
        self, store: Store, directory: Path, clock: Clock, *, revision: Callable[[], int], every_s: float, keep: int
    ) -> None:
        self._store = store
        self._directory = directory
        self._clock = clock
        self._revision = revision
        self._every_s = every_s
        self._keep = keep
        self._making = asyncio.Lock()
        self._sending = 0

    async def run(self) -> None:
        """Makes the snapshots. It looks at what is there, so a restart of the manager moves none."""
        await asyncio.to_thread(_remove_halves, self._directory)
        newest = next(iter(await asyncio.to_thread(kept_in, self._directory)), None)
        if newest is not None:
            log.info("the newest snapshot is %s, of revision %d", newest.path, newest.revision)
        looked_at = newest.at if newest is not None else -math.inf
        while self._every_s:
            await asyncio.sleep(max(0.0, looked_at + self._every_s - self._clock()))
            looked_at = self._clock()
            if newest is not None and newest.revision == self._revision():
                continue  # it is what the store holds now
            try:
                newest = await self._snapshot()
            except (StoreError, OSError) as error:
                log.error("no snapshot was made, what is there stays: %s", error)
                looked_at -= max(0.0, self._every_s - RETRY_S)

    async def _snapshot(self) -> Kept:
        revision, at = self._revision(), self._clock()
        path = self._directory / name_of(at, revision)
        async with self._making:
            half = await self._copy()
            await asyncio.to_thread(os.replace, half, path)
        await asyncio.to_thread(_sync, self._directory)
        for old in (await asyncio.to_thread(kept_in, self._directory))[self._keep :]:
            with suppress(FileNotFoundError):
                await asyncio.to_thread(old.path.unlink)
        log.info("snapshot %s", path)
        return Kept(path=path, at=at, revision=revision)

    @asynccontextmanager
    async def copy(self) -> AsyncIterator[Copy]:
        """A copy of the store as it is now. Raises StoreError where there can be none."""
        if self._sending >= AT_ONCE:
            raise StoreError(f"{AT_ONCE} backups are under way; try again when one of them is done")
        self._sending += 1
        try:
            async with self._making:
                path = await self._copy()
                file = await asyncio.to_thread(_open_and_unlink, path)
            try:
                yield Copy(file=file, size_bytes=os.fstat(file.fileno()).st_size)
            finally:
                file.close()
        finally:
            self._sending -= 1

    async def _copy(self) -> Path:
        target = self._directory / f".{secrets.token_hex(4)}.half"
        await asyncio.to_thread(_make_room, self._directory)
        await self._store.backup(target)
        return target


def _make_room(directory: Path) -> None:
    """Makes the directory. Raises StoreError where a copy would not leave enough for the store."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        needed = sum(path.stat().st_size for path in directory.parent.glob("store.db*"))
        free = shutil.disk_usage(directory).free
    except OSError as error:
        raise StoreError(f"{directory}: {error.strerror}") from error
    if free < needed + ROOM_LEFT_BYTES:
        text = f"a copy takes {needed >> 10} KiB, and {free >> 10} KiB are free, of which the store needs some"
        raise StoreError(f"{directory}: the disk is full: {text}; make room there")


def _open_and_unlink(path: Path) -> IO[bytes]:
    file = path.open("rb")
    path.unlink()
    return file


def _remove_halves(directory: Path) -> None:
    """What a manager was about to copy when it was killed."""
    for path in directory.glob(".*.half*"):
        path.unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
