"""What a store that is a file says when it can't go on: each message names the file and the way out."""

import errno
import math
import shutil
import sqlite3
from pathlib import Path

from rookery_manager.store.protocol import StoreError

_FULL = "the disk is full, nothing was written; make room there, it is tried anew with the next write"


class Damaged(StoreError):
    """The file is not what a manager left. `what` is what is wrong with it."""

    def __init__(self, path: Path, what: str) -> None:
        way_out = f"'rookery admin restore FILE --data {path.parent}' puts a backup in its place"
        super().__init__(f"{path}: the store is damaged: {what}. {way_out}")
        self.what = what


def translated(error: BaseException, path: Path) -> StoreError:
    """The StoreError that an error of SQLite or the operating system means; one that is a StoreError already stays."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, OSError):
        if error.errno == errno.ENOSPC:
            return StoreError(f"{path}: {_FULL}")
        return StoreError(f"{path}: {error.strerror}; check that the directory exists and may be written to")
    # The lower byte is the kind of error, the upper ones tell more of it.
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return StoreError(f"{path}: {_FULL}")
        case sqlite3.SQLITE_IOERR if _free_bytes(path) < 1 << 20:
            return StoreError(f"{path}: {_FULL}")  # what it says where a file of its own could not grow
        case sqlite3.SQLITE_IOERR:
            return StoreError(
                f"{path}: the disk reports an error ({error}), nothing was written; check the disk and the space on it"
            )
        case sqlite3.SQLITE_NOTADB:
            return foreign(path)
        case sqlite3.SQLITE_CORRUPT:
            return Damaged(path, str(error))
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return StoreError(f"{path}: {error}; check that the directory exists and may be written to")
    if "malformed" in str(error):
        return Damaged(path, str(error))
    return StoreError(f"{path}: can't be written: {error}")


def _free_bytes(path: Path) -> float:
    try:
        return shutil.disk_usage(path.parent).free
    except OSError:
        return math.inf


def foreign(path: Path) -> StoreError:
    return StoreError(f"{path} is not a store of Rookery; move it away, or give another --data directory")


def in_use(path: Path, holder: str) -> StoreError:
    who = f" (process {holder})" if holder else ""
    return StoreError(f"{path} is in use by another manager{who}; stop that one, or give another --data directory")
