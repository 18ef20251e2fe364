"""One part as a process: started, kept running, its log kept in a file, stopped within a deadline."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO

from rookery.cli.local.parts import Part, restart_after_s

_CALM_S = 30.0  # a part that ran so long has recovered: the next end is a first one again
_LAST_WORDS = 12  # lines of its log that are shown of a part that ended


class RunningPart:
    """`tell` hears what a person should know; `moved` is called whenever the process is another one, or none."""

    def __init__(self, part: Part, log: Path, *, echo: bool, tell: Callable[[str], None], moved: Callable[[], None]) -> None:
        self.part = part
        self.pid: int | None = None
        self._log = log
        self._echo = echo
        self._tell = tell
        self._moved = moved
        self._process: Process | None = None
        self._stopping = False

    async def run(self, *, restart: Callable[[], bool]) -> None:
        """Keeps it running until `stop`. Returns as well when it ended by itself and `restart` says no."""
        failures = 0
        while not self._stopping:
            begun = time.monotonic()
            status = await self._once()
            if self._stopping:
                return
            how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
            if not restart():
                self._tell(f"{self.part.name} {how}; its last words:\n{self.last_words()}")
                return
            failures = 1 if time.monotonic() - begun > _CALM_S else failures + 1
            wait_s = restart_after_s(failures)
            self._tell(f"{self.part.name} {how}; starting it again in {wait_s:g} s (its log: {self._log})")
            await asyncio.sleep(wait_s)

    async def stop(self) -> None:
        """Ends it: SIGTERM, and SIGKILL when that takes longer than the part may."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self.part.stop_s):
                await process.wait()
        except TimeoutError:
            self._tell(f"{self.part.name} did not stop within {self.part.stop_s:g} s and is killed")
            self.kill()
            await process.wait()

    def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def last_words(self) -> str:
        try:
            lines = deque(self._log.read_text(errors="replace").splitlines(), _LAST_WORDS)
        except OSError:
            return ""
        return "\n".join(f"    {line}" for line in lines)

    async def _once(self) -> int:
        with self._log.open("ab", buffering=0) as log:
            # A session of its own: Ctrl-C at the terminal must reach the supervisor alone, which ends the parts in order.
            process = await create_subprocess_exec(
                *self.part.command(sys.executable), stdin=asyncio.subprocess.DEVNULL, stdout=PIPE if self._echo else log,
                stderr=asyncio.subprocess.STDOUT, start_new_session=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
            self._process, self.pid = process, process.pid
            self._moved()
            if self._stopping:
                process.terminate()
            try:
                if process.stdout is not None:
                    await self._pump(process.stdout, log)
                status = await process.wait()
            finally:
                if process.returncode is None:  # given up while it was being started
                    self.kill()
                    await process.wait()
        self.pid = None
        self._moved()
        return status

    async def _pump(self, output: asyncio.StreamReader, log: IO[bytes]) -> None:
        while chunk := await output.read(65536):
            log.write(chunk)
            for line in chunk.decode(errors="replace").splitlines():
                self._tell(f"{self.part.name:>8} | {line}")
