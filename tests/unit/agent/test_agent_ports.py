"""The directory in which agents of several users keep off each other's ports."""

import os
import stat
import tempfile
from pathlib import Path

import pytest
from rookery_agent.runtime import process_ports
from rookery_agent.runtime.protocol import RuntimeFailure


def test_it_is_everybodys_and_a_port_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    port, lock = process_ports.take(0, 1)
    assert stat.S_IMODE((tmp_path / "rookery-ports").stat().st_mode) == 0o1777
    other, another = process_ports.take(port, 1)
    assert other != port
    os.close(lock)
    os.close(another)


def test_a_link_in_its_place_opens_nothing_to_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    mine = tmp_path / "mine"
    mine.mkdir(mode=0o700)
    (tmp_path / "rookery-ports").symlink_to(mine)
    with pytest.raises(RuntimeFailure, match="is no directory; remove it"):
        process_ports.take(0, 1)
    assert stat.S_IMODE(mine.stat().st_mode) == 0o700
    assert not list(mine.iterdir())
