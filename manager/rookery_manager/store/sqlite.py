"""The SQLite engine: a file behind the Store protocol, without ever blocking the event loop.

Commits that come while the disk is busy with others are written together (group commit): what waits is never more than what is in
flight. Watches keep no buffers of their own: a watch that keeps up reads from one short tail in memory, one that fell behind from
the file.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from rookery_manager.store.file import StoreFile, Written
from rookery_manager.store.opening import copy_file, open_file
from rookery_manager.store.protocol import KEEP_S, Chain, Change, Commit, Snapshot, StoreError

T = TypeVar("T")

_BATCH = 256  # commits in one transaction
_WAITING = 4_096  # commits that wait for the disk; later ones wait for a place
_TAIL_CHANGES = 4_096
_PAGE = 256  # revisions
_COMPACT_EVERY_S = 60.0


class SqliteStore:
    def __init__(self, file: StoreFile, *, keep_s: float) -> None:
        self._file = file
        self._keep_s = keep_s
        self._writer = ThreadPoolExecutor(1, "store-writer")
        self._reader = ThreadPoolExecutor(1, "store-reader")
        self._copier = ThreadPoolExecutor(1, "store-copier")  # a copy takes long, and reads must not wait for it
        self._revision = file.revision
        self._places = asyncio.Semaphore(_WAITING)
        self._waiting: list[tuple[Commit, asyncio.Future[int]]] = []
        self._writing: asyncio.Future[list[Written | StoreError]] | None = None
        self._tail: dict[int, tuple[Change, ...]] = {}  # of revisions without one left out, up to the latest
        self._tail_size = 0
        self._grown = asyncio.Event()
        self._compact_at = 0.0
        self._compacting: asyncio.Future[tuple[int, bool]] | None = None
        self._closed = False

    @classmethod
    async def open(cls, path: Path, *, keep_s: float = KEEP_S, prepare: Callable[[StoreFile], None] | None = None) -> Self:
        """Raises StoreError where the file is in use, damaged, or not a store's. History older than `keep_s` is
        dropped. `prepare` may change the file before anyone reads it."""
        return cls(await asyncio.to_thread(_opened, path, prepare), keep_s=keep_s)

    async def snapshot(self, prefix: str = "") -> Snapshot:
        return await self._read(partial(self._file.snapshot, prefix))

    async def commit(self, commit: Commit) -> int:
        async with self._places:
            self._refuse_closed()
            done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._waiting.append((commit, done))
            self._write()
            return await done

    async def watch(self, *, after: int, prefix: str = "") -> AsyncIterator[tuple[Change, ...]]:
        while not self._closed:
            if after + 1 in self._tail:
                after += 1
                changes = tuple(change for change in self._tail[after] if change.key.startswith(prefix))
                if changes:
                    yield changes
            elif after < self._revision:
                found, after = await self._read(partial(self._file.page, prefix, after, _PAGE))
                for changes in found:
                    if self._closed:
                        return
                    yield changes
            else:
                await self._grown.wait()

    async def history(self, prefix: str = "", *, after: int = 0, limit: int = 100) -> tuple[Change, ...]:
        return await self._read(partial(self._file.history, prefix, after, limit))

    async def chain(self, after: int, limit: int) -> Chain:
        return await self._read(partial(self._file.chain, after, limit))

    async def lease(self, name: str, holder: str, *, ttl_s: float, now: float) -> bool:
        self._refuse_closed()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writer, self._file.lease, name, holder, now + ttl_s, now)

    async def backup(self, target: Path) -> None:
        self._refuse_closed()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._copier, copy_file, self._file.path, target)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._wake()
        await asyncio.to_thread(self._copier.shutdown)
        await asyncio.to_thread(self._reader.shutdown)
        while self._writing is not None or self._compacting is not None:
            await asyncio.wait([job for job in (self._writing, self._compacting) if job is not None])
            await asyncio.sleep(0)  # lets the callback of the job run, which may begin the next
        await asyncio.to_thread(self._writer.shutdown)
        await asyncio.to_thread(self._file.close)

    async def _read(self, read: Callable[[], T]) -> T:
        self._refuse_closed()
        return await asyncio.get_running_loop().run_in_executor(self._reader, read)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreError("the store is closed: the manager is ending")

    def _write(self) -> None:
        """Hands what waits to the writer, unless it is busy: then it takes it along when it is done."""
        if self._writing is not None or not self._waiting:
            return
        batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
        loop = asyncio.get_running_loop()
        self._writing = loop.run_in_executor(self._writer, self._file.write, [commit for commit, _ in batch])
        self._writing.add_done_callback(partial(self._wrote, batch))

    def _wrote(
        self, batch: Sequence[tuple[Commit, asyncio.Future[int]]], written: asyncio.Future[list[Written | StoreError]]
    ) -> None:
        self._writing = None
        latest_at = 0.0
        for (commit, done), outcome in zip(batch, written.result(), strict=True):
            latest_at = max(latest_at, commit.at)
            if isinstance(outcome, Written):
                self._append(outcome)
            if done.done():  # its caller was cancelled
                continue
            if isinstance(outcome, Written):
                done.set_result(outcome.revision)
            else:
                done.set_exception(outcome)
        self._wake()
        self._compact(latest_at)
        self._write()

    def _append(self, written: Written) -> None:
        self._revision = written.revision
        self._tail[written.revision] = written.changes
        self._tail_size += 1 + len(written.changes)
        while self._tail_size > _TAIL_CHANGES:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._tail_size -= 1 + len(self._tail.pop(next(iter(self._tail))))

    def _compact(self, now: float) -> None:
        """Drops old history now and then, between the writes; `now` is the time of the latest commit."""
        if self._compacting is None and now >= self._compact_at:
            self._compact_at = now + _COMPACT_EVERY_S
            self._compacting = asyncio.get_running_loop().run_in_executor(self._writer, self._file.compact, now - self._keep_s)
            self._compacting.add_done_callback(partial(self._compacted, now))

    def _compacted(self, now: float, dropped: asyncio.Future[tuple[int, bool]]) -> None:
        self._compacting = None
        if dropped.exception() is not None:
            return  # a full disk, say: commits tell of it, and this is tried again in a minute
        last, more = dropped.result()
        while self._tail and next(iter(self._tail)) <= last:
            self._drop_oldest()
        if more and not self._closed:
            self._compact_at = now
            self._compact(now)

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()


def _opened(path: Path, prepare: Callable[[StoreFile], None] | None) -> StoreFile:
    file = open_file(path)
    if prepare is not None:
        try:
            prepare(file)
        except BaseException:
            file.close()
            raise
    return file
