"""Secrets and configs in the manager's store: what is known of each, and the sealed contents."""

from dataclasses import dataclass
from enum import StrEnum

from rookery.model.container import FileKind


@dataclass(frozen=True, slots=True, kw_only=True)
class FileVersion:
    """`digest` is keyed: it says whether two contents are the same, and nothing to those without the key."""

    number: int
    digest: str
    size_bytes: int
    created_at: float = 0.0
    actor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A secret or config of an app that was made by itself: what `external: true` in its compose file means.

    `version` is the latest; `versions` are all, oldest first. It outlives the app.
    """

    app: str
    kind: FileKind
    name: str
    version: int = 0
    created_at: float = 0.0
    changed_at: float = 0.0
    versions: tuple[FileVersion, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedFile:
    """An encrypted content: of one version of a StoredFile, or (`version` 0) one that came with its app."""

    app: str
    kind: FileKind
    name: str
    digest: str
    version: int = 0
    sealed: bytes = b""


class LockKind(StrEnum):
    KEY_FILE = "key-file"
    PASSPHRASE = "passphrase"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """The key of all contents, itself encrypted. `id` is that key's own; `key_id` is of the one in the key file that opens it;
    `salt` and `cost` (N of scrypt) are a passphrase's."""

    id: str
    lock: LockKind
    wrapped: bytes
    salt: bytes = b""
    cost: int = 0
    key_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileUse:
    """A service whose replicas have a StoredFile, now or once the revision that is wanted is there."""

    app: str
    kind: FileKind
    name: str
    service: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LockStatus:
    """`locked` is why secrets and configs can't be read, empty where they can; `key_file` is where the manager looks for it;
    `note` is what a change left to be done by hand."""

    kind: LockKind
    locked: str = ""
    key_file: str = ""
    note: str = ""
