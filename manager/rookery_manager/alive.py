"""How long the manager was away: a file whose time says when it was last there, whatever its end was."""

import asyncio
import os
from pathlib import Path

EVERY_S = 1.0


class AliveMark:
    def __init__(self, path: Path) -> None:
        self._path = path

    def away_s(self, now: float) -> float | None:
        """How long before `now` a manager was there last; None where there never was one."""
        try:
            return max(0.0, now - self._path.stat().st_mtime)
        except OSError:
            return None

    async def keep(self) -> None:
        """Until it is cancelled. A disk that is full or stuck costs no more than the mark."""
        while True:
            await asyncio.to_thread(self._touch)
            await asyncio.sleep(EVERY_S)

    def _touch(self) -> None:
        try:
            self._path.touch()
            os.utime(self._path)
        except OSError:
            return


def started(away_s: float | None) -> str:
    return "was started" if away_s is None else f"was started: it was away for {away_s:.1f} s"
