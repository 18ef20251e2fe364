"""The SQLite file of a store: blocking calls, made by one writing and one reading thread at a time.

Invariant: a batch of commits is one SQLite transaction, on the disk when `write` returns; a commit is in it whole or not at all.
`entries` is always what replaying `changes` gives.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rookery_manager.store.errors import foreign, in_use, translated
from rookery_manager.store.protocol import Change, Commit, Compacted, Conflict, Entry, Put, Snapshot, StoreError

_APPLICATION_ID = 0x524B5259  # "RKRY"
_SCHEMA_VERSION = 1
_SCHEMA = (
    "CREATE TABLE entries (key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE revisions (revision INTEGER PRIMARY KEY, at REAL NOT NULL, actor TEXT NOT NULL)",
    """CREATE TABLE changes (revision INTEGER NOT NULL, number INTEGER NOT NULL, key TEXT NOT NULL, value BLOB, why TEXT NOT NULL,
    PRIMARY KEY (revision, number)) WITHOUT ROWID""",
    "CREATE INDEX changes_by_key ON changes (key, revision, number)",
    "CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until REAL NOT NULL)",
    "CREATE TABLE marks (name TEXT PRIMARY KEY, revision INTEGER NOT NULL)",
    "INSERT INTO marks VALUES ('latest', 0), ('compacted', 0)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_SCHEMA_VERSION}",
)
_CHANGES = "SELECT revision, at, actor, key, value, why FROM changes JOIN revisions USING (revision)"
_COMPACTED_AT_ONCE = 2_000  # revisions; other writes wait for these few milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    revision: int
    changes: tuple[Change, ...]


class StoreFile:
    def __init__(
        self, path: Path, lock: IO[bytes], writer: sqlite3.Connection, reader: sqlite3.Connection, revision: int
    ) -> None:
        self.path = path
        self.revision = revision
        self._lock = lock
        self._writer = writer
        self._reader = reader

    # ---- the writing thread

    def write(self, commits: Sequence[Commit]) -> list[Written | StoreError]:
        """What became of each commit, in their order. Where the batch can't be written, each is tried by itself."""
        try:
            with self._transaction():
                return [self._write_one(commit) for commit in commits]
        except Exception as error:
            if len(commits) == 1:
                return [translated(error, self.path)]
        return [outcome for commit in commits for outcome in self.write([commit])]

    def lease(self, name: str, holder: str, until: float, now: float) -> bool:
        try:
            with self._transaction():
                cursor = self._writer.execute(
                    """INSERT INTO leases VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET holder = excluded.holder,
                    until = excluded.until WHERE holder = excluded.holder OR until <= ?""",
                    (name, holder, until, now),
                )
                return cursor.rowcount == 1
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def compact(self, before: float) -> tuple[int, bool]:
        """Drops the history of the oldest revisions, all made before that time. The last of them (0: none), and whether there may
        be more to drop."""
        try:
            with self._transaction():
                found = self._writer.execute(
                    "SELECT revision, at FROM revisions ORDER BY revision LIMIT ?", (_COMPACTED_AT_ONCE,)
                ).fetchall()
                last = 0
                for revision, at in found:
                    if at >= before or revision == self.revision:
                        break
                    last = revision
                if last:
                    self._writer.execute("DELETE FROM changes WHERE revision <= ?", (last,))
                    self._writer.execute("DELETE FROM revisions WHERE revision <= ?", (last,))
                    self._writer.execute("UPDATE marks SET revision = ? WHERE name = 'compacted'", (last,))
                return last, len(found) == _COMPACTED_AT_ONCE and last == found[-1][0]
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        before = self.revision
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            yield
            self._writer.execute("COMMIT")
        except BaseException:
            self.revision = before
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise

    def _write_one(self, commit: Commit) -> Written | StoreError:
        execute = self._writer.execute
        for condition in commit.conditions:
            row = execute("SELECT revision FROM entries WHERE key = ?", (condition.key,)).fetchone()
            actual = row[0] if row else 0
            if actual != condition.revision:
                return Conflict(condition.key, condition.revision, actual)
        revision = self.revision + 1
        changes: list[Change] = []
        for write in commit.writes:
            value = write.value if isinstance(write, Put) else None
            if value is not None:
                execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", (write.key, value, revision))
            elif execute("DELETE FROM entries WHERE key = ?", (write.key,)).rowcount == 0:
                continue
            execute("INSERT INTO changes VALUES (?, ?, ?, ?, ?)", (revision, len(changes), write.key, value, write.why))
            changes.append(Change(revision=revision, at=commit.at, actor=commit.actor, key=write.key, value=value, why=write.why))
        execute("INSERT INTO revisions VALUES (?, ?, ?)", (revision, commit.at, commit.actor))
        execute("UPDATE marks SET revision = ? WHERE name = 'latest'", (revision,))
        self.revision = revision
        return Written(revision=revision, changes=tuple(changes))

    # ---- the reading thread

    def snapshot(self, prefix: str) -> Snapshot:
        where, bounds = _under(prefix)
        with self._reading():
            revision = self._mark("latest")
            rows = self._reader.execute(f"SELECT key, value, revision FROM entries WHERE {where} ORDER BY key", bounds)
            entries = {key: Entry(key=key, value=value, revision=at) for key, value, at in rows}
        return Snapshot(revision=revision, entries=entries)

    def history(self, prefix: str, after: int, limit: int) -> tuple[Change, ...]:
        where, bounds = _under(prefix)
        with self._reading():
            if after:
                self._refuse_compacted(after)
            order = "ORDER BY changes.revision DESC, number DESC LIMIT ?"
            rows = self._reader.execute(f"{_CHANGES} WHERE {where} AND changes.revision > ? {order}", (*bounds, after, limit))
            return tuple(_change(row) for row in reversed(rows.fetchall()))

    def page(self, prefix: str, after: int, revisions: int) -> tuple[list[tuple[Change, ...]], int]:
        """The changes of the next so many revisions, one tuple a revision that has any, and the last of these revisions."""
        where, bounds = _under(prefix)
        with self._reading():
            self._refuse_compacted(after)
            last = self._reader.execute(
                "SELECT max(revision) FROM (SELECT revision FROM revisions WHERE revision > ? ORDER BY revision LIMIT ?)",
                (after, revisions),
            ).fetchone()[0]
            if last is None:
                return [], after
            rows = self._reader.execute(
                f"{_CHANGES} WHERE {where} AND changes.revision > ? AND changes.revision <= ? ORDER BY changes.revision, number",
                (*bounds, after, last),
            )
            found: dict[int, list[Change]] = {}
            for row in rows:
                found.setdefault(row[0], []).append(_change(row))
        return [tuple(changes) for changes in found.values()], last

    def _mark(self, name: str) -> int:
        revision: int = self._reader.execute("SELECT revision FROM marks WHERE name = ?", (name,)).fetchone()[0]
        return revision

    def _refuse_compacted(self, after: int) -> None:
        compacted = self._mark("compacted")
        if after < compacted:
            raise Compacted(f"{self.path} no longer keeps the revisions from {after + 1} to {compacted}; begin with a snapshot")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """All that is read within is of one moment."""
        try:
            self._reader.execute("BEGIN")
            yield
        except sqlite3.Error as error:
            raise translated(error, self.path) from error
        finally:
            if self._reader.in_transaction:
                self._reader.execute("ROLLBACK")

    def close(self) -> None:
        self._reader.close()
        self._writer.close()
        self._lock.close()


