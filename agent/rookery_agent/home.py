"""The agent's data directory: one agent at a time, its node id, what it holds and remembers.

Invariant: the directory is locked for as long as the process lives; the node id never changes once it is made.
"""

import asyncio
import contextlib
import fcntl
import logging
import math
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from rookery.model import NodeId, Reach, ReplicaId, RuntimeKind
from rookery.process import Stop
from rookery.wire import from_bytes, to_bytes

from rookery_agent import record
from rookery_agent.assignments import Copy, Held, load, read, write_durably
from rookery_agent.record import Record

log = logging.getLogger("rookery.agent")


class Home:
    """The directory at `path`. Raises Stop where it can't be used or another agent uses it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._copy = Copy()
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Stop(f"the data directory {path} can't be used: {error}; name another with --data") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Stop(f"another agent uses the data directory {path}; give each agent its own with --data") from None

    def node_id(self) -> NodeId:
        """Made at the first start."""
        path = self.path / "node-id"
        try:
            known = read(path).decode().strip()
            if not known:
                known = secrets.token_hex(6)
                write_durably(path, f"{known}\n".encode())
        except (OSError, UnicodeDecodeError) as error:
            raise Stop(f"the node's id in {path} can't be read or written: {error}") from error
        return NodeId(known)

    def runtime(self) -> RuntimeKind | None:
        """The kind that this node was of before; None where nothing depends on it."""
        with contextlib.suppress(OSError, ValueError):
            known = RuntimeKind(read(self.path / "runtime").decode().strip())
            if known is RuntimeKind.DOCKER or any((self.path / "replicas").iterdir()):
                return known
        return None

    def keep_runtime(self, kind: RuntimeKind) -> None:
        with contextlib.suppress(OSError):
            write_durably(self.path / "runtime", f"{kind}\n".encode())

    def held(self) -> Held:
        """What was held at the end; nothing where it can't be read, until the manager says it anew."""
        try:
            return load(read(self.path / "assignments"))
        except (OSError, ValueError) as error:
            log.warning("the assignments on disk can't be used (%s); the manager is asked for all of them", error)
            return Held()

    def records(self) -> dict[ReplicaId, Record]:
        try:
            return record.load(read(self.path / "records.json") or b"[]")
        except (OSError, ValueError) as error:
            log.warning("the restart counts on disk can't be used (%s); they begin at 0", error)
            return {}

    def reach(self) -> Reach:
        """What replicas may reach, as the manager said last."""
        try:
            return from_bytes(Reach, read(self.path / "reach"))
        except (OSError, ValueError) as error:
            log.warning("what replicas may reach can't be read (%s); it is nothing until the manager says it anew", error)
            return Reach()

    async def keep_reach(self, reach: Reach) -> None:
        """Raises OSError."""
        await asyncio.to_thread(write_durably, self.path / "reach", to_bytes(reach))

    def lease_until(self) -> float:
        """When the latest lease ends, by `lease.clock`; minus infinity where there was none since this machine started."""
        with contextlib.suppress(OSError, ValueError):
            boot, _, until = read(self.path / "lease").decode().partition(" ")
            if boot == _boot_id() and math.isfinite(float(until)):
                return float(until)
        return -math.inf

    async def keep_lease(self, until: float) -> None:
        """For an agent that starts again on this boot of the machine: nothing that must survive more. Raises OSError."""
        await asyncio.to_thread(_write, self.path / "lease", f"{_boot_id()} {until:.3f}".encode())

    async def keep(self, held: Held) -> None:
        """The set is on disk when this returns. Raises OSError."""
        await asyncio.to_thread(write_durably, self.path / "assignments", self._copy.of(held))

    async def remember(self, records: Mapping[ReplicaId, Record]) -> None:
        data = record.dump(records)
        await asyncio.to_thread(write_durably, self.path / "records.json", data)


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _write(path: Path, data: bytes) -> None:
    """All of `data` is in `path`, or what was there before still is; not yet on the disk."""
    temporary = path.with_suffix(".new")
    temporary.write_bytes(data)
    temporary.replace(path)
