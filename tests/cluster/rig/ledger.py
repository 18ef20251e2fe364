"""The numbers of rigs, and how all that carries a number is taken down, also when its owner is long dead.

A rig's number is a file that its owner keeps locked; the kernel drops the lock with the owner. So whoever can lock the file may
take that rig down: nothing of a living rig is ever touched.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil

from rig.machine import run
from rig.waiting import wait_until

_NUMBERS = Path("/run/rookery-rigs")
_HIGHEST = 250
_CGROUPS = Path("/sys/fs/cgroup")


class Ledger:
    """A number, and the names made from it. Names of network devices hold at most 15 characters."""

    def __init__(self, number: int, lock: int) -> None:
        self.number = number
        self._lock = lock

    @property
    def bridge(self) -> str:
        return f"rk{self.number}"

    @property
    def folder(self) -> Path:
        return Path("/var/tmp") / f"rookery-rig-{self.number}"

    @property
    def gateway(self) -> str:
        """This machine's own address on the bridge."""
        return f"10.77.{self.number}.254"

    def address(self, index: int) -> str:
        return f"10.77.{self.number}.{index}"

    def namespace(self, index: int) -> str:
        return f"rk{self.number}h{index}"

    def veth(self, index: int) -> str:
        """The bridge's end of a host's link."""
        return f"rk{self.number}v{index}"

    def cgroup(self, index: int) -> str:
        return f"/rk{self.number}-h{index}"

    def take_down(self) -> None:
        """Removes all that carries the number, in whatever state it is; then the number is free again."""
        self._kill()
        for name in self._namespaces():
            run("ip", "netns", "delete", name, check=False)
        run("ip", "link", "delete", self.bridge, check=False)
        accept_forwarding(self.bridge, False)
        for mount in _mounts_under(self.folder):
            run("umount", "--lazy", mount, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
        for path in self._cgroup_folders():
            for inner in [*sorted(path.rglob("*/"), reverse=True), path]:
                with contextlib.suppress(OSError):
                    inner.rmdir()
        self._path(self.number).unlink(missing_ok=True)
        os.close(self._lock)

    def _namespaces(self) -> list[str]:
        return [path.name for path in Path("/run/netns").glob(f"rk{self.number}h*")]

    def _cgroup_folders(self) -> list[Path]:
        name = f"rk{self.number}-h*"
        return [path for base in (_CGROUPS, *_CGROUPS.glob("*/")) for path in base.glob(name)]

    def _processes(self) -> set[int]:
        """What runs in the rig's namespaces or cgroups, or has its folder in the command line."""
        found: set[int] = set()
        for name in self._namespaces():
            found.update(int(pid) for pid in run("ip", "netns", "pids", name, check=False).split())
        for path in self._cgroup_folders():
            for procs in path.rglob("cgroup.procs"):
                with contextlib.suppress(OSError):
                    found.update(int(pid) for pid in procs.read_text().split())
        for process in psutil.process_iter(["cmdline"]):
            if any(f"{self.folder}/" in part for part in process.info["cmdline"] or ()):
                found.add(process.pid)
        return found - {os.getpid()}

    def _kill(self) -> None:
        def none_left() -> bool:
            left = [pid for pid in self._processes() if _lives(pid)]
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not left

        wait_until(none_left, within_s=30, what=f"the processes of rig {self.number} to end")

    @staticmethod
    def _path(number: int) -> Path:
        return _NUMBERS / str(number)

    @classmethod
    def take(cls) -> "Ledger":
        """A number of its own."""
        for number in range(1, _HIGHEST + 1):
            if not cls._path(number).exists():
                ledger = cls._lock_number(number)
                if ledger is not None:
                    return ledger
        raise RuntimeError(f"all {_HIGHEST} rigs are in use; see {_NUMBERS}")

    @classmethod
    def abandoned(cls) -> Iterator["Ledger"]:
        """The rigs whose owners are dead."""
        for path in sorted(_NUMBERS.glob("*")):
            ledger = cls._lock_number(int(path.name))
            if ledger is not None:
                yield ledger

    @classmethod
    def _lock_number(cls, number: int) -> "Ledger | None":
        _NUMBERS.mkdir(parents=True, exist_ok=True)
        path = cls._path(number)
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock).st_ino == path.stat().st_ino:  # else the file was removed while we opened it
                return cls(number, lock)
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(lock)
        return None


def accept_forwarding(bridge: str, wanted: bool) -> None:
    """Lets frames over the bridge pass where br_netfilter shows them to a FORWARD chain that drops by default."""
    for tool in ("iptables-nft", "iptables-legacy"):
        if shutil.which(tool) is None:
            continue
        rule = ["FORWARD", "-i", bridge, "-o", bridge, "-j", "ACCEPT"]
        present = subprocess.run([tool, "-w", "-C", *rule], capture_output=True).returncode == 0
        if wanted and not present and "-P FORWARD DROP" in run(tool, "-w", "-S", "FORWARD", check=False):
            run(tool, "-w", "-I", *rule)
        if not wanted and present:
            run(tool, "-w", "-D", *rule, check=False)


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _mounts_under(folder: Path) -> list[str]:
    """Innermost first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted((point for point in points if point.startswith(f"{folder}/")), reverse=True)
