"""Reading the files that compose files name, and finding the compose files of a directory.

Invariant: what can't be read is a finding with the place that named it, never an exception.
"""

import os
import sys
from pathlib import Path

from rookery.compose.diagnostics import Mark, Problems, Source

STANDARD_INPUT = Path("-")
MAX_BYTES = 8 * 1024 * 1024  # no more is read of any file; what is longer is refused wherever it is used
_BASES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")


def find_files(directory: Path) -> tuple[Path, ...]:
    """The compose file of a directory or of the nearest directory above it that has one, with its override file; else nothing."""
    start = directory.absolute()
    for place in (start, *start.parents):
        for base in _BASES:
            if not (place / base).is_file():
                continue
            shown = directory / base if place == start else place / base
            overrides = [shown.with_suffix(f".override{suffix}") for suffix in (".yaml", ".yml")]
            return (shown, *[path for path in overrides if path.is_file()][:1])
    return ()


def is_stream(path: Path) -> bool:
    """True for standard input and for what a shell gives a name to, as in `-f <(command)`: it has no directory of its own."""
    return path == STANDARD_INPUT or str(path).startswith(("/dev/fd/", "/dev/stdin", "/proc/self/fd/"))


def shown(path: Path) -> str:
    """A path as errors name it: relative where that is shorter to read."""
    try:
        relative = os.path.relpath(path)
    except (OSError, ValueError):
        return str(path)
    return str(path) if relative.startswith("..") else relative


def read_bytes(path: Path, mark: Mark, where: str, problems: Problems, what: str = "file") -> bytes | None:
    """The content of a file, or None and a finding at the place that named it."""
    try:
        if path == STANDARD_INPUT:
            return sys.stdin.buffer.read(MAX_BYTES + 1) if sys.stdin is not None else b""
        if path.exists() and not path.is_file() and not is_stream(path):
            problems.error(mark, where, f"{what} '{shown(path)}' is not a file")
            return None
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        problems.error(mark, where, f"{what} '{shown(path)}' does not exist")
    except OSError as error:
        problems.error(mark, where, f"{what} '{shown(path)}' can't be read: {error.strerror or error}")
    except ValueError:
        problems.error(mark, where, f"{what} {str(path)!r} has no valid name")
    return None


def read_text(path: Path, mark: Mark, where: str, problems: Problems, what: str = "file") -> str | None:
    content = read_bytes(path, mark, where, problems, what)
    if content is None:
        return None
    if len(content) > MAX_BYTES:
        problems.error(mark, where, f"{what} '{shown(path)}' is larger than {MAX_BYTES // 1024 // 1024} MiB")
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        problems.error(mark, where, f"{what} '{shown(path)}' is not UTF-8 text")
        return None


def exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def source_of(path: Path, base: Path | None = None) -> Source:
    """How a file is named in errors, and where relative paths in it start."""
    if path == STANDARD_INPUT:
        return Source(name="standard input", base=base or Path.cwd())
    return Source(name=shown(path), base=base or path.absolute().parent)


def located(path: str, mark: Mark) -> Path:
    """A path of a compose file: relative ones start where the file that says them does; `~` is the home directory."""
    expanded = Path(path)
    if path.startswith("~"):
        try:
            expanded = expanded.expanduser()
        except RuntimeError:
            return expanded
    return Path(os.path.normpath(mark.source.base / expanded))
