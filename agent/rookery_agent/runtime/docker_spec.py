"""From an assignment to the body of the engine's `POST /containers/create`, and from `inspect` back to an instance.

Pure. Every field of ContainerSpec has its place here.
"""

import calendar
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rookery.model import (
    Assignment,
    BindMount,
    Endpoint,
    FileMount,
    HttpProbe,
    ImageProbe,
    PortMode,
    PortProtocol,
    ReplicaId,
    Resources,
    ServiceSpec,
    TcpProbe,
    TmpfsMount,
    VolumeMount,
    target_ports,
)

from rookery_agent.isolation.ruleset import Seat
from rookery_agent.runtime.docker_hardening import cap_drop, pids_limit, security_opt
from rookery_agent.runtime.place import Place
from rookery_agent.runtime.protocol import Instance, InstanceState, RuntimeFailure

NODE, REPLICA, APP, SERVICE = "rookery.node", "rookery.replica", "rookery.app", "rookery.service"
SLOT, REVISION, PORTS, NETWORK = "rookery.slot", "rookery.revision", "rookery.ports", "rookery.network"


def container_name(a: Assignment) -> str:
    return f"{a.app}-{a.service}-{a.slot}-{a.replica_id[:8]}"


def environment(a: Assignment, place: Place) -> dict[str, str]:
    """What is told to every replica of itself, and what its spec says."""
    own = {
        "ROOKERY_APP": a.app,
        "ROOKERY_SERVICE": a.service,
        "ROOKERY_SLOT": str(a.slot),
        "ROOKERY_NODE": place.hostname,
        "ROOKERY_REPLICA": a.replica_id,
    }
    return {**own, **a.spec.container.environment}


def reachable_ports(spec: ServiceSpec) -> tuple[tuple[int, PortProtocol], ...]:
    """The ports at which proxies and this agent's probes must reach a replica."""
    wanted = list(target_ports(spec))
    if isinstance(spec.probe, HttpProbe | TcpProbe):
        wanted.append((spec.probe.port, PortProtocol.TCP))
    return tuple(dict.fromkeys(wanted))


def networks(a: Assignment, place: Place) -> tuple[str, ...]:
    """The engine's networks that the container joins, the first one at its creation."""
    if a.spec.container.network_mode:
        return ()
    names = [attachment.network for attachment in a.spec.container.networks]
    if place.network:
        names.append(place.network)
    return tuple(dict.fromkeys(names))


def endpoint_config(a: Assignment, network: str) -> dict[str, Any]:
    """How the container joins a network."""
    for attachment in a.spec.container.networks:
        if attachment.network == network:
            addresses = {"IPv4Address": attachment.ipv4_address, "IPv6Address": attachment.ipv6_address}
            given = {key: value for key, value in addresses.items() if value}
            return {"Aliases": list(attachment.aliases), **({"IPAMConfig": given} if given else {})}
    return {}


def create_body(
    a: Assignment, place: Place, *, image_entrypoint: tuple[str, ...] = (), files: Mapping[FileMount, Path] | None = None
) -> dict[str, Any]:
    """The body of the call that makes the container. `image_entrypoint` is needed where the spec's command is an empty one,
    `files` says where its secrets and configs lie on the engine's machine.

    Raises RuntimeFailure for what this engine's API can't do.
    """
    c = a.spec.container
    ports = reachable_ports(a.spec)
    body: dict[str, Any] = {
        "Image": c.image,
        "Env": [f"{key}={value}" for key, value in environment(a, place).items()],
        "Labels": {**c.labels, **ownership(a, place, ports)},
        "WorkingDir": c.working_dir,
        "User": c.user,
        "Hostname": c.hostname,
        "Domainname": c.domainname,
        "Tty": c.tty,
        "OpenStdin": c.stdin_open,
        "StopTimeout": max(0, round(c.stop_grace_period_s)),
        "ExposedPorts": _exposed(a.spec, ports),
        "HostConfig": _host_config(a, place, ports, files or {}),
    }
    if c.stop_signal:
        body["StopSignal"] = c.stop_signal
    if c.entrypoint is not None:
        body["Entrypoint"] = list(c.entrypoint.args) or [""]
    elif c.command is not None and not c.command.args:
        body["Entrypoint"] = list(image_entrypoint) or [""]
    if c.command is not None:
        body["Cmd"] = list(c.command.args)
    if not isinstance(a.spec.probe, ImageProbe):
        body["Healthcheck"] = {"Test": ["NONE"]}
    joined = networks(a, place)
    if joined:
        body["NetworkingConfig"] = {"EndpointsConfig": {joined[0]: endpoint_config(a, joined[0])}}
    return body


