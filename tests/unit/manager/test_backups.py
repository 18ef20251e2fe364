"""Copies of a store in use: whole, of one moment, on a timetable, and never at the store's cost."""

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from rookery_manager import backups
from rookery_manager.backups import Backups, kept_in
from rookery_manager.store import Commit, Put, SqliteStore, StoreError
from rookery_manager.store.opening import open_file
from whole_manager import until

DEADLINE_S = 60.0


class Scene:
    """A store, and its backups at a clock that the test moves."""

    def __init__(self, store: SqliteStore, data: Path) -> None:
        self.store = store
        self.directory = data / "snapshots"
        self.now = 1_800_000_000.0
        self.revision = 0

    def backups(self, *, every_s: float = 0.0, keep: int = 3) -> Backups:
        return Backups(self.store, self.directory, lambda: self.now, revision=lambda: self.revision, every_s=every_s, keep=keep)

    async def commit(self) -> None:
        writes = [Put(key=f"{half}/{self.revision + 1}", value=b"v" * 3000) for half in ("left", "right")]
        self.revision = await self.store.commit(Commit(writes=writes, actor="test", at=0.0))

    def kept(self) -> list[int]:
        return [kept.revision for kept in kept_in(self.directory)]


def play(data: Path, scene: Callable[[Scene], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(DEADLINE_S):
            store = await SqliteStore.open(data / "store.db")
            try:
                await scene(Scene(store, data))
            finally:
                await store.close()

    asyncio.run(main())


def test_a_copy_made_under_writes_is_of_one_moment(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        writing = asyncio.create_task(_write_on(s))
        for number in range(5):
            before = s.revision
            async with s.backups().copy() as copy:
                content = copy.file.read()
                assert len(content) == copy.size_bytes
            (tmp_path / f"{number}.db").write_bytes(content)
            found = open_file(tmp_path / f"{number}.db", thorough=True)
            snapshot = found.snapshot("")
            assert before <= snapshot.revision <= s.revision
            assert len(snapshot.entries) == 2 * snapshot.revision
            found.close()
        writing.cancel()
        assert os.listdir(s.directory) == []

    play(tmp_path, scene)


async def _write_on(s: Scene) -> None:
    while True:
        await s.commit()
        await asyncio.sleep(0)


def test_no_more_copies_are_sent_than_there_is_room_for(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        made = s.backups()
        open_now = [made.copy() for _ in range(backups.AT_ONCE)]
        for copy in open_now:
            await copy.__aenter__()
        with pytest.raises(StoreError, match="4 backups are under way; try again"):
            await made.copy().__aenter__()
        for copy in open_now:
            await copy.__aexit__(None, None, None)
        async with made.copy():
            pass

    play(tmp_path, scene)


def test_snapshots_are_made_in_time_and_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(s: Scene) -> None:
        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            s.now += seconds
            if len(slept) == last:
                await asyncio.Event().wait()
            if len(slept) in (2, 3, 5):
                await s.commit()

        slept: list[float] = []
        last = 7
        real = asyncio.sleep
        await s.commit()
        monkeypatch.setattr(backups.asyncio, "sleep", sleep)
        running = asyncio.create_task(s.backups(every_s=3600, keep=2).run())
        while len(slept) < last:
            await real(0.01)
        running.cancel()
        await asyncio.wait({running})
        assert slept == [0.0, *[3600.0] * 6]  # at once, as there was none
        assert s.kept() == [4, 3]  # of 1, 2, 3, 4: none was made where nothing had changed
        assert {stat.S_IMODE(kept.path.stat().st_mode) for kept in kept_in(s.directory)} == {0o600}
        slept.clear()
        last = 1
        s.now = kept_in(s.directory)[0].at + 600
        running = asyncio.create_task(s.backups(every_s=3600).run())  # the next manager goes on with the same timetable
        while not slept:
            await real(0.01)
        running.cancel()
        assert slept == [pytest.approx(3000)]

    play(tmp_path, scene)


def test_halves_are_removed_and_other_files_left_alone(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        s.directory.mkdir()
        for name in (".abcd.half", ".abcd.half-journal", "store-mine.db", "store-20261125T100458Z-r7.db"):
            (s.directory / name).touch()
        await s.backups().run()
        assert sorted(os.listdir(s.directory)) == ["store-20261125T100458Z-r7.db", "store-mine.db"]
        (found,) = kept_in(s.directory)
        assert (found.revision, found.at) == (7, 1795601098.0)

    play(tmp_path, scene)


def test_a_copy_that_would_take_the_stores_room_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(s: Scene) -> None:
        monkeypatch.setattr(backups, "ROOM_LEFT_BYTES", 1 << 60)
        with pytest.raises(StoreError, match=r"snapshots: the disk is full: a copy takes \d+ KiB, and \d+ KiB are free"):
            await s.backups().copy().__aenter__()
        assert os.listdir(s.directory) == []

    play(tmp_path, scene)


def test_a_snapshot_that_fails_is_tried_again_and_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(s: Scene) -> None:
        s.directory.write_text("no directory")
        running = asyncio.create_task(s.backups(every_s=0.05).run())
        await until(lambda: "no snapshot was made, what is there stays" in caplog.text)
        assert not running.done()
        s.directory.unlink()
        while not s.kept():
            s.now += 1.0
            await asyncio.sleep(0.01)
        running.cancel()

    play(tmp_path, scene)
