"""A small image made of the machine's own busybox, for tests that need containers where no registry is reachable."""

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

_APPLETS = (
    "sh",
    "sleep",
    "echo",
    "cat",
    "env",
    "ls",
    "httpd",
    "nc",
    "true",
    "false",
    "touch",
    "test",
    "id",
    "stat",
    "ps",
    "kill",
)


def busybox() -> Path | None:
    """The machine's static busybox, installed when it is missing and this is root on Debian; None where there is none."""
    found = shutil.which("busybox")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["apt-get", "update", "-q"], ["apt-get", "install", "-qy", "busybox-static"]):
            subprocess.run(command, check=False, capture_output=True, timeout=300)
        found = shutil.which("busybox")
    return Path(found) if found else None


def archive(program: Path) -> bytes:
    """A root file system as a tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("bin", "tmp", "run", "etc"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(folder)
        entry = tarfile.TarInfo("bin/busybox")
        content = program.read_bytes()
        entry.size, entry.mode = len(content), 0o755
        tar.addfile(entry, io.BytesIO(content))
        for applet in _APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return buffer.getvalue()
