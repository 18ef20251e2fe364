"""Free ports for plain processes, so that no two agents of a machine give out the same one.

Invariant: a port is taken for as long as the lock on its file is held; the supervisor of the process holds it, not the agent.
"""

import fcntl
import os
import random
import socket
import stat
import tempfile
from pathlib import Path

from rookery_agent.runtime.protocol import RuntimeFailure

# Below where Linux takes ports for outgoing connections from.
_FIRST, _LAST = 20000, 32767


def take(wanted: int, seed: int) -> tuple[int, int]:
    """A free port, `wanted` if that is one, and the descriptor that holds its lock. Raises RuntimeFailure."""
    choice = random.Random(seed)
    for candidate in (wanted, *(choice.randint(_FIRST, _LAST) for _ in range(200))):
        if candidate:
            lock = _lock(candidate)
            if lock is not None:
                return candidate, lock
    raise RuntimeFailure(f"no free port between {_FIRST} and {_LAST} on this machine")


def _lock(port: int) -> int | None:
    folder = Path(tempfile.gettempdir()) / "rookery-ports"
    try:
        _make_shared(folder)
        lock = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except PermissionError:
        return None
    except OSError as error:
        raise RuntimeFailure(f"ports can't be taken: {error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _free(port):
            return lock
    except OSError:
        pass
    os.close(lock)
    return None


def _make_shared(folder: Path) -> None:
    """A directory in which other users' agents take part. Raises RuntimeFailure where something else has its name: a link there
    would be somebody's who wants a directory of ours opened to all."""
    try:
        folder.mkdir()
    except FileExistsError:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise RuntimeFailure(f"ports can't be taken: {folder} is no directory; remove it") from None
    else:
        folder.chmod(0o1777)


def _free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
