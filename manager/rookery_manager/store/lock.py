"""The lock on a store, and a word beside it on how its file was left.

It is a file of its own: closing any handle on the store's file would drop SQLite's locks on it. In it are the number of the
process that has the lock, and one of the words below; without a word there was never a store here.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import IO

from rookery_manager.store.errors import in_use, translated

OPEN = "open"  # its write-ahead log is part of it
CLOSED = "closed"
RESTORING = "restoring"  # another file is being put in its place


class Lock:
    def __init__(self, file: IO[bytes], word: str) -> None:
        self._file = file
        self.word = word

    def note(self, word: str) -> None:
        """Keeps the word, for whoever opens the store next. A disk that is too full for it only makes checks poorer."""
        self.word = word
        with suppress(OSError):
            os.pwrite(self._file.fileno(), f"{os.getpid()} {word}".encode().ljust(40), 0)

    def close(self) -> None:
        self._file.close()


def hold(path: Path) -> Lock:
    """The lock on the store at `path`, held until it is closed or the process ends. Raises StoreError where another has it."""
    lock_path = path.with_name(path.name + ".lock")
    try:
        file = os.fdopen(os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b", buffering=0)
    except OSError as error:
        raise translated(error, path) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder, _ = _read(file)
        file.close()
        raise in_use(path, holder) from None
    _, word = _read(file)
    lock = Lock(file, word)
    lock.note(word)
    return lock


def _read(file: IO[bytes]) -> tuple[str, str]:
    """The process and the word."""
    process, _, word = os.pread(file.fileno(), 40, 0).decode(errors="replace").strip().partition(" ")
    return process, word
