"""Volumes, bind mounts and tmpfs of a service."""

from collections.abc import Sequence

from rookery.compose import units
from rookery.compose.check import did_you_mean
from rookery.compose.files import located
from rookery.compose.nodes import Scalar
from rookery.compose.view import View
from rookery.model import BindMount, FileMount, Mount, TmpfsMount, VolumeMount


def mounts(service: View, app: str, volumes: dict[str, View]) -> tuple[Mount, ...]:
    found: list[Mount] = []
    for view in service.items("volumes"):
        mount = _mount(view, app, volumes)
        if mount is not None:
            found.append(mount)
    for i, written in enumerate(service.scalars("tmpfs")):
        found.append(_tmpfs(service, i, written))
    return tuple(found)


def check_targets(service: View, mounts: Sequence[Mount], files: Sequence[FileMount]) -> None:
    """Each place in the container is one thing's."""
    taken: set[str] = set()
    for target in (*(mount.target for mount in mounts), *(file.target for file in files)):
        if target in taken:
            service.error("", f"two things are mounted at {target}")
        taken.add(target)


def _mount(view: View, app: str, volumes: dict[str, View]) -> Mount | None:
    target, kind = view.text("target"), view.text("type")
    foreign = {"volume", "bind", "tmpfs"} - {kind} if kind != "tmpfs" else {"volume", "bind", "source", "read_only"}
    for key in sorted(foreign):
        if view.has(key):
            view.warn(key, f"has no effect on a mount of type {kind}")
    read_only = view.flag("read_only")
    if kind == "tmpfs":
        options = view.child("tmpfs")
        return TmpfsMount(target=target, size_bytes=options.bytes("size") or 0, mode=options.mode("mode") or 0)
    source = view.get("source")
    name = source.text if isinstance(source, Scalar) else ""
    if kind == "bind":
        if not isinstance(source, Scalar) or not name:
            view.error("", "a bind mount needs a 'source'")
            return None
        if not name.startswith("/"):
            hint = "use a volume, a config, or an absolute path that nodes have"
            view.warn("source", f"'{name}' is {located(name, source.mark)}, which must be there on each node it runs on", hint)
        options = view.child("bind")
        return BindMount(
            source=str(located(name, source.mark)),
            target=target,
            read_only=read_only,
            propagation=options.text("propagation"),
            create_host_path=options.flag("create_host_path", True),
        )
    if kind != "volume":
        return None
    options = view.child("volume")
    no_copy, subpath = options.flag("nocopy"), options.text("subpath")
    if not name:
        return VolumeMount(volume="", target=target, read_only=read_only, no_copy=no_copy, subpath=subpath)
    volume = volumes.get(name)
    if volume is None:
        hint = did_you_mean(name, volumes) if volumes else ""
        view.error(
            "source",
            f"volume '{name}' is not defined",
            hint or "add it under the top-level `volumes:`, or write ./ before a path",
        )
        return None
    external = volume.flag("external")
    return VolumeMount(
        volume=volume.text("name") or (name if external else f"{app}_{name}"),
        target=target,
        read_only=read_only,
        driver=volume.text("driver"),
        driver_opts=volume.labels("driver_opts"),
        labels=volume.labels("labels"),
        external=external,
        no_copy=no_copy,
        subpath=subpath,
    )


def _tmpfs(service: View, index: int, written: Scalar) -> TmpfsMount:
    """`TARGET[:size=64m,mode=1777]`."""
    where = f"{service.where('tmpfs')}[{index}]"
    target, _, options = written.text.partition(":")
    if not target.startswith("/"):
        service.problems.error(written.mark, where, f"expected an absolute path in the container, got '{target}'")
    size, mode = 0, 0
    for option in filter(None, options.split(",")):
        name, _, value = option.partition("=")
        parsed = units.size_bytes(value) if name == "size" else units.file_mode(value) if name == "mode" else None
        if name not in ("size", "mode"):
            service.problems.warn(written.mark, where, f"'{option}' has no effect: tmpfs takes size and mode")
        elif parsed is None:
            service.problems.error(written.mark, where, f"'{option}' is not understood", "such as size=64m or mode=1777")
        elif name == "size":
            size = parsed
        else:
            mode = parsed
    return TmpfsMount(target=target, size_bytes=size, mode=mode)
