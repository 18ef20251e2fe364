"""What is wrong with the parts of a service's spec: its container, ports and probe."""

import re
from collections.abc import Iterator

from rookery.model import (
    BindMount,
    CommandProbe,
    ContainerSpec,
    HttpProbe,
    HttpRoute,
    PortMode,
    Probe,
    ServiceSpec,
    TcpProbe,
)

_IMAGE = re.compile(r"[^\s\x00-\x1f]{1,512}")
_SIGNAL = re.compile(r"[A-Z][A-Z0-9+-]{0,15}|[0-9]{1,2}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PERMISSIONS = re.compile(r"r?w?m?")
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*")


def container_faults(container: ContainerSpec, path: str) -> Iterator[str]:
    if container.image and not _IMAGE.fullmatch(container.image):
        yield f"{path}.image: {container.image[:80]!r} is no name of an image"
    if container.stop_signal and not _SIGNAL.fullmatch(container.stop_signal):
        yield f"{path}.stop_signal: {container.stop_signal[:80]!r} is no signal; try SIGTERM"
    if container.working_dir and not container.working_dir.startswith("/"):
        yield f"{path}.working_dir: {container.working_dir[:80]!r} is not an absolute path"
    if container.network_mode not in ("", "host", "none"):
        yield f"{path}.network_mode: {container.network_mode[:80]!r} can't be had on a cluster; leave it out, or use host or none"
    targets: set[str] = set()
    for index, mount in enumerate(container.mounts):
        yield from _target_faults(mount.target, f"{path}.mounts[{index}]", targets)
        if isinstance(mount, BindMount) and not mount.source.startswith("/"):
            yield f"{path}.mounts[{index}].source: {mount.source[:80]!r} is not an absolute path on the node"
    for index, file in enumerate(container.files):
        yield from _target_faults(file.target, f"{path}.files[{index}]", targets)
        if not _DIGEST.fullmatch(file.digest):
            yield f"{path}.files[{index}].digest: not the sha256 of the content in 64 hexadecimal digits"
        if file.mode > 0o7777:
            yield f"{path}.files[{index}].mode: {file.mode:o} (octal) are no permission bits"
    for index, device in enumerate(container.devices):
        if not device.source or not device.target:
            yield f"{path}.devices[{index}]: needs a source and a target"
        if not _PERMISSIONS.fullmatch(device.permissions):
            yield f"{path}.devices[{index}].permissions: {device.permissions[:80]!r} are not of r, w and m"
    for index, attachment in enumerate(container.networks):
        if not attachment.network:
            yield f"{path}.networks[{index}].network: missing"
    for index, ulimit in enumerate(container.ulimits):
        if not ulimit.name:
            yield f"{path}.ulimits[{index}].name: missing"
        if ulimit.hard >= 0 and (ulimit.soft > ulimit.hard or ulimit.soft < 0):
            yield f"{path}.ulimits[{index}]: the soft limit is above the hard one"
    for index, host in enumerate(container.extra_hosts):
        if not all(host.partition(":")[::2]):
            yield f"{path}.extra_hosts[{index}]: {host[:80]!r} is not NAME:ADDRESS"
    if not -1000 <= container.oom_score_adj <= 1000:
        yield f"{path}.oom_score_adj: {container.oom_score_adj} is not between -1000 and 1000"


def _target_faults(target: str, path: str, seen: set[str]) -> Iterator[str]:
    if not target.startswith("/"):
        yield f"{path}.target: {target[:80]!r} is not an absolute path in the container"
    elif target in seen:
        yield f"{path}.target: something is mounted at {target[:80]} already"
    seen.add(target)


def port_faults(spec: ServiceSpec, path: str) -> Iterator[str]:
    hosts: set[tuple[int, str, str]] = set()
    for index, port in enumerate(spec.ports):
        at = f"{path}.ports[{index}]"
        yield from _port(port.target, f"{at}.target")
        if port.published > 0:  # 0 is any
            yield from _port(port.published, f"{at}.published")
        key = (port.published, port.protocol, port.host_ip)
        if port.mode is PortMode.HOST and port.published and key in hosts:
            yield f"{at}.published: {port.published}/{port.protocol} is published twice"
        if port.mode is PortMode.HOST:
            hosts.add(key)
        if port.app_protocol not in ("", "http", "tcp", "udp"):
            yield f"{at}.app_protocol: {port.app_protocol[:80]!r} is not known; use http or tcp, or leave it out"
    for index, number in enumerate(spec.expose):
        yield from _port(number, f"{path}.expose[{index}]")
    for index, route in enumerate(spec.routes):
        yield from _route_faults(route, f"{path}.routes[{index}]")


def _route_faults(route: HttpRoute, path: str) -> Iterator[str]:
    yield from _port(route.target, f"{path}.target")
    yield from _port(route.published, f"{path}.published")
    if route.host and (len(route.host) > 253 or not _HOST.fullmatch(route.host)):
        yield f"{path}.host: {route.host[:80]!r} is no host name"
    if route.path and not re.fullmatch(r"/[!-~]*", route.path):
        yield f"{path}.path: {route.path[:80]!r} is no path of a URL; it begins with / and has no spaces"


def probe_faults(probe: Probe, path: str) -> Iterator[str]:
    if isinstance(probe, CommandProbe) and not (probe.args and probe.args[0]):
        yield f"{path}.args: a command to run is missing"
    if isinstance(probe, HttpProbe | TcpProbe):
        yield from _port(probe.port, f"{path}.port")
    if isinstance(probe, HttpProbe):
        if not re.fullmatch(r"/[!-~]*", probe.path):
            yield f"{path}.path: {probe.path[:80]!r} is no path of a URL; it begins with / and has no spaces"
        if not 100 <= probe.status_min <= probe.status_max <= 999:
            yield f"{path}.status_min: {probe.status_min} to {probe.status_max} is no range of status codes"
    if isinstance(probe, CommandProbe | HttpProbe | TcpProbe):
        for name in ("interval_s", "timeout_s"):
            if not getattr(probe.timing, name):
                yield f"{path}.timing.{name}: must be more than 0"
        if probe.timing.retries < 1:
            yield f"{path}.timing.retries: must be at least 1"


def _port(number: int, path: str) -> Iterator[str]:
    if not 1 <= number <= 65535:
        yield f"{path}: {number} is no port; ports are 1 to 65535"
