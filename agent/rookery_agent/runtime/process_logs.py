"""Reads the log files that supervisors write."""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from rookery_agent.runtime.protocol import LogLine

_POLL_S = 0.2
_PIECE = 256 * 1024


async def read(folder: Path, *, follow: bool, tail: int, since_at: float, alive: Callable[[], bool]) -> AsyncIterator[LogLine]:
    """Lines of `log.1` and `log`, then what comes, for as long as the replica is there (`alive`)."""
    path = folder / "log"
    kept: deque[LogLine] | list[LogLine] = deque(maxlen=tail) if tail >= 0 else []
    kept.extend(_lines((folder / "log.1"), since_at))
    reader = _Reader(path)
    kept.extend([line for line in reader.more() if line.at >= since_at])
    for line in kept:
        yield line
    while follow and alive():
        await asyncio.sleep(_POLL_S)
        for line in reader.more():
            if line.at >= since_at:
                yield line
    reader.close()


def _lines(path: Path, since_at: float) -> Iterator[LogLine]:
    try:
        with path.open("rb") as file:
            for raw in file:
                line = parse(raw)
                if line.at >= since_at:
                    yield line
    except OSError:
        return


def parse(raw: bytes) -> LogLine:
    """`1767225600.123456 o text` as the supervisor writes it."""
    parts = raw.rstrip(b"\n").split(b" ", 2)
    try:
        return LogLine(at=float(parts[0]), stderr=parts[1] == b"e", line=parts[2])
    except (ValueError, IndexError):
        return LogLine(at=0.0, stderr=False, line=raw.rstrip(b"\n"))


class _Reader:
    """Follows one file over its rotation."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._held = b""

    def more(self) -> list[LogLine]:
        """Whole lines that were not given yet."""
        found: list[LogLine] = []
        while True:
            if self._file is None:
                try:
                    self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
                except OSError:
                    return found
            piece = os.read(self._file, _PIECE)
            if piece:
                *whole, self._held = (self._held + piece).split(b"\n")
                found += [parse(raw) for raw in whole]
            elif self._rotated():
                self.close()
            else:
                return found

    def _rotated(self) -> bool:
        assert self._file is not None
        try:
            return os.stat(self._path).st_ino != os.fstat(self._file).st_ino
        except OSError:
            return False

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
