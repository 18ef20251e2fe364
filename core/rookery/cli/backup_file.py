"""Writing a backup to a file: whole and as the manager sent it, or not at all."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO

from rookery.client.values import BackupPart

Tell = Callable[[int, int], None]  # bytes so far, of so many


class Broken(Exception):
    """What came is not what was sent."""


def receive(parts: Iterable[BackupPart], file: IO[bytes], tell: Tell) -> int:
    """Writes the data of the parts; how many bytes. Raises Broken where they are not all, or not as the manager sent them."""
    digest, wanted, got, told = hashlib.sha256(), 0, 0, ""
    for part in parts:
        wanted, told = part.size_bytes or wanted, part.sha256 or told
        file.write(part.data)
        digest.update(part.data)
        got += len(part.data)
        tell(got, wanted)
    if got != wanted or digest.hexdigest() != told:
        raise Broken(
            f"the backup did not arrive whole: {got} of {wanted} bytes, {'another digest' if told else 'no digest'}; try again"
        )
    return got


def save(parts: Iterable[BackupPart], path: Path, tell: Tell) -> int:
    """As `receive`, into a file that only its owner can read and that takes its name when all of it is on the disk."""
    descriptor, half = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".half")
    try:
        with os.fdopen(descriptor, "wb") as file:
            size = receive(parts, file, tell)
            file.flush()
            os.fsync(file.fileno())
        os.replace(half, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(half)
    return size
