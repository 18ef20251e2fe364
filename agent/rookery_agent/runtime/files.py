"""Secrets and configs as the files that a replica finds."""

import hashlib
import io
import posixpath
import tarfile
from collections.abc import Mapping

from rookery.model import Assignment, FileMount

from rookery_agent.runtime.protocol import RuntimeFailure


def contents(a: Assignment) -> Mapping[FileMount, bytes]:
    """The content of each file. Raises RuntimeFailure where one did not come with the assignment."""
    given = {(file.kind, file.name): file for file in a.files}
    found: dict[FileMount, bytes] = {}
    for mount in a.spec.container.files:
        file = given.get((mount.kind, mount.name))
        if file is None:
            raise RuntimeFailure(
                f"the content of {mount.kind} {mount.name} is not here: it is never kept on this node's disk, "
                "and comes with the manager's next word"
            )
        if mount.digest and hashlib.sha256(file.content).hexdigest() != mount.digest:
            raise RuntimeFailure(f"the content of {mount.kind} {mount.name} is not the one that its spec means")
        found[mount] = file.content
    return found


def owner(mount: FileMount) -> tuple[int, int]:
    """The file's uid and gid; 0 where none is given. Raises RuntimeFailure for a name: only numbers mean the same everywhere."""
    try:
        return int(mount.uid or 0), int(mount.gid or 0)
    except ValueError:
        raise RuntimeFailure(
            f"{mount.kind} {mount.name}: uid and gid must be numbers, got {mount.uid!r}, {mount.gid!r}"
        ) from None


def archives(a: Assignment, own_dirs: tuple[str, ...]) -> Mapping[str, bytes]:
    """Tar archives by the directory to unpack them in: the nearest of `own_dirs`, else `/`."""
    sorted_out: dict[str, dict[FileMount, bytes]] = {}
    for mount, content in contents(a).items():
        within = [folder for folder in own_dirs if mount.target.startswith(f"{folder}/")]
        sorted_out.setdefault(max(within, key=len, default="/"), {})[mount] = content
    return {folder: _archive(folder, files) for folder, files in sorted_out.items()}


def _archive(folder: str, files: Mapping[FileMount, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for mount, content in files.items():
            entry = tarfile.TarInfo(posixpath.relpath(mount.target, folder))
            entry.size, entry.mode = len(content), mount.mode
            entry.uid, entry.gid = owner(mount)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
