"""The key file and the passphrase, and what is said where either does not open the store."""

import asyncio
from pathlib import Path

import pytest
from rookery.model import FileContent, FileKind, LockKind
from rookery_manager.sealing import cipher
from rookery_manager.sealing.cipher import new_data_key, wrap
from rookery_manager.sealing.key_file import NoKey, own_key, read_key
from rookery_manager.sealing.keyring import Keyring, Locked, open_keyring

FILE = FileContent(kind=FileKind.SECRET, name="key", content=b"value", digest="d" * 64)


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cipher, "COST", 16)


def made(path: Path) -> Keyring:
    return open_keyring(wrap(new_data_key(), own_key(path)), path)


def test_a_key_file_is_the_owners_alone_and_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "secrets.key"
    key = own_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert own_key(path) == key
    assert read_key(path, key.id) == key
    path.write_text("something else")
    with pytest.raises(NoKey, match="is damaged"):
        own_key(path)
    assert path.read_text() == "something else"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(b""), "is damaged"),
        (lambda path: path.write_bytes(b"\xff" * 5_000), "is damaged"),
        (lambda path: path.write_text(path.read_text().replace("-", "-0", 1)), "is damaged"),
        (lambda path: path.write_text(path.read_text()[:-2] + "x\n"), "is damaged"),
        (lambda path: (path.unlink(), own_key(path)), "is of another store"),
        (lambda path: (path.unlink(), path.mkdir()), "can't be read"),
    ],
)
def test_a_key_file_that_does_not_open_it_locks_the_manager_until_it_is_back(tmp_path: Path, damage: object, words: str) -> None:
    path = tmp_path / "secrets.key"
    seal = wrap(new_data_key(), own_key(path))
    right = path.read_bytes()
    damage(path)  # type: ignore[operator]
    keyring = open_keyring(seal, path)
    assert words in keyring.locked
    assert str(path) in keyring.locked
    assert "rookery admin unlock" in keyring.locked
    with pytest.raises(Locked):
        keyring.key()
    with pytest.raises(Locked, match=words):
        asyncio.run(keyring.unlock(""))
    if path.is_dir():
        path.rmdir()
    path.write_bytes(right)
    told: list[bool] = []
    keyring.on_unlock(lambda: told.append(True))
    asyncio.run(keyring.unlock(""))
    assert keyring.locked == ""
    assert told == [True]


def test_from_a_key_file_to_a_passphrase_and_back(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "secrets.key"
        keyring = made(path)
        sealed = keyring.key().seal("shop", FILE)
        seal = await keyring.resealed(LockKind.PASSPHRASE, passphrase="correct horse", present="")
        assert path.exists(), "it goes when the new seal is in the store"
        assert keyring.take(seal) == ""
        assert not path.exists()

        again = open_keyring(seal, path)
        assert "rookery admin unlock" in again.locked
        for wrong, words in (("", "a passphrase is needed"), ("wrong horse", "that is not the passphrase")):
            with pytest.raises(Locked, match=words):
                await again.unlock(wrong)
        assert again.locked
        await again.unlock("correct horse")
        assert again.key().open(sealed) == b"value"

        for wrong in ("", "wrong horse"):
            with pytest.raises(Locked):
                await again.resealed(LockKind.KEY_FILE, passphrase="", present=wrong)
        back = await again.resealed(LockKind.KEY_FILE, passphrase="", present="correct horse")
        again.take(back)
        assert open_keyring(back, path).key().open(sealed) == b"value"

    asyncio.run(main())


def test_what_is_locked_gets_no_other_lock(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "secrets.key"
        seal = await made(path).resealed(LockKind.PASSPHRASE, passphrase="correct horse", present="")
        with pytest.raises(Locked):
            await open_keyring(seal, path).resealed(LockKind.KEY_FILE, passphrase="", present="correct horse")

    asyncio.run(main())
