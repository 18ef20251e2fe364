"""Secrets and configs: their content, read once, and where services see them."""

import hashlib
from collections.abc import Mapping

from rookery.compose.check import did_you_mean
from rookery.compose.files import located, read_bytes
from rookery.compose.nodes import Scalar
from rookery.compose.view import View
from rookery.model import FileContent, FileKind, FileMount

MAX_BYTES = 500_000  # as Swarm's limit for secrets; they are kept in the manager's store


class Contents:
    """The secrets and configs of an app; only those that a service uses are read."""

    def __init__(self, described: Mapping[FileKind, Mapping[str, View]], env: Mapping[str, str]) -> None:
        self._described = described
        self._env = env
        self._read: dict[tuple[FileKind, str], FileContent | None] = {}

    def used(self) -> tuple[FileContent, ...]:
        found = [content for content in self._read.values() if content is not None]
        return tuple(sorted(found, key=lambda content: (content.kind, content.name)))

    def mounts(self, service: View) -> tuple[FileMount, ...]:
        found: list[FileMount] = []
        for kind, key in ((FileKind.SECRET, "secrets"), (FileKind.CONFIG, "configs")):
            for view in service.items(key):
                mount = self._mount(kind, key, view)
                if mount is not None:
                    found.append(mount)
        return tuple(found)

    def _mount(self, kind: FileKind, key: str, view: View) -> FileMount | None:
        name = view.text("source")
        if not name:
            return None
        known = self._described[kind]
        if name not in known:
            hint = did_you_mean(name, known) if known else ""
            view.error("source", f"{kind} '{name}' is not defined", hint or f"add it under the top-level `{key}:`")
            return None
        source = _source(kind, name, known[name])
        if not source and (kind, name) not in self._read:
            self._read[kind, name] = self._content(kind, name, known[name])
        content = self._read[kind, name] if not source else None
        if content is None and not source:
            return None
        target = view.text("target") or name
        if not target.startswith("/"):
            target = f"/run/secrets/{target}" if kind is FileKind.SECRET else f"/{target}"
        mode = view.mode("mode")
        return FileMount(
            kind=kind,
            name=name,
            target=target,
            uid=view.text("uid"),
            gid=view.text("gid"),
            mode=0o444 if mode is None else mode,
            digest=content.digest if content is not None else "",
            source=source,
        )

    def _content(self, kind: FileKind, name: str, view: View) -> FileContent | None:
        given = [key for key in ("file", "environment", "content") if view.has(key)]
        if view.has("name"):
            view.warn("name", "has no effect without `external: true`: it goes by its key within the app")
        if len(given) != 1:
            ways = "file, environment or external" if kind is FileKind.SECRET else "file, environment, content or external"
            view.error("", f"expected one of {ways}" + (f", got {' and '.join(given)}" if given else ""))
            return None
        content = self._bytes(view, given[0], kind)
        if content is None:
            return None
        if len(content) > MAX_BYTES:
            view.error(given[0], f"larger than the {MAX_BYTES:,} bytes that a {kind} can have", "use a volume")
            return None
        return FileContent(kind=kind, name=name, content=content, digest=hashlib.sha256(content).hexdigest())

    def _bytes(self, view: View, key: str, kind: FileKind) -> bytes | None:
        written = view.get(key)
        if not isinstance(written, Scalar):
            if key == "content" and written is not None:
                view.error(key, "expected text")
            return None
        if key == "content":
            return written.text.encode()
        if key == "environment":
            value = self._env.get(written.text)
            if value is None:
                view.error(key, f"variable {written.text} is not set", "set it in the environment or in .env")
                return None
            return value.encode(errors="surrogateescape")
        return read_bytes(located(written.text, written.mark), written.mark, view.where(key), view.problems, f"{kind} file")


def _source(kind: FileKind, name: str, view: View) -> str:
    """By which name it is kept in the cluster; empty where its content is given here."""
    if not view.flag("external"):
        return ""
    for key in ("file", "environment", "content"):
        if view.has(key):
            view.error(key, f"an external {kind} has its content in the cluster", f"leave out `{key}:`, or `external:`")
    return view.text("name") or name
