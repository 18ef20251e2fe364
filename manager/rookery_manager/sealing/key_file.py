"""The key file: what opens the store's secrets and configs while there is no passphrase. Kept out of the store on purpose.

Invariant: a file that is there is never written over; only its owner can read it.
"""

import hashlib
import re
from pathlib import Path

from rookery.identity.files import write_private

from rookery_manager.sealing.cipher import FileKey, new_file_key

_TEXT = re.compile(r"RKYK1-([0-9a-f]{16})-([0-9a-f]{64})-([0-9a-f]{8})")
_KEEP = "put back the one that the manager made; nothing is lost while a copy of that exists"


class NoKey(Exception):
    """There is no key to be had from the file; the message names it and says why."""


def read_key(path: Path, key_id: str) -> FileKey:
    """The key in the file, which must have that id. Raises NoKey."""
    found = _read(path)
    if found is None:
        raise NoKey(f"the key file {path} is missing: {_KEEP}")
    if found.id != key_id:
        raise NoKey(f"the key file {path} is of another store: {_KEEP}")
    return found


def own_key(path: Path) -> FileKey:
    """The key in the file, which is made where there is none. Raises NoKey."""
    found = _read(path)
    if found is not None:
        return found
    made = new_file_key()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, f"RKYK1-{made.id}-{made.key.hex()}-{_check(made.id, made.key.hex())}\n")
    except OSError as error:
        raise NoKey(f"the key file {path} can't be written: {error.strerror}; name another place with --secrets-key") from error
    return made


def _read(path: Path) -> FileKey | None:
    """None where there is no such file."""
    try:
        with path.open("rb") as file:
            text = file.read(1_000).decode(errors="replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NoKey(f"the key file {path} can't be read: {error.strerror}") from error
    found = _TEXT.fullmatch(text)
    if found is None or found[3] != _check(found[1], found[2]):
        raise NoKey(f"the key file {path} is damaged: {_KEEP}")
    return FileKey(bytes.fromhex(found[2]), found[1])


def _check(key_id: str, key: str) -> str:
    return hashlib.sha256(f"{key_id} {key}".encode()).hexdigest()[:8]
