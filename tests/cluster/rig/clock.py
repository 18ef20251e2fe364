"""The clock of one process, set without touching the machine's: by libfaketime, where that is installed."""

from pathlib import Path

_LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


def missing() -> str:
    """Why no clock can be set here; empty where one can."""
    return "" if _LIBRARY else "libfaketime is not installed (Debian package faketime)"


def environment(folder: Path) -> dict[str, str]:
    """What a process is started with, so that its clock can be set later on; nothing unless `enable` was called."""
    told = _told(folder)
    if _LIBRARY is None or not told.exists():
        return {}
    return {
        "LD_PRELOAD": str(_LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(told),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def enable(folder: Path) -> None:
    """A process that starts with this folder will have a clock that can be set; each look at it reads a file."""
    folder.mkdir(parents=True, exist_ok=True)
    set_offset(folder, 0.0)


def set_offset(folder: Path, offset_s: float) -> None:
    _told(folder).write_text(f"{offset_s:+g}s\n")


def _told(folder: Path) -> Path:
    return folder / "clock"
