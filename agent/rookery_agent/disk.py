"""Whether the file systems that this node depends on are full: the agent's own data's, and the engine's.

Invariant: a look at a file system that does not answer holds up nothing; the latest figures stay.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from rookery_agent.runtime.blocking import Calls
from rookery_agent.runtime.protocol import RuntimeFailure

log = logging.getLogger("rookery.agent")

DEFAULT_LOW_BYTES = 500_000_000
_LOW_SHARE = 0.05
_ENOUGH = 1.25  # times the bound, before a full one is no longer taken for full
_LOOK_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a file system has, and what of it a process may still use. No `files_total`: it has as many as there is room."""

    total_bytes: int = 0
    free_bytes: int = 0
    files_total: int = 0
    files_free: int = 0


def shortage(room: Room, low_bytes: int, *, was_short: bool) -> str:
    """What there is too little of, empty where there is enough: less than `low_bytes` and than 5 % of a file system.

    What was short stays so until there is a quarter more than that: it does not go back and forth with every file.
    """
    factor = _ENOUGH if was_short else 1.0
    if room.total_bytes and room.free_bytes < factor * min(low_bytes, _LOW_SHARE * room.total_bytes):
        return f"{room.free_bytes // 1_000_000} MB of {room.total_bytes // 1_000_000} MB are left"
    if room.files_total and room.files_free < factor * _LOW_SHARE / 10 * room.files_total:
        return f"{room.files_free} of {room.files_total} files are left"
    return ""


def look(path: Path) -> Room:
    """Raises OSError."""
    found = os.statvfs(path)
    return Room(
        total_bytes=found.f_blocks * found.f_frsize,
        free_bytes=found.f_bavail * found.f_frsize,
        files_total=found.f_files,
        files_free=found.f_favail,
    )


class Disks:
    """The agent's own data directory and, once the engine has told it, the engine's. `why` says which one is short of what."""

    def __init__(self, home: Path, data_root: Callable[[], Awaitable[Path | None]], *, low_bytes: int) -> None:
        self.room = Room()
        self._home = home
        self._data_root = data_root
        self._low_bytes = low_bytes
        self._engines: Path | None = None
        self._asked = False
        self._short: dict[Path, str] = {}
        self._calls = Calls("disk", 1)

    @property
    def why(self) -> str:
        return "; ".join(f"{what} where {path} is" for path, what in self._short.items())

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_S)

    async def look(self) -> None:
        if not self._asked:
            try:
                self._engines = await self._data_root()
                self._asked = True
            except RuntimeFailure:
                log.debug("the engine does not tell yet where its data is")
        await self._look(self._home)
        if self._engines is not None:
            await self._look(self._engines)

    async def _look(self, path: Path) -> None:
        try:
            room = await self._calls.run(lambda: look(path), _LOOK_S)
        except (OSError, TimeoutError) as error:
            log.debug("%s can't be looked at: %s", path, error)
            return
        if path == self._home:
            self.room = room
        what = shortage(room, self._low_bytes, was_short=path in self._short)
        if what and path not in self._short:
            log.warning("little room: %s where %s is", what, path)
        if what:
            self._short[path] = what
        elif self._short.pop(path, ""):
            log.info("there is room again where %s is", path)
