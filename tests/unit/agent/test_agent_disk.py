"""Full disks: when a node says that it has one, and what becomes of what can't be written."""

import argparse
import asyncio
import errno
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rookery.flags import size
from rookery.model import Assignment, ContainerSpec, ReplicaId, ServiceSpec
from rookery_agent.assignments import Held, load, read, write_durably
from rookery_agent.disk import Disks, Room, look, shortage
from rookery_agent.home import Home
from rookery_agent.keeper import Keeper
from rookery_agent.record import Record
from rookery_agent.runtime.protocol import EngineAway

MB, GB = 1_000_000, 1_000_000_000
LOW = 500 * MB


def held(generation: int) -> Held:
    spec = ServiceSpec(name="web", container=ContainerSpec(image="web:1"))
    a = Assignment(replica_id=ReplicaId(f"r{generation}"), app="shop", service="web", slot=1, revision=1, spec=spec)
    return Held(generation=generation, assignments={a.replica_id: a})


@pytest.mark.parametrize(
    ("total", "free", "was_short", "short"),
    [
        (100 * GB, 501 * MB, False, False),
        (100 * GB, 499 * MB, False, True),
        (100 * GB, 501 * MB, True, True),  # not enough more than that
        (100 * GB, 626 * MB, True, False),
        (4 * GB, 201 * MB, False, False),  # 5 % of a small disk
        (4 * GB, 199 * MB, False, True),
        (0, 0, False, False),  # not known
    ],
)
def test_a_disk_is_full_below_its_bound_and_until_there_is_room_again(
    total: int, free: int, was_short: bool, short: bool
) -> None:
    assert bool(shortage(Room(total_bytes=total, free_bytes=free), LOW, was_short=was_short)) is short


def test_a_file_system_without_files_left_is_full() -> None:
    room = Room(total_bytes=100 * GB, free_bytes=50 * GB, files_total=1_000_000, files_free=4_000)
    assert shortage(room, LOW, was_short=False) == "4000 of 1000000 files are left"


def test_both_file_systems_are_looked_at_and_the_engine_may_tell_late(tmp_path: Path) -> None:
    (tmp_path / "engine").mkdir()
    answers: list[Path | None] = []

    async def data_root() -> Path | None:
        if not answers:
            raise EngineAway("it hangs")
        return answers[0]

    async def scene() -> None:
        disks = Disks(tmp_path, data_root, low_bytes=look(tmp_path).total_bytes * 10)
        await disks.look()
        assert disks.room.total_bytes == look(tmp_path).total_bytes
        answers.append(tmp_path / "engine")
        await disks.look()
        assert disks._engines == tmp_path / "engine"

    asyncio.run(scene())


def test_a_file_system_that_is_gone_is_no_disaster(tmp_path: Path) -> None:
    async def nowhere() -> Path | None:
        return tmp_path / "gone"

    async def scene() -> None:
        disks = Disks(tmp_path, nowhere, low_bytes=LOW)
        await disks.look()
        assert disks.room.total_bytes

    asyncio.run(scene())


@dataclass
class FullDisk:
    """Takes what it is given while there is room."""

    full: bool = False
    held: list[int] = field(default_factory=list)
    records: list[int] = field(default_factory=list)

    async def keep(self, held: Held) -> None:
        self._write()
        self.held.append(held.generation)

    async def remember(self, records: Mapping[ReplicaId, Record]) -> None:
        self._write()
        self.records.append(len(records))

    def _write(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")


def test_what_can_be_written_is_kept_at_once() -> None:
    async def scene() -> None:
        disk, late = FullDisk(), []  # type: ignore[var-annotated]
        keeper = Keeper(disk, dict, late.append)
        assert await keeper.keep(held(3))
        assert (disk.held, late, keeper.trouble) == ([3], [], "")

    asyncio.run(scene())


def test_what_can_not_be_written_is_said_and_written_later() -> None:
    async def scene() -> None:
        disk, late = FullDisk(full=True), []  # type: ignore[var-annotated]
        keeper = Keeper(disk, lambda: {ReplicaId("r1"): Record(replica_id=ReplicaId("r1"))}, late.append)
        assert not await keeper.keep(held(3))
        assert not await keeper.keep(held(4))
        keeper.remember()
        await keeper.write()
        assert "No space left" in keeper.trouble
        disk.full = False
        await keeper.write()
        assert (disk.held, disk.records, late, keeper.trouble) == ([4], [1], [4], "")

    asyncio.run(scene())


def test_records_that_could_not_be_written_are_tried_again_by_themselves() -> None:
    async def scene() -> None:
        disk = FullDisk(full=True)
        keeper = Keeper(disk, dict, lambda _: None)
        running = asyncio.ensure_future(keeper.run())
        keeper.remember()
        await until(lambda: bool(keeper.trouble))
        disk.full = False
        await until(lambda: disk.records == [0] and not keeper.trouble)
        running.cancel()

    asyncio.run(scene())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 it is no event
            await asyncio.sleep(0.02)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "rookery-test", str(tmp_path)], capture_output=True, check=False, timeout=30
    )
    if made.returncode:
        pytest.skip("file systems can't be mounted here")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True, timeout=30)


def test_on_a_full_disk_what_was_there_is_still_there(small_disk: Path) -> None:
    home = Home(small_disk)
    asyncio.run(home.keep(held(3)))
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"), ballast.open("wb") as file:
        file.write(b"x" * 10_000_000)
    big = Held(generation=9, assignments={k: v for n in range(2000) for k, v in held(n).assignments.items()})
    with pytest.raises(OSError, match="No space left"):
        asyncio.run(home.keep(big))
    assert load(read(small_disk / "assignments")) == held(3)
    assert not list(small_disk.glob("*.new"))
    assert shortage(look(small_disk), LOW, was_short=False)
    ballast.unlink()
    asyncio.run(home.keep(held(4)))
    assert load(read(small_disk / "assignments")) == held(4)


def test_what_fails_to_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "it").mkdir()  # can't be replaced by a file
    with pytest.raises(OSError, match="it"):
        write_durably(tmp_path / "it", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


def test_sizes() -> None:
    assert [size(text) for text in ("500M", "2g", "16000k", "20000000", "1TB")] == [LOW, 2 * GB, 16 * MB, 20 * MB, 1000 * GB]
    for wrong in ("", "0", "1M", "-5G", "5 %", "11T", "M", "nan"):
        with pytest.raises(argparse.ArgumentTypeError):
            size(wrong)
