"""The tables of a store's file, and whether a file is a whole store of this version."""

import sqlite3
from pathlib import Path

from rookery_manager.store.chain import BEGINNING
from rookery_manager.store.errors import Damaged, foreign
from rookery_manager.store.protocol import StoreError

_APPLICATION_ID = 0x524B5259  # "RKRY"
_VERSION = 2  # 1: without the chain of hashes
_TABLES = {
    "entries": "CREATE TABLE entries (key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID",
    "revisions": "CREATE TABLE revisions (revision INTEGER PRIMARY KEY, at REAL NOT NULL, actor TEXT NOT NULL, hash BLOB)",
    "changes": """CREATE TABLE changes (revision INTEGER NOT NULL, number INTEGER NOT NULL, key TEXT NOT NULL, value BLOB,
    why TEXT NOT NULL, PRIMARY KEY (revision, number)) WITHOUT ROWID""",
    "leases": "CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until REAL NOT NULL)",
    "marks": "CREATE TABLE marks (name TEXT PRIMARY KEY, revision INTEGER NOT NULL)",
    "chain": "CREATE TABLE chain (revision INTEGER NOT NULL, hash BLOB NOT NULL)",  # one row: the anchor, before the first link
}
_STATEMENTS = (
    *_TABLES.values(),
    "CREATE INDEX changes_by_key ON changes (key, revision, number)",
    "INSERT INTO marks VALUES ('latest', 0), ('compacted', 0)",
    f"INSERT INTO chain VALUES (0, x'{BEGINNING.hex()}')",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_VERSION}",
)


def is_empty(connection: sqlite3.Connection) -> bool:
    """True for a database without tables that no other program has marked as its own."""
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    return not tables and _pragma(connection, "application_id") in (0, _APPLICATION_ID)


def make(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in _STATEMENTS:
        connection.execute(statement)
    connection.execute("COMMIT")


def upgrade(connection: sqlite3.Connection) -> None:
    """A store of the version before becomes one of this. Its chain begins now: what was written without hashes is not covered."""
    if _pragma(connection, "application_id") != _APPLICATION_ID or _pragma(connection, "user_version") != 1:
        return
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("ALTER TABLE revisions ADD COLUMN hash BLOB")
    connection.execute(_TABLES["chain"])
    connection.execute("INSERT INTO chain SELECT revision, ? FROM marks WHERE name = 'latest'", (BEGINNING,))
    connection.execute(f"PRAGMA user_version = {_VERSION}")
    connection.execute("COMMIT")


def check(connection: sqlite3.Connection, path: Path, *, thorough: bool = False) -> None:
    """Raises StoreError where the file is not a whole store of this version, sqlite3.Error where it can't be read.

    Thorough is: every index is compared with its table too. That takes two to three times as long, and no start waits for it: a
    wrong index is of the history only, and everything that the manager works with is read without one.
    """
    if _pragma(connection, "application_id") != _APPLICATION_ID:
        raise foreign(path)
    version = _pragma(connection, "user_version")
    if version != _VERSION:
        raise StoreError(
            f"{path} was made by another version of Rookery (schema {version}, this one reads {_VERSION}); "
            "start that version, or give another --data directory"
        )
    found = connection.execute("PRAGMA integrity_check(1)" if thorough else "PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise Damaged(path, " ".join(str(found).split()))
    there = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    missing = sorted(_TABLES.keys() - there)
    if missing:
        raise Damaged(path, f"it has no table {', '.join(missing)}")
    _check_marks(connection, path)


def _check_marks(connection: sqlite3.Connection, path: Path) -> None:
    marks = dict(connection.execute("SELECT name, revision FROM marks"))
    if not {"latest", "compacted"} <= marks.keys():
        raise Damaged(path, "it does not say which revision is its latest")
    if connection.execute("SELECT count(*) FROM chain").fetchone()[0] != 1:
        raise Damaged(path, "it does not say where the chain of its history begins")
    newest = connection.execute(
        "SELECT max(coalesce((SELECT max(revision) FROM revisions), 0), coalesce((SELECT max(revision) FROM entries), 0))"
    ).fetchone()[0]
    if newest > marks["latest"]:
        raise Damaged(path, f"it holds revision {newest}, and its latest is said to be {marks['latest']}")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value
