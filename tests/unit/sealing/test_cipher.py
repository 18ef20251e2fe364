"""Contents open with the right key, in the right place, and not otherwise."""

import hashlib
from dataclasses import replace

import pytest
from rookery.model import FileContent, FileKind, LockKind
from rookery_manager.sealing import cipher
from rookery_manager.sealing.cipher import (
    CannotOpen,
    new_data_key,
    new_file_key,
    unwrap,
    unwrap_by_passphrase,
    wrap,
    wrap_by_passphrase,
)

VALUE = b"a value that nobody is to see"
FILE = FileContent(kind=FileKind.SECRET, name="key", content=VALUE, digest="d" * 64)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cipher, "COST", 16)


def test_a_content_survives_and_is_not_to_be_seen() -> None:
    key = new_data_key()
    sealed, again = key.seal("shop", FILE), key.seal("shop", FILE)
    assert key.open(sealed) == VALUE
    assert VALUE not in sealed.sealed
    assert sealed.sealed != again.sealed, "a nonce was used twice"
    assert repr(key.key) not in repr(key)


def test_a_content_opens_nowhere_but_in_its_place() -> None:
    key = new_data_key()
    sealed = key.seal("shop", FILE, version=2)
    for moved in (
        replace(sealed, app="other"),
        replace(sealed, name="other"),
        replace(sealed, kind=FileKind.CONFIG),
        replace(sealed, version=3),
        replace(sealed, sealed=sealed.sealed[:-1] + bytes([sealed.sealed[-1] ^ 1])),
        replace(sealed, sealed=b""),
    ):
        with pytest.raises(CannotOpen):
            key.open(moved)
    with pytest.raises(CannotOpen):
        new_data_key().open(sealed)


def test_a_digest_is_keyed() -> None:
    sha256 = hashlib.sha256(VALUE).hexdigest()
    key = new_data_key()
    assert key.digest(sha256) == key.digest(sha256)
    assert len({key.digest(sha256), new_data_key().digest(sha256), sha256}) == 3


def test_a_key_file_opens_what_it_wrapped() -> None:
    data_key, file_key = new_data_key(), new_file_key()
    seal = wrap(data_key, file_key)
    assert seal.lock is LockKind.KEY_FILE
    assert unwrap(seal, file_key) == data_key
    with pytest.raises(CannotOpen):
        unwrap(seal, new_file_key())


@pytest.mark.usefixtures("cheap")
def test_a_passphrase_opens_what_it_wrapped() -> None:
    data_key = new_data_key()
    seal = wrap_by_passphrase(data_key, "correct horse")
    assert unwrap_by_passphrase(seal, "correct horse") == data_key
    for bad, said in (
        (seal, "Correct horse"),
        (replace(seal, lock=LockKind.KEY_FILE), "correct horse"),
        (replace(seal, salt=b"0" * 16), "correct horse"),
        (replace(seal, cost=1 << 40), "correct horse"),  # no store makes the manager take all memory
        (replace(seal, cost=17), "correct horse"),
    ):
        with pytest.raises(CannotOpen):
            unwrap_by_passphrase(bad, said)
