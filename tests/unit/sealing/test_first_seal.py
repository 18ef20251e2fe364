"""A store as earlier versions left it, with contents in plain text: sealed when it is opened, and nothing of them is left."""

import asyncio
import base64
import hashlib
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from rookery.model import ContainerSpec, FileContent, FileKind, FileMount, Revision, Seal, ServiceSpec
from rookery.process import Stop
from rookery.wire import from_bytes, to_bytes
from rookery_manager import starting
from rookery_manager.audit import head_of, verify
from rookery_manager.records import SEAL_KEY, put
from rookery_manager.sealing import first
from rookery_manager.sealing.keyring import open_keyring
from rookery_manager.sealing.reading import read_file
from rookery_manager.store import Commit, Delete, Put, StoreError
from rookery_manager.store.file import StoreFile
from rookery_manager.store.opening import copy_file, open_file

PLANTED = b"planted-value-5c1f"
DIGEST = hashlib.sha256(PLANTED).hexdigest()
MOUNT = FileMount(kind=FileKind.SECRET, name="pw", target="/run/secrets/pw", digest=DIGEST)
SPEC = ServiceSpec(name="web", container=ContainerSpec(image="web:1", files=(MOUNT,)))


def old_store(path: Path) -> None:
    """With a secret in it, another that was deleted, and enough writes that pages were used more than once."""
    content = FileContent(kind=FileKind.SECRET, name="pw", content=PLANTED * 100, digest=DIGEST)
    with closing(open_file(path)) as file:
        key = f"files/shop/secret/pw/{DIGEST}"
        file.write([Commit(writes=[Put(key=key, value=to_bytes(replace(content, content=PLANTED)))], actor="ann", at=1.0)])
        revision = Revision(app="shop", service="web", number=1, spec=SPEC)
        file.write([Commit(writes=[put(revision, "created")], actor="ann", at=2.0)])
        gone = key.replace("/pw/", "/old/")
        file.write([Commit(writes=[Put(key=gone, value=to_bytes(replace(content, name="old")))], actor="ann", at=3.0)])
        file.write([Commit(writes=[Delete(key=gone)], actor="ann", at=4.0)])
        shutil.copyfile(path.with_name(path.name + "-wal"), path.with_name("wal-before"))


def found_in(directory: Path) -> list[str]:
    """The files that show the value, or what it can be guessed by."""
    words = (PLANTED, base64.b64encode(PLANTED)[:20], DIGEST.encode())
    return [path.name for path in directory.rglob("*") if path.is_file() and any(word in path.read_bytes() for word in words)]


def test_an_old_store_is_sealed_and_nothing_of_the_plain_text_is_left(tmp_path: Path) -> None:
    path, key_file = tmp_path / "store.db", tmp_path / "secrets.key"
    old_store(path)
    (tmp_path / "wal-before").unlink()
    (tmp_path / "snapshots").mkdir()
    copy_file(path, tmp_path / "snapshots" / "store-20260102T030405Z-r4.db")
    shutil.copyfile(path, tmp_path / "store-before-20260102T030405Z.db")
    assert len(found_in(tmp_path)) >= 3

    async def main() -> None:
        store = await starting.open_store(tmp_path, key_file)
        assert found_in(tmp_path) == []
        keyring = await starting.begin_keyring(store, key_file)
        entries = (await store.snapshot()).entries
        assert not [key for key in entries if key.startswith("files/")]
        (revision,) = [from_bytes(Revision, entry.value) for key, entry in entries.items() if key.startswith("revisions/")]
        (mount,) = revision.spec.container.files
        assert mount == replace(MOUNT, digest=keyring.key().digest(DIGEST))
        content = await read_file(store, keyring, "shop", mount)
        assert content is not None
        assert content.content == PLANTED
        changes = await store.history(limit=100)
        assert [change.why for change in changes if change.why] == ["created", first.WHY]
        await starting.begin(store, tmp_path)  # which reads every record
        report = await verify(await store.snapshot(), store.chain)
        assert report.fault == ""
        assert report.checked
        assert f"{report.head_revision}:{report.head_hash}" == await head_of(store)
        await store.close()
        assert found_in(tmp_path) == []

    asyncio.run(main())
    for copy in ("snapshots/store-20260102T030405Z-r4.db", "store-before-20260102T030405Z.db"):
        with closing(open_file(tmp_path / copy, thorough=True)) as file:
            seal = from_bytes(Seal, file.snapshot(SEAL_KEY).entries[SEAL_KEY].value)
            assert open_keyring(seal, key_file).locked == ""


def marks(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return sorted(name for (name,) in connection.execute("SELECT name FROM marks"))


def test_a_start_that_was_cut_short_is_made_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, key_file = tmp_path / "store.db", tmp_path / "secrets.key"
    old_store(path)
    (tmp_path / "wal-before").unlink()

    def full(_file: StoreFile) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patched, closing(open_file(path)) as file:
        patched.setattr(StoreFile, "scrub", full)
        first.first_seal(file, key_file)
    assert marks(path) == ["compacted", "latest", "to-scrub"]
    with closing(open_file(path)) as file:
        first.first_seal(file, key_file)
        assert found_in(tmp_path) == []
    assert marks(path) == ["compacted", "latest"]


def test_a_store_is_sealed_once(tmp_path: Path) -> None:
    path, key_file = tmp_path / "store.db", tmp_path / "secrets.key"
    for _ in range(2):
        with closing(open_file(path)) as file:
            first.first_seal(file, key_file)
            assert file.snapshot(SEAL_KEY).revision == 1


def test_no_new_key_is_made_for_a_store_whose_key_is_missing(tmp_path: Path) -> None:
    async def main() -> None:
        key_file = tmp_path / "secrets.key"
        await (await starting.open_store(tmp_path, key_file)).close()
        key_file.unlink()
        store = await starting.open_store(tmp_path, key_file)
        assert "is missing" in (await starting.begin_keyring(store, key_file)).locked
        assert not key_file.exists()
        await store.close()

    asyncio.run(main())


def test_a_damaged_key_file_is_not_used_for_a_new_store(tmp_path: Path) -> None:
    key_file = tmp_path / "secrets.key"
    key_file.write_text("nonsense")
    with pytest.raises(Stop, match=r"secrets\.key is damaged"):
        asyncio.run(starting.open_store(tmp_path, key_file))
    open_file(tmp_path / "store.db").close()  # which it would refuse, were the store still held
