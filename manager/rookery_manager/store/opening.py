"""Opening a store's file: its lock, what is checked of it first, and a consistent copy of one that is in use."""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from rookery_manager.store import schema
from rookery_manager.store.errors import Damaged, translated
from rookery_manager.store.file import StoreFile
from rookery_manager.store.lock import OPEN, RESTORING, Lock, hold


def open_file(path: Path, *, thorough: bool = False) -> StoreFile:
    """The store's file, made where there is none. Refuses one that is in use, damaged, or not a store's."""
    lock = hold(path)
    opened: list[sqlite3.Connection] = []
    try:
        _refuse_halves(path, lock)
        with suppress(OSError):  # SQLite will say what is wrong
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # secrets are in it
        writer = _connect(path, opened)
        if schema.is_empty(writer):
            schema.make(writer)
        else:
            schema.upgrade(writer)
            schema.check(writer, path, thorough=thorough)
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("PRAGMA synchronous = FULL")
        reader = _connect(path, opened)
        reader.execute("PRAGMA query_only = ON")
        revision = writer.execute("SELECT revision FROM marks WHERE name = 'latest'").fetchone()[0]
        lock.note(OPEN)
        return StoreFile(path, lock, writer, reader, revision)
    except BaseException as error:
        for connection in opened:
            connection.close()
        was_a_store = bool(lock.word)
        lock.close()
        if was_a_store and getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_NOTADB:
            raise Damaged(path, "its beginning is no longer that of a database") from error
        if isinstance(error, sqlite3.Error | OSError):
            raise translated(error, path) from error
        raise


def copy_file(path: Path, target: Path) -> None:
    """Writes the store at `path`, which may be in use, as it is at one moment into a new file, and that to the disk.

    Every row is read and written anew: a damaged page makes an error here, and no bad copy.
    """
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(path, isolation_level=None, timeout=5.0)) as connection:
            connection.execute("VACUUM INTO ?", (str(target),))
        descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except (sqlite3.Error, OSError) as error:
        with suppress(OSError):
            target.unlink()
        raise translated(
            error, path if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT else target
        ) from error


def _connect(path: Path, opened: list[sqlite3.Connection]) -> sqlite3.Connection:
    # One thread at a time uses a connection, but it need not be the one that opened it.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0, cached_statements=64)
    opened.append(connection)
    return connection


def _refuse_halves(path: Path, lock: Lock) -> None:
    """Raises Damaged where files are missing that SQLite would do without, and say nothing."""
    if lock.word == RESTORING:
        raise Damaged(path, "a restore did not get to its end; do it again")
    if not lock.word or not path.is_file():
        return  # a file that was moved away on purpose: a new store
    log = path.with_name(path.name + "-wal")
    if not path.stat().st_size:
        raise Damaged(path, "the file is empty")
    if lock.word == OPEN and not log.exists():
        raise Damaged(
            path, f"its last writes were in {log.name}, and that is gone; where a copy was put here by hand, restore that copy"
        )