def open_file(path: Path) -> StoreFile:
    """The store's file, made where there is none. Refuses one that is in use, damaged, or not a store's."""
    lock = _locked(path)
    with suppress(OSError):  # SQLite will say what is wrong
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # secrets are in it
    opened: list[sqlite3.Connection] = []
    try:
        writer = _connect(path, opened)
        _check(writer, path)
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("PRAGMA synchronous = FULL")
        reader = _connect(path, opened)
        reader.execute("PRAGMA query_only = ON")
        revision = writer.execute("SELECT revision FROM marks WHERE name = 'latest'").fetchone()[0]
        return StoreFile(path, lock, writer, reader, revision)
    except BaseException as error:
        for connection in opened:
            connection.close()
        lock.close()
        if isinstance(error, sqlite3.Error | OSError):
            raise translated(error, path) from error
        raise


def _connect(path: Path, opened: list[sqlite3.Connection]) -> sqlite3.Connection:
    # One thread at a time uses a connection, but it need not be the one that opened it.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0, cached_statements=64)
    opened.append(connection)
    return connection


def _locked(path: Path) -> IO[bytes]:
    """The lock file, held until it is closed. It is not the store's own file: closing that would drop SQLite's locks on it."""
    lock_path = path.with_name(path.name + ".lock")
    try:
        lock = os.fdopen(os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b", buffering=0)
    except OSError as error:
        raise translated(error, path) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = lock.read().decode(errors="replace").strip()
        lock.close()
        raise in_use(path, holder) from None
    with suppress(OSError):  # the number only makes a message better
        lock.truncate()
        lock.write(str(os.getpid()).encode())
    return lock


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Raises StoreError where the file is not a whole store of this version; makes an empty one a store."""
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if not tables and application_id in (0, _APPLICATION_ID):
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute("COMMIT")
        return
    if application_id != _APPLICATION_ID:
        raise foreign(path)
    if version != _SCHEMA_VERSION:
        raise StoreError(
            f"{path} was made by another version of Rookery (schema {version}, this one reads {_SCHEMA_VERSION}); "
            "start that version, or give another --data directory"
        )
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(f"database disk image is malformed: {found}")


def _under(prefix: str) -> tuple[str, tuple[str, ...]]:
    """The SQL condition, and its parameters, that a key begins with the prefix; an index can serve it."""
    if not prefix:
        return "true", ()
    rest = prefix.rstrip("\U0010ffff")
    if not rest:
        return "key >= ?", (prefix,)
    following = ord(rest[-1]) + 1
    return "key >= ? AND key < ?", (prefix, rest[:-1] + chr(0xE000 if 0xD800 <= following <= 0xDFFF else following))


def _change(row: tuple[int, float, str, str, bytes | None, str]) -> Change:
    revision, at, actor, key, value, why = row
    return Change(revision=revision, at=at, actor=actor, key=key, value=value, why=why)
