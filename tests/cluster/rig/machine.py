"""What this machine offers for a rig, and the one way in which a rig runs its commands."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psutil

_TOOLS = {
    "ip": "iproute2",
    "nsenter": "util-linux",
    "iptables": "iptables",
    "nft": "nftables",
    "dockerd": "docker.io",
    "busybox": "busybox-static",
}


def missing() -> str:
    """Why no rig can be had here; empty where one can."""
    if os.geteuid() != 0:
        return "network namespaces and engines need root"
    absent = [f"{tool} (Debian package {package})" for tool, package in _TOOLS.items() if shutil.which(tool) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    return ""


def run(*command: str | Path, check: bool = True, within_s: float = 30) -> str:
    """What a command printed on standard output; raises RuntimeError with its standard error when it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=within_s)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def in_namespace(namespace: str, command: Sequence[str | Path]) -> list[str]:
    """The command as run within a network namespace. Not `ip netns exec`: that hides the cgroup mounts, and engines need them."""
    prefix = ["nsenter", f"--net=/run/netns/{namespace}"] if namespace else []
    return [*prefix, *map(str, command)]


def signal_tree(pid: int, number: signal.Signals, *, but: Sequence[str] = ("containerd-shim",)) -> None:
    """Sends a signal to a process and all below it, the parent first; those with one of these names, and theirs, are left out."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if any(process.name().startswith(name) for name in but):
            return
        process.send_signal(number)
        for child in process.children():
            signal_tree(child.pid, number, but=but)


def fill(path: Path) -> None:
    """Writes a file until its disk is full."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(65536))
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"0")


def storage_driver(folder: Path) -> str:
    """The fastest storage driver that works in a folder."""
    with tempfile.TemporaryDirectory(dir=folder) as base:
        lower, upper, work, merged = (Path(base) / name for name in ("lower", "upper", "work", "merged"))
        for path in (lower, upper, work, merged):
            path.mkdir()
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        done = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, merged], capture_output=True)
        if done.returncode == 0:
            subprocess.run(["umount", merged], check=True)
            return "overlay2"
    if shutil.which("fuse-overlayfs") and Path("/dev/fuse").exists():
        return "fuse-overlayfs"
    return "vfs"
