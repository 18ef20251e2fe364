"""A 2 MB image of busybox, made without a registry: what the replicas of cluster tests and benchmarks run."""

import hashlib
import io
import json
import platform
import shutil
import tarfile
from pathlib import Path

IMAGE = "rookery-rig/busybox:1"
WEB_SERVER = ["nc", "-" + "l" * 32, "-p", "8000", "-e", "sh", "/bin/web"]
"""Serves HTTP on port 8000 and keeps connections open (web.sh). Each `l` is one more connection that may wait."""


def busybox_archive() -> bytes:
    """The image as `docker load` takes it; the same binary makes the same bytes, so one id on all engines."""
    layer = _layer()
    config = {
        "architecture": "amd64" if platform.machine() == "x86_64" else "arm64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sleep", "1000000000"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{"created": "1970-01-01T00:00:00Z", "comment": "busybox-static"}],
        "created": "1970-01-01T00:00:00Z",
    }
    config_bytes = json.dumps(config).encode()
    config_name = f"{hashlib.sha256(config_bytes).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    return _tar({config_name: config_bytes, "layer.tar": layer, "manifest.json": json.dumps(manifest).encode()})


def _layer() -> bytes:
    found = shutil.which("busybox")
    if found is None:
        raise RuntimeError("busybox is not installed (Debian package busybox-static)")
    binary = Path(found).read_bytes()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in ("bin", "tmp", "www", "etc"):
            entry = tarfile.TarInfo(folder)
            entry.type = tarfile.DIRTYPE
            entry.mode = 0o1777 if folder == "tmp" else 0o755
            archive.addfile(entry)
        entry = tarfile.TarInfo("bin/busybox")
        entry.size, entry.mode = len(binary), 0o755
        archive.addfile(entry, io.BytesIO(binary))
        server = Path(__file__).with_name("web.sh").read_bytes()
        entry = tarfile.TarInfo("bin/web")
        entry.size, entry.mode = len(server), 0o755
        archive.addfile(entry, io.BytesIO(server))
        for applet in (
            "sh",
            "sleep",
            "httpd",
            "nc",
            "cat",
            "echo",
            "ls",
            "wget",
            "true",
            "false",
            "date",
            "hostname",
            "kill",
            "ps",
        ):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return buffer.getvalue()


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
