"""What is known on disk of a cluster that `rookery up` runs: who supervises it, and which processes are its parts.

Two things say that it runs: a lock that only a living supervisor holds, and a record of processes by number *and* time of start.
A process whose number was given to another since is never taken for a part.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

_RECORD = "up.json"
_LOCK = "up.lock"  # also the mark of a directory that is ours
_OURS = ("manager", "nodes", "proxy", "logs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """`born` tells it from any other process that ever has its number."""

    name: str
    pid: int
    born: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    supervisor: Process
    manager: str = ""  # HOST:PORT
    ready: bool = False
    parts: tuple[Process, ...] = ()


class NotOurs(Exception):
    """A directory that holds something else."""


def born(pid: int) -> str:
    """When a living process was started, in a form only good for comparing; empty where there is none, or it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except FileNotFoundError:
        return "" if Path("/proc/self/stat").exists() else _born_without_proc(pid)
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else f"{boot}/{fields[19]}"


def _born_without_proc(pid: int) -> str:
    import psutil  # lazy: only where there is no /proc

    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return ""


def is_alive(process: Process) -> bool:
    return bool(process.born) and born(process.pid) == process.born


def send(process: Process, number: signal.Signals) -> bool:
    """Sends a signal, to this very process or to none; False where it is gone."""
    if not is_alive(process):
        return False
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def prepare(data: Path, *, fresh: bool) -> None:
    """Makes the directory, or empties it of what an earlier cluster left. Raises NotOurs for one with other things in it."""
    if data.exists() and any(data.iterdir()) and not (data / _LOCK).exists():
        raise NotOurs(f"{data} holds files that are not of a cluster made by 'rookery up'; name another directory with --data")
    data.mkdir(parents=True, exist_ok=True)
    (data / _LOCK).touch()
    if fresh:
        for name in _OURS:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(data / name)


@contextlib.contextmanager
def only_supervisor(data: Path, *, patience_s: float = 0.5) -> Iterator[bool]:
    """True, and the lock until the block ends, unless another process keeps it: one that only asks has it for a moment."""
    deadline = time.monotonic() + patience_s
    with (data / _LOCK).open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.02)
                    continue
                yield False
            else:
                yield True
            return


def is_supervised(data: Path) -> bool:
    if not (data / _LOCK).exists():
        return False
    with only_supervisor(data, patience_s=0) as free:
        return not free


def read(data: Path) -> Record | None:
    """The record; None where there is none, or none that can be read."""
    try:
        found = json.loads((data / _RECORD).read_bytes())
        parts = tuple(Process(**part) for part in found["parts"])
        return Record(supervisor=Process(**found["supervisor"]), manager=found["manager"], ready=found["ready"], parts=parts)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(data: Path, record: Record) -> None:
    with tempfile.NamedTemporaryFile("w", dir=data, delete=False) as file:
        json.dump(asdict(record), file, indent=2)
    os.replace(file.name, data / _RECORD)


def stop_leftovers(data: Path, *, within_s: float, say: Callable[[str], None]) -> None:
    """Stops parts whose supervisor died, the last started first."""
    record = read(data)
    for part in reversed(record.parts if record else ()):
        if not send(part, signal.SIGTERM):
            continue
        say(f"stopping {part.name} (process {part.pid}), left over from a supervisor that died")
        deadline = time.monotonic() + within_s
        while is_alive(part):
            if time.monotonic() > deadline:
                send(part, signal.SIGKILL)
            time.sleep(0.05)
