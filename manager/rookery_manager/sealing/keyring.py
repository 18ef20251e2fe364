"""The key of all secrets and configs, in this process: there, or locked away.

Invariant: while it is locked nothing can be read, nothing is lost, and all that needs no secret goes on.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from rookery.model import LockKind, LockStatus, Seal

from rookery_manager.sealing.cipher import (
    CannotOpen,
    DataKey,
    new_data_key,
    unwrap,
    unwrap_by_passphrase,
    wrap,
    wrap_by_passphrase,
)
from rookery_manager.sealing.key_file import NoKey, own_key, read_key

log = logging.getLogger("rookery.manager")

LEAST_CHARACTERS = 12  # of a passphrase: the store may be guessed at by whoever has stolen it, for as long as they like


class Locked(Exception):
    """What was asked for needs secrets or configs, and they can't be read. The message says why, and the way out."""


class Keyring:
    def __init__(self, seal: Seal, key_file: Path, data_key: DataKey | None = None, why: str = "") -> None:
        self._seal = seal
        self._key_file = key_file
        self._data_key = data_key
        self._why = why
        self._listeners: list[Callable[[], None]] = []
        self._one_at_a_time = asyncio.Lock()  # each guess at a passphrase takes 128 MiB

    @property
    def locked(self) -> str:
        """Why nothing can be read; empty where it can."""
        return "" if self._data_key is not None else self._why

    def status(self) -> LockStatus:
        return LockStatus(kind=self._seal.lock, locked=self.locked, key_file=str(self._key_file))

    def key(self) -> DataKey:
        """Raises Locked."""
        if self._data_key is None:
            raise Locked(self._why)
        return self._data_key

    def on_unlock(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    async def unlock(self, passphrase: str) -> None:
        """With the passphrase, or by looking at the key file anew. Raises Locked, in words, where it does not open."""
        async with self._one_at_a_time:
            data_key = await asyncio.to_thread(_opened, self._seal, self._key_file, passphrase)
            if self._data_key is None:
                self._open(data_key)

    def _open(self, data_key: DataKey) -> None:
        self._data_key = data_key
        log.info("unlocked: secrets and configs can be read")
        for listener in self._listeners:
            listener()

    async def resealed(self, kind: LockKind, *, passphrase: str, present: str) -> Seal:
        """The Seal that has this lock; where one with a passphrase is in force, only with that. Raises Locked, NoKey.

        It counts once it is committed and `take` is told. A key file is on the disk before, since without it nothing would open.
        """
        data_key = self.key()
        async with self._one_at_a_time:
            if self._seal.lock is LockKind.PASSPHRASE:
                await asyncio.to_thread(_opened, self._seal, self._key_file, present)
            if kind is LockKind.PASSPHRASE:
                return await asyncio.to_thread(wrap_by_passphrase, data_key, passphrase)
            return await asyncio.to_thread(lambda: wrap(data_key, own_key(self._key_file)))

    async def anew(self) -> tuple[Seal, DataKey]:
        """Another key, by the key file, in the place of one that is lost with all that it sealed. Raises NoKey."""
        data_key = new_data_key()
        return await asyncio.to_thread(lambda: wrap(data_key, own_key(self._key_file))), data_key

    def take(self, seal: Seal, data_key: DataKey | None = None) -> str:
        """The Seal is in the store from now on, with another key in it where one is given. What the operator must know of it,
        where there is something."""
        self._seal = seal
        if data_key is not None:
            self._open(data_key)
        if seal.lock is LockKind.KEY_FILE:
            return ""
        try:
            self._key_file.unlink(missing_ok=True)
        except OSError as error:
            return f"the key file {self._key_file} can't be removed ({error.strerror}): remove it by hand"
        return ""


def open_keyring(seal: Seal, key_file: Path) -> Keyring:
    """Open where the key file opens it, else locked."""
    if seal.lock is LockKind.PASSPHRASE:
        why = "this manager is locked, and reads no secrets or configs; unlock it with: rookery admin unlock"
        log.warning("%s", why)
        if key_file.exists():
            log.warning("the key file %s is there still, and opens backups from before: move it to a safe place", key_file)
        return Keyring(seal, key_file, why=why)
    try:
        return Keyring(seal, key_file, _opened(seal, key_file, ""))
    except Locked as error:
        why = f"this manager is locked, and reads no secrets or configs: {error}. Then: rookery admin unlock"
        log.error("%s", why)
        return Keyring(seal, key_file, why=why)


def _opened(seal: Seal, key_file: Path, passphrase: str) -> DataKey:
    try:
        if seal.lock is LockKind.KEY_FILE:
            return unwrap(seal, read_key(key_file, seal.key_id))
        if not passphrase:
            raise Locked("a passphrase is needed")
        return unwrap_by_passphrase(seal, passphrase)
    except NoKey as error:
        raise Locked(str(error)) from error
    except CannotOpen:
        if seal.lock is LockKind.KEY_FILE:
            raise Locked(f"the key file {key_file} does not open this store; put back the one that does") from None
        raise Locked("that is not the passphrase; nothing was changed") from None
