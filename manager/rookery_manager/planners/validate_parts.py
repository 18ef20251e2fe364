"""What is wrong with the parts of a service's spec: its container, ports and probe."""

import re
from collections.abc import Iterator

from rookery.acme_host import host_fault
from rookery.http_rules import rules_faults
from rookery.model import (
    EVERY_APP,
    BalanceMethod,
    Balancing,
    BindMount,
    CommandProbe,
    ContainerSpec,
    HttpProbe,
    HttpRoute,
    HttpRules,
    PortMode,
    PortProtocol,
    Probe,
    ServiceSpec,
    TcpProbe,
)

from rookery_manager.scheduler.constraint import check_attribute

MOST_SLOW_START_S = 3600.0
MOST_QUEUE_S = 3600.0

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_IMAGE = re.compile(r"[^\s\x00-\x1f]{1,512}")
_SIGNAL = re.compile(r"[A-Z][A-Z0-9+-]{0,15}|[0-9]{1,2}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PERMISSIONS = re.compile(r"r?w?m?")
_ALLOWED = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}(/[a-z0-9][a-z0-9_-]{0,62})?")
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
        if file.source and (file.digest or file.version < 0):
            yield f"{path}.files[{index}]: with a source there is no digest, and no version below 0"
        if not file.source and not _DIGEST.fullmatch(file.digest):
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
        if port.app_protocol not in ("", "http", "http2", "tcp", "udp"):
            yield f"{at}.app_protocol: {port.app_protocol[:80]!r} is not known; use http, http2 or tcp, or leave it out"
    yield from _header_faults(spec, f"{path}.proxy_protocol")
    for index, number in enumerate(spec.expose):
        yield from _port(number, f"{path}.expose[{index}]")
    for index, route in enumerate(spec.routes):
        yield from _route_faults(route, f"{path}.routes[{index}]")


def _header_faults(spec: ServiceSpec, path: str) -> Iterator[str]:
    if not spec.proxy_protocol:
        return
    if spec.proxy_protocol not in (1, 2):
        yield f"{path}: version {spec.proxy_protocol} is not known; use 1 or 2"
    if spec.routes or any(port.app_protocol in ("http", "http2") for port in spec.ports):
        yield f"{path}: is for TCP; requests of HTTP share connections, and say who asks in X-Forwarded-For"
    elif not any(port.mode is PortMode.INGRESS and port.protocol is PortProtocol.TCP for port in spec.ports):
        yield f"{path}: no connection passes the proxies, as the service has no ingress TCP port"


def _route_faults(route: HttpRoute, path: str) -> Iterator[str]:
    if route.rules.redirect is None:
        yield from _port(route.target, f"{path}.target")
    elif route.target:
        yield f"{path}.target: has no meaning where requests are redirected: they reach no replica"
    yield from (f"{path}.rules.{where}: {fault}" for where, fault in rules_faults(route.rules, route.path))
    plain = HttpRules(methods=route.rules.methods, headers=route.rules.headers)
    if route.http2 and (route.strip_path or route.rules != plain):
        yield f"{path}.http2: calls are passed on as they are; of the rules, methods and headers alone can be had with it"
    if route.strip_path and route.rules.rewrite:
        yield f"{path}.rules.rewrite: it and strip_path both say what becomes of the path; leave one of them out"
    yield from _port(route.published, f"{path}.published")
    if route.host and (len(route.host) > 253 or not _HOST.fullmatch(route.host)):
        yield f"{path}.host: {route.host[:80]!r} is no host name"
    if route.acme and not route.tls:
        yield f"{path}.acme: certificates are for TLS; set tls too"
    if route.acme and (fault := host_fault(route.host)):
        yield f"{path}.acme: {fault[:300]}"
    if route.path and not re.fullmatch(r"/[!-~]*", route.path):
        yield f"{path}.path: {route.path[:80]!r} is no path of a URL; it begins with / and has no spaces"


def allow_faults(allow: tuple[str, ...], path: str) -> Iterator[str]:
    for index, name in enumerate(allow):
        if name != EVERY_APP and not _ALLOWED.fullmatch(name):
            yield f"{path}[{index}]: {name[:130]!r} is neither an app, a service of one (shop/web), nor *"


def balancing_faults(balancing: Balancing, path: str) -> Iterator[str]:
    if balancing.hash_header and balancing.hash_cookie:
        yield f"{path}.hash_cookie: it and hash_header both say what is hashed; leave one of them out"
    for name in ("hash_header", "hash_cookie"):
        text = getattr(balancing, name)
        if text and balancing.method is not BalanceMethod.HASH:
            yield f"{path}.{name}: has no meaning for the method {balancing.method}; use hash"
        elif text and not _TOKEN.fullmatch(text):
            yield f"{path}.{name}: {text[:40]!r} is no name of a {name.removeprefix('hash_')}"
    for name in ("weight", "prefer"):
        try:
            if getattr(balancing, name):
                check_attribute(getattr(balancing, name))
        except ValueError as error:
            yield f"{path}.{name}: {str(error)[:200]}"
    if balancing.slow_start_s > MOST_SLOW_START_S:
        yield f"{path}.slow_start_s: {balancing.slow_start_s:g} s are too many; the most is {MOST_SLOW_START_S:g}"
    if balancing.queue_most and not balancing.max_in_flight:
        yield f"{path}.queue_most: has no meaning without max_in_flight"
    if balancing.queue_most and not 0 < balancing.queue_s <= MOST_QUEUE_S:
        yield f"{path}.queue_s: {balancing.queue_s:g} is not more than 0 and at most {MOST_QUEUE_S:g}"


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
