"""The keys and chains of certificates and accounts in the store: sealed like secrets, under an app that nobody can have."""

import hashlib
import logging

from rookery.model import FileContent, FileKind, SealedFile
from rookery.wire import from_bytes

from rookery_manager.records import sealed_key
from rookery_manager.sealing.cipher import CannotOpen
from rookery_manager.sealing.keyring import Keyring
from rookery_manager.store import Store

log = logging.getLogger("rookery.manager")

APP = "@acme"  # no app is named so
ACCOUNT = "@account"  # no host is named so


class Contents:
    """What is read and written raises Locked while the manager is locked."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    @property
    def locked(self) -> str:
        return self._keyring.locked

    def sealed(self, name: str, text: str) -> SealedFile:
        key = self._keyring.key()
        content = text.encode()
        digest = key.digest(hashlib.sha256(content).hexdigest())
        return key.seal(APP, FileContent(kind=FileKind.SECRET, name=name, content=content, digest=digest))

    async def read(self, name: str, digest: str) -> str | None:
        """None where it is not there, or does not open: the store's key was given up."""
        key = place(name, digest)
        entry = (await self._store.snapshot(key)).entries.get(key)
        if entry is None:
            return None
        try:
            return self._keyring.key().open(from_bytes(SealedFile, entry.value)).decode()
        except CannotOpen:
            log.error("%s does not open with this store's key: it was changed, or its key was given up", key)
            return None


def place(name: str, digest: str) -> str:
    """Where it lies in the store."""
    return sealed_key(APP, FileKind.SECRET, name, digest=digest)
