"""What an engine needs to know to make a container."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Argv:
    """A command line. Where one is optional, None is the image's own and an empty one is none at all."""

    args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BindMount:
    source: str
    target: str
    read_only: bool = False
    propagation: str = ""
    create_host_path: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeMount:
    """`volume` is the engine's name for it (`shop_data`); empty is an anonymous one. An external one is never created."""

    volume: str
    target: str
    read_only: bool = False
    driver: str = ""
    driver_opts: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    external: bool = False
    no_copy: bool = False
    subpath: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TmpfsMount:
    target: str
    size_bytes: int = 0
    mode: int = 0


Mount = BindMount | VolumeMount | TmpfsMount


class FileKind(StrEnum):
    SECRET = "secret"
    CONFIG = "config"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMount:
    """A secret or config as a file in the container, by its key in the compose file.

    Where its content came with the app, `digest` (see FileContent) makes new content a new revision. Else it is a version of the
    app's StoredFile `source`, and makes a new one that; 0 is the latest, before the manager has looked which that is.
    """

    kind: FileKind
    name: str
    target: str
    uid: str = ""
    gid: str = ""
    mode: int = 0o444
    digest: str = ""
    source: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    source: str
    target: str
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ulimit:
    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    driver: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkAttachment:
    """`network` is the engine's name for it (`shop_default`). An external one is never created."""

    network: str
    aliases: tuple[str, ...] = ()
    ipv4_address: str = ""
    ipv6_address: str = ""
    driver: str = ""
    driver_opts: Mapping[str, str] = field(default_factory=dict)
    external: bool = False
    internal: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


class PullPolicy(StrEnum):
    MISSING = "missing"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """`network_mode` is empty (then `networks` counts), `host` or `none`."""

    image: str = ""
    entrypoint: Argv | None = None
    command: Argv | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = ""
    user: str = ""
    hostname: str = ""
    domainname: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    files: tuple[FileMount, ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    extra_hosts: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_opt: tuple[str, ...] = ()
    logging: LogConfig | None = None
    init: bool = False
    stop_signal: str = ""
    stop_grace_period_s: float = 10.0
    read_only: bool = False
    shm_size_bytes: int = 0
    privileged: bool = False
    security_opt: tuple[str, ...] = ()
    tty: bool = False
    stdin_open: bool = False
    group_add: tuple[str, ...] = ()
    ipc: str = ""
    pid: str = ""
    userns_mode: str = ""
    network_mode: str = ""
    networks: tuple[NetworkAttachment, ...] = ()
    platform: str = ""
    pull_policy: PullPolicy = PullPolicy.MISSING
    oom_score_adj: int = 0
    cgroup_parent: str = ""
