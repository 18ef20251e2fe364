"""The first seal of a store: a key is made, and what lies there in plain text, as earlier versions left it, is encrypted.

Invariant: a store has a Seal if and only if no content in it is in plain text, nor a digest that a content can be guessed by. All
of it happens in one transaction, and nothing of the plain text stays in the file, its log, or the copies that the manager made.
"""

import logging
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rookery.model import FileContent, FileMount, Revision, Seal
from rookery.wire import from_bytes, to_bytes

from rookery_manager import records
from rookery_manager.sealing.cipher import DataKey, new_data_key, wrap
from rookery_manager.sealing.key_file import own_key
from rookery_manager.store import Commit, StoreError
from rookery_manager.store.file import StoreFile
from rookery_manager.store.opening import open_file

log = logging.getLogger("rookery.manager")

_PLAIN = ("files/", "revisions/")
WHY = "secrets and configs are encrypted from here on"


def first_seal(file: StoreFile, key_file: Path) -> None:
    """Seals a store that is not sealed yet. Raises NoKey, StoreError."""
    if records.SEAL_KEY not in file.snapshot(records.SEAL_KEY).entries:
        data_key = new_data_key()
        seal = wrap(data_key, own_key(key_file))
        count = len(file.snapshot("files/").entries)
        _rewrite(file, data_key, seal)
        if count:
            log.warning("%d secrets and configs were in plain text in %s, and are encrypted now", count, file.path)
            for copy in (*file.path.parent.glob("snapshots/store-*.db"), *file.path.parent.glob("store-before-*.db")):
                _seal_copy(copy, data_key, seal)
            log.warning("backups that were made before by hand still hold them: keep these as safe as the secrets are")
    try:
        file.scrub()
    except StoreError as error:
        log.error("the store may hold remains of secrets in plain text until its next start: %s", error)


def _rewrite(file: StoreFile, data_key: DataKey, seal: Seal) -> None:
    latest = max((change.at for change in file.history("", 0, 1)), default=0.0)
    commit = Commit(writes=[records.put(seal, WHY)], actor="manager", at=max(latest, time.time()))
    file.rewrite(_PLAIN, _sealed_by(data_key), commit)


def _sealed_by(data_key: DataKey) -> Callable[[str, bytes], tuple[str, bytes]]:
    def anew(key: str, value: bytes) -> tuple[str, bytes]:
        if key.startswith("files/"):
            _, app, kind, name, digest = key.split("/")
            new_key = f"sealed/{app}/{kind}/{name}/{data_key.digest(digest)}"
            if not value:  # it was deleted
                return new_key, value
            content = from_bytes(FileContent, value)
            return new_key, to_bytes(data_key.seal(app, replace(content, digest=data_key.digest(content.digest))))
        return key, _revision(value, data_key) if value else value

    return anew


def _revision(value: bytes, data_key: DataKey) -> bytes:
    revision = from_bytes(Revision, value)
    files = tuple([_mount(mount, data_key) for mount in revision.spec.container.files])
    if not files:
        return value
    container = replace(revision.spec.container, files=files)
    return to_bytes(replace(revision, spec=replace(revision.spec, container=container)))


def _mount(mount: FileMount, data_key: DataKey) -> FileMount:
    return replace(mount, digest=data_key.digest(mount.digest)) if mount.digest else mount


def _seal_copy(path: Path, data_key: DataKey, seal: Seal) -> None:
    """A copy of the store that the manager made, sealed in its place; one that can't be read is left alone, and said."""
    log_beside = path.with_name(f"{path.name}-wal")
    try:
        with TemporaryDirectory(dir=path.parent, prefix=".sealing-") as scratch:
            copy = Path(scratch) / path.name
            shutil.copyfile(path, copy)
            if log_beside.exists():
                shutil.copyfile(log_beside, copy.with_name(log_beside.name))
            copy.chmod(0o600)
            with closing(open_file(copy)) as file:
                if records.SEAL_KEY in file.snapshot(records.SEAL_KEY).entries:
                    return
                _rewrite(file, data_key, seal)
                file.scrub()
            copy.replace(path)
            with suppress(FileNotFoundError):
                log_beside.unlink()
    except (StoreError, OSError, ValueError, sqlite3.Error) as error:
        log.error("%s holds secrets in plain text, and can't be sealed: %s", path, error)
