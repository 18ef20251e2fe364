"""What the long-running parts share as processes: the log, the place for their data, and how they end."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path


class Stop(Exception):
    """A reason to end with an exit status other than 0; its message is all that the user sees."""

    def __init__(self, message: str, *, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def data_dir(part: str) -> Path:
    """Where a part keeps its data unless told otherwise: under /var/lib for root, in the home directory for others."""
    if os.geteuid() == 0:
        return Path("/var/lib/rookery") / part
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    return Path(base) / "rookery" / part


def configure_log(part: str, *, level: str = "info") -> None:
    """One line an event on standard error: `2026-01-02T03:04:05.678Z agent info  text`."""

    class Line(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z"
            text = f"{at} {part} {record.levelname.lower():<7} {record.getMessage()}"
            return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Line())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def run(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Runs `main(stop)` until it returns; SIGTERM and SIGINT set `stop`, a second one ends the process at once.

    Exits with 0 after a clean end, with the status of a Stop, and with 70 (and a traceback in the log) when a loop died.
    """

    async def supervised() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_signal() -> None:
            if stop.is_set():
                os._exit(130)
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        await main(stop)

    status = 0
    try:
        asyncio.run(supervised())
    except BaseException as error:
        stop = _find_stop(error)
        if stop is not None:
            logging.getLogger("rookery").error("%s", stop)
            status = stop.status
        elif isinstance(error, SystemExit):
            raise
        else:
            logging.getLogger("rookery").critical("a loop died, so this process ends", exc_info=error)
            status = 70
    with contextlib.suppress(Exception):
        sys.stderr.flush()
    sys.exit(status)


def _find_stop(error: BaseException) -> Stop | None:
    """The Stop in an error, or in a group of errors as a TaskGroup raises it."""
    if isinstance(error, Stop):
        return error
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            found = _find_stop(inner)
            if found is not None:
                return found
    return None
