"""`rookery admin`: backups that are whole or not there, and what restores and verifies them."""

import stat
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from cli_runner import Rookery
from fake_control import FakeControl, serving

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def rookery() -> Iterator[Rookery]:
    fake = FakeControl()
    with serving(fake):
        yield Rookery(fake)


def test_a_backup_is_what_the_manager_sent(rookery: Rookery) -> None:
    said = rookery("admin", "backup", "store.db").output
    assert said == f"backed up {rookery.control.address} to store.db (5 KiB)\n"
    assert Path("store.db").read_bytes() == rookery.control.store
    assert stat.S_IMODE(Path("store.db").stat().st_mode) == 0o600


def test_a_file_that_is_there_is_replaced_by_force_only(rookery: Rookery) -> None:
    Path("store.db").write_text("older")
    said = rookery("admin", "backup", "store.db", status=2).output
    assert "store.db is there already; take another name, or --force to replace it" in said
    assert Path("store.db").read_text() == "older"
    rookery("admin", "backup", "store.db", "--force")
    assert Path("store.db").read_bytes() == rookery.control.store


def test_a_backup_can_go_to_the_standard_output(rookery: Rookery) -> None:
    assert rookery("admin", "backup", "-").stdout_bytes == rookery.control.store


@pytest.mark.parametrize("how", ["another digest", "refused", "no such directory"])
def test_what_did_not_arrive_whole_leaves_no_file(how: str, rookery: Rookery) -> None:
    file = "nowhere/store.db" if how == "no such directory" else "store.db"
    if how == "another digest":
        rookery.control.store_digest = "0" * 64
    elif how == "refused":
        rookery.control.refuses["Backup"] = (grpc.StatusCode.RESOURCE_EXHAUSTED, "the store: /data: the disk is full")
    said = rookery("admin", "backup", file, status=1).output
    words = {
        "another digest": "the backup did not arrive whole: 5120 of 5120 bytes, another digest; try again",
        "refused": "/data: the disk is full",
        "no such directory": "No such file or directory",
    }
    assert words[how] in said
    assert not list(Path().glob("*.db")) + list(Path().glob(".*.half"))


def test_restore_and_verify_are_the_managers_to_do(rookery: Rookery) -> None:
    Path("text.db").write_text("no store")
    for arguments in (["verify", "text.db"], ["restore", "text.db", "--data", "data"]):
        said = rookery("admin", *arguments, status=1).output
        assert said == "error: text.db is not a store of Rookery; take another backup\n"
    assert "does not exist" in rookery("admin", "restore", "nothing.db", "--data", "data", status=2).output
