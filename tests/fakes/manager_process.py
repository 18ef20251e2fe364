"""A manager as a process of its own, on the port that it took first: to be killed, and started again on the same store."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from ports import free_port
from whole_manager import until


class Process:
    """Each start is on the address of the first one."""

    def __init__(self, data: Path, flags: Sequence[str], *, secure: bool) -> None:
        self.data = data
        self.flags = [*flags, *([] if secure else ["--insecure"])]
        self.address = ""
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        file = self.data / "address"
        file.unlink(missing_ok=True)
        listen = self.address or f"127.0.0.1:{free_port()}"
        command = ["-m", "rookery_manager.main", "--listen", listen, "--data", str(self.data), "--log-level", "error"]
        self.process = await asyncio.create_subprocess_exec(sys.executable, *command, *self.flags)
        await until(lambda: file.exists() and file.read_text().endswith("\n"))
        self.address = file.read_text().strip()

    async def kill(self) -> None:
        assert self.process is not None
        assert self.process.returncode is None, "the manager ended by itself"
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def process(data: Path, *flags: str, secure: bool = False) -> AsyncIterator[Process]:
    """In plain text, unless `secure`."""
    made = Process(data, flags, secure=secure)
    await made.start()
    try:
        yield made
    finally:
        await made.kill()
