"""The encryption itself: contents by the data key, the data key by a key file's key or a passphrase.

AES-256-GCM with random nonces of 96 bits throughout, which may seal 2^32 contents (NIST SP 800-38D). What a content belongs to is
authenticated with it: one can't be put in the place of another. Invariant: nothing here is shown by a repr.
"""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field, replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from rookery.model import FileContent, LockKind, Seal, SealedFile

KEY_BYTES = 32
_NONCE_BYTES = 12
_SALT_BYTES = 16
COST = 1 << 17  # with r = 8 and p = 1: 128 MiB and some 0.4 s a guess (OWASP's first choice for scrypt)
_MOST_COST = 1 << 20  # a store that was tampered with must not take all memory


class CannotOpen(Exception):
    """The key is not the right one, or what it is to open was changed."""


@dataclass(frozen=True, slots=True)
class DataKey:
    """The key of all contents. `id` tells whether a Seal is of this very key."""

    key: bytes = field(repr=False)
    id: str

    def digest(self, sha256: str) -> str:
        """A content's digest as specs and records may have it: equal for equal contents, and no help in guessing one."""
        of_digests = hmac.digest(self.key, b"rookery content digest", "sha256")
        return hmac.new(of_digests, sha256.encode(), hashlib.sha256).hexdigest()

    def seal(self, app: str, file: FileContent, *, version: int = 0) -> SealedFile:
        """`file.digest` is its keyed one."""
        record = SealedFile(app=app, kind=file.kind, name=file.name, digest=file.digest, version=version)
        return replace(record, sealed=_encrypt(self.key, file.content, _place(record)))

    def open(self, record: SealedFile) -> bytes:
        """Raises CannotOpen."""
        return _decrypt(self.key, record.sealed, _place(record))


def new_data_key() -> DataKey:
    return DataKey(secrets.token_bytes(KEY_BYTES), secrets.token_hex(8))


@dataclass(frozen=True, slots=True)
class FileKey:
    """The key of a key file."""

    key: bytes = field(repr=False)
    id: str


def new_file_key() -> FileKey:
    return FileKey(secrets.token_bytes(KEY_BYTES), secrets.token_hex(8))


def wrap(data_key: DataKey, key: FileKey) -> Seal:
    seal = Seal(id=data_key.id, lock=LockKind.KEY_FILE, wrapped=b"", key_id=key.id)
    return replace(seal, wrapped=_encrypt(key.key, data_key.key, _name(seal)))


def wrap_by_passphrase(data_key: DataKey, passphrase: str) -> Seal:
    """Takes a moment, on purpose."""
    seal = Seal(id=data_key.id, lock=LockKind.PASSPHRASE, wrapped=b"", salt=os.urandom(_SALT_BYTES), cost=COST)
    return replace(seal, wrapped=_encrypt(_stretch(seal, passphrase), data_key.key, _name(seal)))


def unwrap(seal: Seal, key: FileKey) -> DataKey:
    """Raises CannotOpen."""
    return DataKey(_decrypt(key.key, seal.wrapped, _name(seal)), seal.id)


def unwrap_by_passphrase(seal: Seal, passphrase: str) -> DataKey:
    """Takes a moment. Raises CannotOpen."""
    return DataKey(_decrypt(_stretch(seal, passphrase), seal.wrapped, _name(seal)), seal.id)


def _stretch(seal: Seal, passphrase: str) -> bytes:
    if not 2 <= seal.cost <= _MOST_COST or seal.cost & (seal.cost - 1):
        raise CannotOpen
    return Scrypt(salt=seal.salt, length=KEY_BYTES, n=seal.cost, r=8, p=1).derive(passphrase.encode(errors="surrogateescape"))


def _place(record: SealedFile) -> bytes:
    return f"{record.app}/{record.kind}/{record.name}/{record.digest}/{record.version}".encode()


def _name(seal: Seal) -> bytes:
    return f"seal {seal.id} {seal.lock}".encode()


def _encrypt(key: bytes, plain: bytes, bound_to: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, bound_to)


def _decrypt(key: bytes, sealed: bytes, bound_to: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to)
    except (InvalidTag, ValueError):
        raise CannotOpen from None