def ownership(a: Assignment, place: Place, ports: tuple[tuple[int, PortProtocol], ...]) -> dict[str, str]:
    return {
        NODE: place.node_id,
        REPLICA: a.replica_id,
        APP: a.app,
        SERVICE: a.service,
        SLOT: str(a.slot),
        REVISION: str(a.revision),
        PORTS: ",".join(f"{port}/{protocol}" for port, protocol in ports),
    }


def _exposed(spec: ServiceSpec, ports: tuple[tuple[int, PortProtocol], ...]) -> dict[str, dict[str, str]]:
    own = [(port.target, port.protocol) for port in spec.ports if port.mode is PortMode.HOST]
    return {f"{port}/{protocol}": {} for port, protocol in [*ports, *own]}


def _host_config(
    a: Assignment, place: Place, ports: tuple[tuple[int, PortProtocol], ...], files: Mapping[FileMount, Path]
) -> dict[str, Any]:
    c = a.spec.container
    joined = networks(a, place)
    config: dict[str, Any] = {
        "NetworkMode": c.network_mode or (joined[0] if joined else "default"),
        "RestartPolicy": {"Name": "no"},  # restarts are the agent's
        "PortBindings": {} if c.network_mode else _bindings(a.spec, place, ports),
        "Binds": [_bind(m) for m in c.mounts if isinstance(m, BindMount) and _as_bind(m)],
        "Mounts": [_mount(m) for m in c.mounts if not (isinstance(m, BindMount) and _as_bind(m))] + _file_mounts(files),
        "CapAdd": list(c.cap_add),
        "CapDrop": cap_drop(c),
        "Devices": [{"PathOnHost": d.source, "PathInContainer": d.target, "CgroupPermissions": d.permissions} for d in c.devices],
        "Ulimits": [{"Name": u.name, "Soft": u.soft, "Hard": u.hard} for u in c.ulimits],
        "Sysctls": dict(c.sysctls),
        "ExtraHosts": list(c.extra_hosts),
        "Dns": list(c.dns),
        "DnsSearch": list(c.dns_search),
        "DnsOptions": list(c.dns_opt),
        "Init": c.init,
        "ReadonlyRootfs": c.read_only,
        "Privileged": c.privileged,
        "SecurityOpt": security_opt(c),
        "GroupAdd": list(c.group_add),
        "IpcMode": c.ipc,
        "PidMode": c.pid,
        "UsernsMode": c.userns_mode,
        "OomScoreAdj": c.oom_score_adj,
        "CgroupParent": c.cgroup_parent,
        **_limits(a.spec.limits, a.spec.reservations),
    }
    if c.shm_size_bytes:
        config["ShmSize"] = c.shm_size_bytes
    if c.logging is not None:
        config["LogConfig"] = {"Type": c.logging.driver, "Config": dict(c.logging.options)}
    return config


def _limits(limits: Resources, reservations: Resources) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if limits.cpus:
        config["NanoCpus"] = round(limits.cpus * 1e9)
    if limits.memory_bytes:
        config["Memory"] = limits.memory_bytes
    most = pids_limit(limits)
    if most is not None:
        config["PidsLimit"] = most
    if reservations.memory_bytes and not (limits.memory_bytes and reservations.memory_bytes > limits.memory_bytes):
        config["MemoryReservation"] = reservations.memory_bytes
    return config


def _bindings(spec: ServiceSpec, place: Place, ports: tuple[tuple[int, PortProtocol], ...]) -> dict[str, list[dict[str, str]]]:
    bindings: dict[str, list[dict[str, str]]] = {}
    if not place.network:
        for port, protocol in ports:
            bindings.setdefault(f"{port}/{protocol}", []).append({"HostIp": place.address, "HostPort": ""})
    for given in spec.ports:
        if given.mode is PortMode.HOST:
            published = str(given.published) if given.published else ""
            bindings.setdefault(f"{given.target}/{given.protocol}", []).append({"HostIp": given.host_ip, "HostPort": published})
    return bindings


def _as_bind(mount: BindMount) -> bool:
    """Only the short form makes a missing path on the host, and it can't say a path with a colon in it."""
    return mount.create_host_path and ":" not in mount.source and ":" not in mount.target


def _bind(mount: BindMount) -> str:
    options = ["ro" if mount.read_only else "rw", *([mount.propagation] if mount.propagation else [])]
    return f"{mount.source}:{mount.target}:{','.join(options)}"


