"""The blocking part of the SQLite engine, by itself: what is dropped with age, and what stays."""

from pathlib import Path

import pytest
from rookery_manager.store import Commit, Compacted, Delete, Put
from rookery_manager.store.file import StoreFile, Written
from rookery_manager.store.opening import open_file


@pytest.fixture
def file(tmp_path: Path) -> StoreFile:
    opened = open_file(tmp_path / "store.db")
    opened.write([Commit(writes=[Put(key=f"k{i % 50}", value=b"v")], actor="test", at=float(i)) for i in range(1, 5001)])
    return opened


def test_history_is_dropped_a_piece_at_a_time(file: StoreFile) -> None:
    assert file.compact(before=4500.0) == (2000, True)
    assert file.compact(before=4500.0) == (4000, True)
    assert file.compact(before=4500.0) == (4499, False)
    assert file.compact(before=4500.0) == (0, False)
    assert [change.revision for change in file.history("", 0, 10_000)] == list(range(4500, 5001))
    with pytest.raises(Compacted, match=r"from 4499 to 4499; begin with a snapshot"):
        file.page("", 4498, 10)
    assert file.page("", 4499, 10)[1] == 4509
    snapshot = file.snapshot("")
    assert (len(snapshot.entries), snapshot.revision) == (50, 5000)
    file.close()


def test_the_latest_revision_is_never_dropped(file: StoreFile) -> None:
    while file.compact(before=1e12)[1]:
        pass
    assert [change.revision for change in file.history("", 0, 10)] == [5000]
    path = file.path
    file.close()
    reopened = open_file(path)
    outcome = reopened.write([Commit(writes=[Delete(key="k0")], actor="test", at=0.0)])[0]
    assert isinstance(outcome, Written)
    assert outcome.revision == 5001
    reopened.close()


def test_a_clock_that_went_back_holds_on_to_what_is_younger(file: StoreFile) -> None:
    file.write([Commit(writes=[Put(key="late", value=b"")], actor="test", at=1.0)])
    while file.compact(before=4000.0)[1]:
        pass
    assert [change.revision for change in file.history("", 0, 10_000)] == list(range(4000, 5002))
    file.close()
