"""Secrets and configs as the files that a replica finds: one directory a replica, on a file system that lies in memory.

Invariant: a replica's directory is whole or not there, nobody but its reader can look into it, and it goes with the replica. It
outlives the agent and the engine, which both may start again; the machine's memory it does not.
"""

import logging
import os
import shutil
import stat
import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from rookery.model import Assignment, FileMount, ReplicaId

from rookery_agent.runtime.protocol import RuntimeFailure

log = logging.getLogger("rookery.agent")

_IN_MEMORY = ("tmpfs", "ramfs")


class ReplicaFiles:
    """Under `root`; `in_memory` says whether that is what it should be."""

    def __init__(self, root: Path, *, in_memory: bool) -> None:
        self.root = root
        self.in_memory = in_memory
        self._lock = threading.Lock()  # a directory that is empty goes, unless one is made in it just then

    def put(self, a: Assignment, *, reader: tuple[int, int] = (0, 0)) -> Mapping[FileMount, Path]:
        """Where each file of the replica lies; made where they are not there yet. What has no owner of its own is the reader's.

        Raises RuntimeFailure where a content did not come with the assignment, or can't be put there.
        """
        folder = self._folder(a.replica_id)
        mounts = a.spec.container.files
        if not folder.is_dir():
            found = contents(a)
            if not self.in_memory:
                log.warning(
                    "%s: its secrets and configs lie on a disk, in %s: this machine has no tmpfs for them", a.name, folder
                )
            try:
                with self._lock:
                    self._write(folder, found, reader)
            except OSError as error:
                raise RuntimeFailure(f"{a.name}: its secrets and configs can't be put into {self.root}: {error}") from error
        return {mount: folder / _below(mount) for mount in mounts}

    def folder(self, replica_id: ReplicaId) -> Path:
        """Below it each file lies at its target."""
        return self._folder(replica_id)

    def drop(self, replica_id: ReplicaId) -> None:
        with self._lock:
            shutil.rmtree(self._folder(replica_id), ignore_errors=True)
            self._leave()

    def sweep(self, keep: Collection[ReplicaId]) -> None:
        """Removes what an agent left that was killed at the wrong moment."""
        with self._lock, suppress(OSError):
            for folder in tuple(self.root.iterdir()):
                if folder.name not in keep:
                    shutil.rmtree(folder, ignore_errors=True)
            self._leave()

    def _leave(self) -> None:
        with suppress(OSError):  # others are in it
            self.root.rmdir()

    def _folder(self, replica_id: ReplicaId) -> Path:
        if not replica_id or "/" in replica_id or replica_id.startswith("."):
            raise RuntimeFailure(f"{replica_id!r} is no id of a replica")
        return self.root / replica_id

    def _write(self, folder: Path, found: Mapping[FileMount, bytes], reader: tuple[int, int]) -> None:
        for above in (self.root.parent, self.root):  # to be gone through, not to be looked into
            if not above.is_dir():
                above.mkdir(mode=0o700, parents=True, exist_ok=True)
                above.chmod(0o711)
            _check_own(above)
        new = self.root / f".{folder.name}"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        for mount, content in found.items():
            path = new / _below(mount)
            _make_folders(new, path.parent, reader)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(content)
                _give(file.fileno(), owner(mount, reader))
                os.fchmod(file.fileno(), mount.mode)
        _give(new, reader)
        new.rename(folder)


def in_memory(node_id: str, *, wanted: Path | None, fallback: Path) -> ReplicaFiles:
    """The files of a node: below `wanted`, else in /run, in the user's own part of it, or in /dev/shm; what is a tmpfs first.

    Where nothing is one, they lie in `fallback`, on a disk, and that is said.
    """
    runtime_dir = os.environ.get("XDG_RUNTIME_DIR", "")
    mine = Path("/run/rookery") if os.geteuid() == 0 else Path(runtime_dir or "/nowhere") / "rookery"
    kinds = _file_systems()
    for place in [wanted] if wanted is not None else [mine, Path(f"/dev/shm/rookery-{os.geteuid()}")]:
        if place is not None and _kind_of(place, kinds) in _IN_MEMORY:
            return ReplicaFiles((place / node_id).absolute(), in_memory=True)
    place = wanted or fallback
    log.warning("secrets and configs of replicas would lie on a disk, in %s: it is no tmpfs; name one with --files DIR", place)
    return ReplicaFiles((place / node_id).absolute(), in_memory=False)


def contents(a: Assignment) -> Mapping[FileMount, bytes]:
    """The content of each file. Raises RuntimeFailure where one did not come with the assignment."""
    given = {(file.kind, file.name): file for file in a.files}
    found: dict[FileMount, bytes] = {}
    for mount in a.spec.container.files:
        file = given.get((mount.kind, mount.name))
        if file is None:
            raise RuntimeFailure(
                f"the content of {mount.kind} {mount.name} is not here: it is never kept on this node's disk, "
                "and comes with the manager's next word, once the manager is unlocked"
            )
        if file.digest != mount.digest:
            raise RuntimeFailure(f"the content of {mount.kind} {mount.name} is not the one that its spec means")
        found[mount] = file.content
    return found


def owner(mount: FileMount, reader: tuple[int, int]) -> tuple[int, int]:
    """The file's uid and gid. Raises RuntimeFailure for a name: only numbers mean the same everywhere."""
    try:
        return int(mount.uid or reader[0]), int(mount.gid or reader[1])
    except ValueError:
        raise RuntimeFailure(
            f"{mount.kind} {mount.name}: uid and gid must be numbers, got {mount.uid!r}, {mount.gid!r}"
        ) from None


def _below(mount: FileMount) -> Path:
    target = Path(mount.target)
    if not target.is_absolute() or ".." in target.parts or len(target.parts) < 2:
        raise RuntimeFailure(f"{mount.kind} {mount.name}: {mount.target!r} is no path of a file")
    return target.relative_to("/")


def _make_folders(top: Path, folder: Path, reader: tuple[int, int]) -> None:
    for above in (*reversed(folder.relative_to(top).parents), folder.relative_to(top)):
        if above != Path() and not (top / above).is_dir():
            (top / above).mkdir(mode=0o700)
            _give(top / above, reader)


def _give(path: Path | int, to: tuple[int, int]) -> None:
    """Nobody but root can give a file away; for anybody else all files are their own."""
    if os.geteuid() == 0:
        os.chown(path, *to)
    elif to[0] not in (0, os.geteuid()):
        raise RuntimeFailure(f"only an agent that runs as root can give a file to user {to[0]}")


def _check_own(folder: Path) -> None:
    """In a directory that all may write to somebody else may have been there first."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
        raise RuntimeFailure(f"{folder} is not this agent's own: others can write there; remove it, or name another with --files")


def _file_systems() -> Mapping[str, str]:
    """The kind of file system by mount point, the latest of each; nothing where that can't be read."""
    found: dict[str, str] = {}
    with suppress(OSError, IndexError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            before, _, after = line.partition(" - ")
            found[before.split()[4]] = after.split()[0]
    return found


def _kind_of(path: Path, kinds: Mapping[str, str]) -> str:
    """Of the file system that the path is, or would be, on; empty where none could be made there."""
    there = path
    while not there.exists():
        there = there.parent
    if not os.access(there, os.W_OK | os.X_OK):
        return ""
    real = there.resolve()
    return next((kinds[str(above)] for above in (real, *real.parents) if str(above) in kinds), "")