def _mount(mount: BindMount | VolumeMount | TmpfsMount) -> dict[str, Any]:
    match mount:
        case BindMount():
            options = {"BindOptions": {"Propagation": mount.propagation}} if mount.propagation else {}
            return {"Type": "bind", "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only, **options}
        case VolumeMount():
            if mount.subpath:
                raise RuntimeFailure(f"volume {mount.volume}: this engine can't mount a subpath of it; leave `subpath` out")
            made = {"Labels": dict(mount.labels), "NoCopy": mount.no_copy}
            if mount.driver or mount.driver_opts:
                made["DriverConfig"] = {"Name": mount.driver or "local", "Options": dict(mount.driver_opts)}
            return {
                "Type": "volume",
                "Source": mount.volume,
                "Target": mount.target,
                "ReadOnly": mount.read_only,
                "VolumeOptions": made,
            }
        case TmpfsMount():
            sized: dict[str, int] = {"SizeBytes": mount.size_bytes} if mount.size_bytes else {}
            if mount.mode:
                sized["Mode"] = mount.mode
            return {"Type": "tmpfs", "Target": mount.target, "TmpfsOptions": sized}


def _file_mounts(files: Mapping[FileMount, Path]) -> list[dict[str, Any]]:
    return [{"Type": "bind", "Source": str(at), "Target": mount.target, "ReadOnly": True} for mount, at in files.items()]


def instance(inspected: Mapping[str, Any], place: Place) -> Instance | None:
    """The instance of a container as inspected; None for one that is not this node's."""
    labels = inspected["Config"].get("Labels") or {}
    if labels.get(NODE) != place.node_id or not labels.get(REPLICA):
        return None
    state = inspected["State"]
    running = state.get("Running") or state.get("Paused") or state.get("Restarting")
    made = InstanceState.RUNNING if running else InstanceState.CREATED if state["Status"] == "created" else InstanceState.EXITED
    replica_id = ReplicaId(labels[REPLICA])
    return Instance(
        replica_id=replica_id,
        id=inspected["Id"],
        state=made,
        endpoints=_endpoints(inspected, replica_id, labels, place) if running else (),
        exit_code=state.get("ExitCode") if made is InstanceState.EXITED else None,
        oom_killed=bool(state.get("OOMKilled")),
        started_at=instant(state.get("StartedAt", "")),
        finished_at=instant(state.get("FinishedAt", "")),
        health=_health(state),
        paused=bool(state.get("Paused")),
    )


def seat(inspected: Mapping[str, Any]) -> Seat:
    """Where a container that was inspected, or listed, is on its networks."""
    labels = inspected.get("Labels") or inspected.get("Config", {}).get("Labels") or {}
    joined = (inspected["NetworkSettings"].get("Networks") or {}).values()
    addresses = [one.get(key) or "" for one in joined for key in ("IPAddress", "GlobalIPv6Address")]
    return Seat(app=labels.get(APP, ""), service=labels.get(SERVICE, ""), addresses=tuple(filter(None, addresses)))


def _health(state: Mapping[str, Any]) -> str:
    status = (state.get("Health") or {}).get("Status", "")
    return "" if status == "none" else str(status)


def _endpoints(
    inspected: Mapping[str, Any], replica_id: ReplicaId, labels: Mapping[str, str], place: Place
) -> tuple[Endpoint, ...]:
    settings = inspected["NetworkSettings"]
    published: Mapping[str, list[dict[str, str]] | None] = settings.get("Ports") or {}
    own = dict.fromkeys([port for port in labels.get(PORTS, "").split(",") if port] + [p for p, at in published.items() if at])
    host = inspected["HostConfig"]["NetworkMode"] == "host"
    found = []
    for name in own:
        target, _, protocol = name.partition("/")
        address, port = "", 0
        if host:
            address, port = place.address, int(target)
        elif place.network and place.network in settings["Networks"] and name in labels.get(PORTS, "").split(","):
            address, port = settings["Networks"][place.network]["IPAddress"], int(target)
        elif published.get(name):
            bindings = published[name] or []
            bound = next((b for b in bindings if b["HostIp"] == place.address), bindings[0])
            address, port = place.address, int(bound["HostPort"])
        if address:
            found.append(
                Endpoint(replica_id=replica_id, address=address, port=port, target=int(target), protocol=PortProtocol(protocol))
            )
    return tuple(found)


def instant(text: str) -> float:
    """Seconds since the epoch of the engine's `2026-01-02T03:04:05.678901234Z`; 0 for none (year 1)."""
    if not text or text.startswith("0001"):
        return 0.0
    whole, _, rest = text.partition(".")
    seconds = calendar.timegm(time.strptime(whole.rstrip("Z")[:19], "%Y-%m-%dT%H:%M:%S"))
    digits = rest.rstrip("Z")
    return seconds + (float(f"0.{digits}") if digits.isdigit() else 0.0)
