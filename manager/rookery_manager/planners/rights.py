"""What of a spec reaches beyond its container, which permission that needs, and whether a policy gives it.

Invariant: a container for which nothing is needed can neither change its node nor look into what is not its app's.
"""

import posixpath
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from rookery.model import BindMount, ContainerSpec, NetworkAttachment, Person, Policy, RuntimeKind, ServiceSpec, VolumeMount
from rookery.model import policy as p

# What an ordinary container may have: Docker's own set but NET_RAW, as in the baseline of Kubernetes' Pod Security Standards.
FREE_CAPABILITIES = frozenset(
    {"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID"}
    | {"SETPCAP", "SETUID", "SYS_CHROOT"}
)
FREE_OPTIONS = frozenset({"apparmor=docker-default", "seccomp=builtin"})
FREE_VOLUME_TYPES = frozenset({"nfs", "nfs4", "cifs", "tmpfs"})  # mounts of the local driver that are nothing of the node's
FREE_NETWORK_OPTIONS = frozenset({"com.docker.network.driver.mtu", "com.docker.network.bridge.enable_icc"})
SOCKETS = (
    *("/run/docker.sock", "/var/run/docker.sock", "/run/containerd", "/var/run/containerd", "/run/podman", "/var/run/podman"),
    *("/var/lib/docker", "/var/lib/containerd", "/var/lib/rookery"),  # who may write there has the engine, or the node's identity
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """A permission, what for, and the key of the compose file that asks for it."""

    permission: str
    key: str
    value: str = ""
    read_only: bool = False

    def __str__(self) -> str:
        what = f" {self.value[:100]}" if self.value else ""
        return f"{self.key}:{what} needs the permission {self.permission}"


def needed(app: str, spec: ServiceSpec, other_apps: Collection[str] = ()) -> Iterator[Needed]:
    """All that a service needs. `other_apps` are those that the cluster has beside this one."""
    if spec.runtime is RuntimeKind.PROCESS:
        yield Needed(permission=p.PROCESSES, key="x-rookery.runtime", value="process")
        return
    c = spec.container
    if c.privileged:
        yield Needed(permission=p.PRIVILEGED, key="privileged")
    yield from _namespaces(c)
    for mount in c.mounts:
        if isinstance(mount, BindMount):
            yield from _of_path(mount.source, mount.read_only)
        elif isinstance(mount, VolumeMount):
            yield from _volume(app, mount, other_apps)
    for device in c.devices:
        yield Needed(permission=p.DEVICES, key="devices", value=posixpath.normpath(device.source))
    for name in c.cap_add:
        bare = name.upper().removeprefix("CAP_")
        if bare not in FREE_CAPABILITIES:
            yield Needed(permission=p.CAPABILITIES, key="cap_add", value=bare)
    for option in c.security_opt:
        text = option if "=" in option else option.replace(":", "=", 1)
        if text.partition("=")[0] != "no-new-privileges" and text not in FREE_OPTIONS:
            yield Needed(permission=p.SECURITY_OPTIONS, key="security_opt", value=text)
    for attachment in c.networks:
        yield from _network(app, attachment, other_apps)


def lacking(policy: Policy, person: Person, app: str, wanted: Iterable[Needed]) -> tuple[Needed, ...]:
    """What the policy does not give the person for this app."""
    grants = [grant for rule in policy.rules if rule.is_for(person, app) for grant in rule.may]
    return tuple([need for need in wanted if not any(_gives(grant, need) for grant in grants)])


def _namespaces(c: ContainerSpec) -> Iterator[Needed]:
    for key, value, private in (
        ("network_mode", c.network_mode, ("", "none")),
        ("pid", c.pid, ("", "private")),
        ("ipc", c.ipc, ("", "private", "shareable", "none")),
        ("userns_mode", c.userns_mode, ("",)),
        ("cgroup_parent", c.cgroup_parent, ("",)),
    ):
        if value not in private:
            yield Needed(permission=p.HOST_NAMESPACES, key=key, value=key.partition("_")[0])


def _of_path(source: str, read_only: bool) -> Iterator[Needed]:
    path = "/" + posixpath.normpath(source).lstrip("/")
    yield Needed(permission=p.BIND_MOUNTS, key="volumes", value=path, read_only=read_only)
    if any(_is_below(socket, path) or _is_below(path, socket) for socket in SOCKETS):
        yield Needed(permission=p.ENGINE_SOCKET, key="volumes", value=path)


def _volume(app: str, mount: VolumeMount, other_apps: Collection[str]) -> Iterator[Needed]:
    if mount.volume and (mount.external or _is_anothers(app, mount.volume, other_apps)):
        yield Needed(permission=p.SHARED_VOLUMES, key="volumes", value=mount.volume)
    if mount.driver not in ("", "local"):
        yield Needed(permission=p.BIND_MOUNTS, key="volumes", value=f"driver {mount.driver}")
    elif mount.driver_opts and mount.driver_opts.get("type", "") not in FREE_VOLUME_TYPES:
        device = mount.driver_opts.get("device", "")
        if device.startswith("/"):
            yield from _of_path(device, read_only=False)  # others may mount the same volume for writing
        else:
            yield Needed(permission=p.BIND_MOUNTS, key="volumes", value=device or "driver_opts")


def _network(app: str, attachment: NetworkAttachment, other_apps: Collection[str]) -> Iterator[Needed]:
    if attachment.external or _is_anothers(app, attachment.network, other_apps):
        yield Needed(permission=p.SHARED_NETWORKS, key="networks", value=attachment.network)
    if attachment.driver not in ("", "bridge"):
        yield Needed(permission=p.SHARED_NETWORKS, key="networks", value=f"driver {attachment.driver}")
    for option in sorted(attachment.driver_opts.keys() - FREE_NETWORK_OPTIONS):
        yield Needed(permission=p.SHARED_NETWORKS, key="networks", value=f"option {option}")


def _is_anothers(app: str, name: str, other_apps: Collection[str]) -> bool:
    """Whether a name of the engine's is not of the app's own: `shop_web_data` is of shop, unless there is an app shop_web."""
    return not name.startswith(f"{app}_") or any(
        len(other) > len(app) and name.startswith(f"{other}_") for other in other_apps if other != app
    )


def _gives(grant: p.Grant, need: Needed) -> bool:
    if grant.permission != need.permission:
        return False
    if not grant.values:
        return True
    if need.permission == p.BIND_MOUNTS:
        return any(_covers(value, need) for value in grant.values)
    if need.permission == p.DEVICES:
        return any(_is_below(need.value, value) for value in grant.values)
    return need.value in grant.values


def _covers(given: str, need: Needed) -> bool:
    path = given.removesuffix(":ro")
    return need.value.startswith("/") and _is_below(need.value, path) and (need.read_only or path == given)


def _is_below(path: str, folder: str) -> bool:
    """Whether it is that folder, or somewhere in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")
