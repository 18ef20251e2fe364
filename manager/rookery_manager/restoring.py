"""Putting a backup in the place of a store while no manager runs, and examining one.

Invariant: what was there stays, under another name; and whenever this is killed, the next start of a manager refuses what is
between two stores, and finds no file that is a store by half.
"""

import os
import shutil
import sqlite3
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rookery.model import AuditReport, LockKind, Seal
from rookery.wire import WireError, from_bytes

from rookery_manager.audit import verify_file
from rookery_manager.backups import kept_in
from rookery_manager.records import SEAL_KEY, Unreadable, put
from rookery_manager.starting import SNAPSHOTS, STORE
from rookery_manager.state import State
from rookery_manager.store import Commit, Put, StoreError
from rookery_manager.store.file import StoreFile
from rookery_manager.store.lock import CLOSED, RESTORING, Lock, hold
from rookery_manager.store.opening import open_file

# More commits than any store makes in a second: so many revisions are left out for each second since the backup was made, so that
# none of those that agents, proxies and clients have seen since then is ever used for something else.
REVISIONS_PER_S = 10_000
REVISIONS_APART = 1_000_000  # at least, whatever the clocks say


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What a backup holds: `at` is the time of its latest revision (0: it has none), `counts` are its records by kind, `history`
    is what its chain of hashes tells."""

    revision: int
    at: float
    counts: dict[str, int]
    history: AuditReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """`revision` is the one that the store goes on from; `kept` is what was there before, where something was;
    `opened_by` is what its secrets and configs are opened by, where it has any in that form."""

    held: Examined
    revision: int
    kept: Path | None
    opened_by: str = ""


def raised(held: int, at: float, known: int, now: float) -> int:
    """The revision from which a store goes on that is restored `now`: it held `held` as of `at`; `known` is a later one, or 0."""
    return max(held, known) + REVISIONS_APART + int(max(0.0, now - at) * REVISIONS_PER_S)


def examine(path: Path) -> Examined:
    """Raises StoreError where the file is no whole store, says what is wrong with it, and leaves it alone."""
    with TemporaryDirectory(prefix="rookery-") as scratch:
        file = _opened_copy(path, Path(scratch) / STORE, None)
        with closing(file):
            return _examined(file, path)


def restore(path: Path, directory: Path, now: float) -> Restored:
    """Makes the backup the store in a manager's data directory. Raises StoreError, and changes nothing, where it can't."""
    target, scratch = directory / STORE, directory / "restoring"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with closing(hold(target)) as lock:
        try:
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir(mode=0o700)
            file = _opened_copy(path, scratch / STORE, lock if path.exists() and _is_same(path, target) else None)
            with closing(file):
                held = _examined(file, path)
                revision = raised(held.revision, held.at, _latest_known(directory), now)
                seal = _seal_for(file, target)
                _rise(file, held, revision, now, seal)
            kept = _put_in_place(scratch / STORE, target, lock, now)
            return Restored(held=held, revision=revision, kept=kept, opened_by=_words(seal))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _opened_copy(path: Path, copy: Path, lock: Lock | None) -> StoreFile:
    """A copy of a store that no manager has open, with what is in its write-ahead log; `lock` is the store's own, if held."""
    try:
        if lock is None and path.with_name(path.name + ".lock").exists():
            hold(path).close()
    except StoreError as error:
        raise StoreError(f"{error}. Of a store in use, 'rookery admin backup' makes a copy") from error
    for suffix in ("", "-wal"):
        source = path.with_name(path.name + suffix)
        if not suffix or source.exists():
            made = copy.with_name(copy.name + suffix)
            shutil.copyfile(source, made)
            made.chmod(0o600)
    if not copy.stat().st_size:
        raise StoreError(f"{path}: the file is empty")
    try:
        return open_file(copy, thorough=True)
    except StoreError as error:
        raise _of(path, copy, error) from error


def _of(path: Path, copy: Path, error: StoreError) -> StoreError:
    """The error of a copy as one of what it is a copy of, for which there is no way out but another backup."""
    words = str(error).replace(str(copy), str(path)).partition(". 'rookery admin restore")[0]
    return StoreError(f"{words.partition('; move it away')[0]}; take another backup")


