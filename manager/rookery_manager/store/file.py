"""The SQLite file of a store: blocking calls, made by one writing and one reading thread at a time.

Invariant: a batch of commits is one SQLite transaction, on the disk when `write` returns; a commit is in it whole or not at all.
`entries` is always what replaying `changes` gives.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rookery_manager.store.chain import hash_of
from rookery_manager.store.errors import translated
from rookery_manager.store.lock import CLOSED, Lock
from rookery_manager.store.protocol import Chain, Change, Commit, Compacted, Conflict, Entry, Link, Put, Snapshot, StoreError

_CHANGES = "SELECT revision, at, actor, key, value, why FROM changes JOIN revisions USING (revision)"
_TO_SCRUB = "to-scrub"  # a mark: pages of the file may hold what is to be in it no more
_COMPACTED_AT_ONCE = 2_000  # revisions; other writes wait for these few milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    revision: int
    changes: tuple[Change, ...]


class StoreFile:
    def __init__(self, path: Path, lock: Lock, writer: sqlite3.Connection, reader: sqlite3.Connection, revision: int) -> None:
        self.path = path
        self.revision = revision
        self._lock = lock
        self._writer = writer
        self._reader = reader
        self._head = self._latest_hash()

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
                    self._writer.execute(
                        "UPDATE chain SET (revision, hash) = (SELECT revision, hash FROM revisions WHERE revision = ?) "
                        "WHERE (SELECT hash FROM revisions WHERE revision = ?) IS NOT NULL",
                        (last, last),
                    )
                    self._writer.execute("DELETE FROM changes WHERE revision <= ?", (last,))
                    self._writer.execute("DELETE FROM revisions WHERE revision <= ?", (last,))
                    self._writer.execute("UPDATE marks SET revision = ? WHERE name = 'compacted'", (last,))
                return last, len(found) == _COMPACTED_AT_ONCE and last == found[-1][0]
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def rewrite(self, prefixes: Sequence[str], anew: Callable[[str, bytes], tuple[str, bytes]], commit: Commit) -> None:
        """Puts other keys and values in the place of all under the prefixes, in the history as well, together with the commit.

        It is as if they had never been: what was there is not in the file afterwards, see `scrub`.
        """
        with self._failing(), self._transaction():
            for prefix in prefixes:
                where, bounds = _under(prefix)
                for table, row in (("entries", "key"), ("changes", "key, revision, number")):
                    found = self._writer.execute(f"SELECT value, {row} FROM {table} WHERE {where}", bounds).fetchall()
                    for value, key, *at in found:
                        new_key, new_value = anew(key, value) if value is not None else (anew(key, b"")[0], None)
                        exactly = "".join(f" AND {column} = ?" for column in ("revision", "number")[: len(at)])
                        self._writer.execute(
                            f"UPDATE {table} SET key = ?, value = ? WHERE key = ?{exactly}", (new_key, new_value, key, *at)
                        )
            self._writer.execute("INSERT OR REPLACE INTO marks VALUES (?, 1)", (_TO_SCRUB,))
            # What was hashed is there no more: the chain of the history begins anew.
            self._writer.execute("UPDATE chain SET revision = ?, hash = ?", (self.revision, self._head))
            outcome = self._write_one(commit)
            if isinstance(outcome, StoreError):
                raise outcome

    def scrub(self) -> None:
        """Where it was rewritten: nothing of what was there before is left in the file, nor in its write-ahead log."""
        with self._failing():
            if self._writer.execute("SELECT 1 FROM marks WHERE name = ?", (_TO_SCRUB,)).fetchone() is None:
                return
            self._writer.execute("VACUUM")  # writes every page anew
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._writer.execute("DELETE FROM marks WHERE name = ?", (_TO_SCRUB,))

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        before = self.revision, self._head
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            yield
            self._writer.execute("COMMIT")
        except BaseException:
            self.revision, self._head = before
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
        revision = max(self.revision + 1, commit.at_least)
        changes: list[Change] = []
        for write in commit.writes:
            value = write.value if isinstance(write, Put) else None
            if value is not None:
                execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", (write.key, value, revision))
            elif execute("DELETE FROM entries WHERE key = ?", (write.key,)).rowcount == 0:
                continue
            execute("INSERT INTO changes VALUES (?, ?, ?, ?, ?)", (revision, len(changes), write.key, value, write.why))
            changes.append(Change(revision=revision, at=commit.at, actor=commit.actor, key=write.key, value=value, why=write.why))
        self._head = hash_of(self._head, revision, commit.at, commit.actor, changes)
        execute("INSERT INTO revisions VALUES (?, ?, ?, ?)", (revision, commit.at, commit.actor, self._head))
        execute("UPDATE marks SET revision = ? WHERE name = 'latest'", (revision,))
        self.revision = revision
        return Written(revision=revision, changes=tuple(changes))

    def _latest_hash(self) -> bytes:
        query = "SELECT hash FROM revisions WHERE hash IS NOT NULL ORDER BY revision DESC LIMIT 1"
        row = self._writer.execute(query).fetchone() or self._writer.execute("SELECT hash FROM chain").fetchone()
        return _blob(row[0])

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
                self._refuse_unknown(after)
            order = "ORDER BY changes.revision DESC, number DESC LIMIT ?"
            rows = self._reader.execute(f"{_CHANGES} WHERE {where} AND changes.revision > ? {order}", (*bounds, after, limit))
            return tuple(_change(row) for row in reversed(rows.fetchall()))

    def page(self, prefix: str, after: int, revisions: int) -> tuple[list[tuple[Change, ...]], int]:
        """The changes of the next so many revisions, one tuple a revision that has any, and the last of these revisions."""
        where, bounds = _under(prefix)
        with self._reading():
            self._refuse_unknown(after)
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

    def chain(self, after: int, limit: int) -> Chain:
        with self._reading():
            anchor, hash = self._reader.execute("SELECT revision, hash FROM chain").fetchone()
            rows = self._reader.execute(
                "SELECT revision, at, actor, hash FROM revisions WHERE revision > ? ORDER BY revision LIMIT ?",
                (max(after, anchor), limit),
            ).fetchall()
            found: dict[int, list[Change]] = {row[0]: [] for row in rows}
            if rows:
                span = f"{_CHANGES} WHERE changes.revision BETWEEN ? AND ? ORDER BY changes.revision, number"
                for row in self._reader.execute(span, (rows[0][0], rows[-1][0])):
                    found[row[0]].append(_change(row))
        links = [
            Link(revision=revision, at=at, actor=actor, hash=_blob(made), changes=tuple(found[revision]))
            for revision, at, actor, made in rows
        ]
        return Chain(anchor_revision=anchor, anchor_hash=_blob(hash), links=tuple(links))

    def _mark(self, name: str) -> int:
        revision: int = self._reader.execute("SELECT revision FROM marks WHERE name = ?", (name,)).fetchone()[0]
        return revision

    def _refuse_unknown(self, after: int) -> None:
        """Nobody can go on after a revision that is no longer kept, or that a restore took back."""
        compacted = self._mark("compacted")
        if after < compacted:
            raise Compacted(f"{self.path} no longer keeps the revisions from {after + 1} to {compacted}; begin with a snapshot")
        known = self._reader.execute("SELECT 1 FROM revisions WHERE revision = ?", (after,)).fetchone()
        if known is None and compacted < after < self._mark("latest"):
            raise Compacted(f"{self.path} has no revision {after}: it was restored since; begin with a snapshot")

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
        self._lock.note(CLOSED)  # before the write-ahead log goes, so that it is never missed in vain
        self._reader.close()
        self._writer.close()
        self._lock.close()


def _blob(value: object) -> bytes:
    """A hash, also where somebody wrote something else in its place."""
    return value if isinstance(value, bytes) else str(value).encode()


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
