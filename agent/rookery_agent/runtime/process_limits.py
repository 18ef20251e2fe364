"""Memory, CPU and process limits of plain processes: by control groups where they can be written, else by what is left.

Invariant: a group is made under `rookery-NODE` only, and removed with its replica.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from rookery.model import NodeId, ReplicaId, Resources, Ulimit

_ROOT = Path("/sys/fs/cgroup")
_PERIOD_US = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a supervisor is told: directories of control groups to enter, resource limits by name."""

    cgroups: tuple[str, ...] = ()
    rlimits: tuple[tuple[str, int, int], ...] = ()


class Groups:
    """The control groups of one node's replicas."""

    def __init__(self, node_id: NodeId, root: Path = _ROOT) -> None:
        self._name = f"rookery-{node_id}"
        self._unified = (root / "cgroup.controllers").exists()
        kinds = [""] if self._unified else ["memory", "cpu", "pids"]
        self._parents = {kind: root / kind / self._name for kind in kinds}
        self.usable = all(self._open(parent) for parent in self._parents.values())
        self.close()

    def describe(self) -> str:
        if self.usable:
            return "limits by control groups"
        return "memory limited by RLIMIT_DATA, CPU not limited: control groups can't be written here"

    def limits(self, replica_id: ReplicaId, wanted: Resources, ulimits: tuple[Ulimit, ...]) -> Limits:
        """Makes the groups that are needed. Raises OSError."""
        rlimits = [(f"RLIMIT_{u.name.upper()}", u.soft, u.hard) for u in ulimits]
        if not (wanted.memory_bytes or wanted.cpus or wanted.pids > 0):
            return Limits(rlimits=tuple(rlimits))
        if not self.usable:
            if wanted.memory_bytes:
                rlimits.append(("RLIMIT_DATA", wanted.memory_bytes, wanted.memory_bytes))
            return Limits(rlimits=tuple(rlimits))
        made = []
        for kind, parent in self._parents.items():
            self._open(parent)
            folder = parent / replica_id
            folder.mkdir(exist_ok=True)
            for name, value in self._settings(kind, wanted):
                (folder / name).write_text(value)
            made.append(str(folder))
        return Limits(cgroups=tuple(made), rlimits=tuple(rlimits))

    def remove(self, replica_id: ReplicaId) -> None:
        for parent in self._parents.values():
            with contextlib.suppress(OSError):
                (parent / replica_id).rmdir()
        self.close()

    def close(self) -> None:
        """Removes the parents, if nothing is in them."""
        for parent in self._parents.values():
            with contextlib.suppress(OSError):
                parent.rmdir()

    def _open(self, parent: Path) -> bool:
        """Makes a parent, so that replicas can have groups in it; false where that is not allowed."""
        try:
            parent.mkdir(exist_ok=True)
            if self._unified:
                (parent.parent / "cgroup.subtree_control").write_text("+memory +cpu +pids")
                (parent / "cgroup.subtree_control").write_text("+memory +cpu +pids")
        except OSError:
            return False
        return os.access(parent, os.W_OK)

    def _settings(self, kind: str, wanted: Resources) -> list[tuple[str, str]]:
        """File names and values of one group."""
        found: list[tuple[str, str]] = []
        if wanted.memory_bytes and kind in ("", "memory"):
            found.append(("memory.max" if self._unified else "memory.limit_in_bytes", str(wanted.memory_bytes)))
        if wanted.cpus and kind in ("", "cpu"):
            quota = max(1000, round(wanted.cpus * _PERIOD_US))
            found.append(("cpu.max", f"{quota} {_PERIOD_US}") if self._unified else ("cpu.cfs_quota_us", str(quota)))
        if wanted.pids > 0 and kind in ("", "pids"):
            found.append(("pids.max", str(wanted.pids)))
        return found
