"""CPU and memory of a container from its control group, which costs the engine nothing."""

from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """CPU time so far in seconds, memory now without what the kernel can drop at once."""

    cpu_s: float
    memory_bytes: int


def paths(pid: int, marker: str) -> tuple[Path, Path] | None:
    """The directories with CPU and memory figures of a process; None where they can't be seen from here.

    `marker` (the container's id) must be in the path: it shows that the pid means the same process here as to the engine.
    """
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return None
    found: dict[str, Path] = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if marker not in path:
            continue
        for name in controllers.split(","):
            for folder in (controllers, name):
                candidate = _ROOT / folder / path.lstrip("/")
                if candidate.is_dir():
                    found[name] = candidate
    cpu, memory = found.get("cpuacct", found.get("")), found.get("memory", found.get(""))
    return (cpu, memory) if cpu and memory else None


def usage(cpu: Path, memory: Path) -> Usage | None:
    """What the two directories say; None when they are gone."""
    try:
        if (cpu / "cpuacct.usage").exists():
            cpu_s = int((cpu / "cpuacct.usage").read_text()) / 1e9
            used = int((memory / "memory.usage_in_bytes").read_text())
            idle = _stat(memory / "memory.stat", "total_inactive_file")
        else:
            cpu_s = _stat(cpu / "cpu.stat", "usage_usec") / 1e6
            used = int((memory / "memory.current").read_text())
            idle = _stat(memory / "memory.stat", "inactive_file")
    except (OSError, ValueError):
        return None
    return Usage(cpu_s=cpu_s, memory_bytes=max(0, used - idle))


def _stat(path: Path, key: str) -> int:
    for line in path.read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return int(value)
    return 0