def _examined(file: StoreFile, path: Path) -> Examined:
    snapshot = file.snapshot("")
    try:
        State().load(snapshot)
    except Unreadable as error:
        raise StoreError(f"{path}: it holds what can't be read, or was written by a later version: {error}") from error
    latest = file.history("", 0, 1)
    counts = Counter(key.partition("/")[0] for key in snapshot.entries)
    report = verify_file(snapshot, file.chain)
    return Examined(revision=snapshot.revision, at=latest[-1].at if latest else 0.0, counts=dict(counts), history=report)


def _latest_known(directory: Path) -> int:
    """The latest revision that what is in the directory knows of, as far as it can be read."""
    known = [kept.revision for kept in kept_in(directory / SNAPSHOTS)[:1]]
    there = directory / STORE
    with suppress(sqlite3.Error), closing(_read_only(there)) as connection:
        known += [row[0] for row in connection.execute("SELECT revision FROM marks WHERE name = 'latest'")]
    return max(known, default=0)


def _seal_for(file: StoreFile, there: Path) -> Seal | None:
    """What opens the backup's secrets from now on: what opens those of the store that it replaces, where their key is the same.

    So a backup from before a change of the lock does not need what opened it then.
    """
    entry = file.snapshot(SEAL_KEY).entries.get(SEAL_KEY)
    if entry is None:
        return None
    held = from_bytes(Seal, entry.value)
    with suppress(sqlite3.Error, WireError), closing(_read_only(there)) as connection:
        for (value,) in connection.execute("SELECT value FROM entries WHERE key = ?", (SEAL_KEY,)):
            present = from_bytes(Seal, value)
            return present if present.id == held.id else held
    return held


def _words(seal: Seal | None) -> str:
    if seal is None:
        return ""
    return "the manager's key file" if seal.lock is LockKind.KEY_FILE else "a passphrase: it starts locked"


def _read_only(there: Path) -> sqlite3.Connection:
    mode = "ro" if there.with_name(f"{STORE}-wal").exists() else "ro&immutable=1"  # which makes no log beside it
    return sqlite3.connect(f"{there.absolute().as_uri()}?mode={mode}", uri=True)


def _rise(file: StoreFile, held: Examined, revision: int, now: float, seal: Seal | None) -> None:
    """Writes that the store was restored, at the revision from which it goes on."""
    entry = file.snapshot("cluster").entries.get("cluster")
    why = f"restored from a backup of revision {held.revision}"
    writes = [Put(key=entry.key, value=entry.value, why=why)] if entry is not None else []
    writes += [put(seal, "")] if seal is not None else []
    (outcome,) = file.write([Commit(writes=writes, actor="restore", at=max(now, held.at), at_least=revision)])
    if isinstance(outcome, StoreError):
        raise outcome


def _put_in_place(new: Path, target: Path, lock: Lock, now: float) -> Path | None:
    """What was there is kept under the returned name."""
    _sync(new)
    if os.geteuid() == 0:  # the manager need not be root's
        owner = target.parent.stat()
        os.chown(new, owner.st_uid, owner.st_gid)
        os.chown(target.with_name(f"{STORE}.lock"), owner.st_uid, owner.st_gid)
    kept = _free_name(target.parent, now) if target.exists() else None
    lock.note(RESTORING)
    log = target.with_name(f"{STORE}-wal")
    if kept is not None:
        os.link(target, kept)
        if log.exists():
            os.link(log, kept.with_name(f"{kept.name}-wal"))
    # A log beside a store that is not its own would be taken for its own.
    for leftover in (log, target.with_name(f"{STORE}-shm")):
        leftover.unlink(missing_ok=True)
    os.replace(new, target)
    _sync(target.parent)
    lock.note(CLOSED)
    return kept


def _free_name(directory: Path, now: float) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    names = (directory / f"store-before-{stamp}{suffix}.db" for suffix in ("", *(f"-{n}" for n in range(2, 1000))))
    return next(name for name in names if not name.exists())


def _is_same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
