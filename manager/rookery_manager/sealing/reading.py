"""Reading sealed contents from the store: for the assignments of those who need them, and for a look at a config."""

import logging

from rookery.model import FileContent, FileMount, SealedFile
from rookery.wire import from_bytes

from rookery_manager.records import sealed_key
from rookery_manager.sealing.cipher import CannotOpen
from rookery_manager.sealing.keyring import Keyring
from rookery_manager.store import Store

log = logging.getLogger("rookery.manager")


async def read_file(store: Store, keyring: Keyring, app: str, mount: FileMount) -> FileContent | None:
    """What a replica of the app finds there; None where the manager is locked, or it is not to be had."""
    if keyring.locked:
        return None
    key = sealed_key(app, mount.kind, mount.source or mount.name, digest=mount.digest, version=mount.version)
    entry = (await store.snapshot(key)).entries.get(key)
    if entry is None:
        return None
    try:
        content = keyring.key().open(from_bytes(SealedFile, entry.value))
    except CannotOpen:
        log.error("%s does not open with this store's key: it was changed, or put here from elsewhere", key)
        return None
    return FileContent(kind=mount.kind, name=mount.name, content=content, digest=mount.digest)
