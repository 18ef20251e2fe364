"""What the engine is told of a service's container."""

import json
import re

from rookery.compose.files import located, read_text
from rookery.compose.nodes import Scalar, Seq
from rookery.compose.view import View
from rookery.model import Argv, ContainerSpec, Device, FileMount, LogConfig, Mount, NetworkAttachment, PullPolicy, Ulimit


def container(
    service: View,
    *,
    environment: dict[str, str],
    labels: dict[str, str],
    mounts: tuple[Mount, ...],
    files: tuple[FileMount, ...],
    network_mode: str,
    networks: tuple[NetworkAttachment, ...],
) -> ContainerSpec:
    grace = service.seconds("stop_grace_period")
    return ContainerSpec(
        image=service.text("image"),
        entrypoint=_argv(service, "entrypoint"),
        command=_argv(service, "command"),
        environment=environment,
        working_dir=service.text("working_dir"),
        user=service.text("user"),
        hostname=service.text("hostname"),
        domainname=service.text("domainname"),
        labels=labels,
        mounts=mounts,
        files=files,
        cap_add=service.texts("cap_add"),
        cap_drop=service.texts("cap_drop"),
        devices=_devices(service),
        ulimits=_ulimits(service),
        sysctls={name: value or "" for name, value in sorted(service.pairs("sysctls").items())},
        extra_hosts=_extra_hosts(service),
        dns=service.texts("dns"),
        dns_search=service.texts("dns_search"),
        dns_opt=service.texts("dns_opt"),
        logging=_logging(service),
        init=service.flag("init"),
        stop_signal=service.text("stop_signal").upper(),
        stop_grace_period_s=10.0 if grace is None else grace,
        read_only=service.flag("read_only"),
        shm_size_bytes=service.bytes("shm_size") or 0,
        privileged=service.flag("privileged"),
        security_opt=_security_opt(service),
        tty=service.flag("tty"),
        stdin_open=service.flag("stdin_open"),
        group_add=service.texts("group_add"),
        ipc=service.text("ipc"),
        pid="" if service.text("pid") == "private" else service.text("pid"),
        userns_mode=service.text("userns_mode"),
        network_mode=network_mode,
        networks=networks,
        platform=service.text("platform"),
        pull_policy=_pull_policy(service),
        oom_score_adj=max(-1000, min(1000, service.whole("oom_score_adj") or 0)),
        cgroup_parent=service.text("cgroup_parent"),
    )


def _argv(service: View, key: str) -> Argv | None:
    return Argv(args=service.texts(key)) if isinstance(service.get(key), Seq) else None


def _pull_policy(service: View) -> PullPolicy:
    policy = service.text("pull_policy")
    return PullPolicy(policy) if policy in set(PullPolicy) else PullPolicy.MISSING


def _logging(service: View) -> LogConfig | None:
    view = service.child("logging")
    if not view.has("driver") and not view.has("options"):
        return None
    return LogConfig(driver=view.text("driver"), options=view.labels("options"))


def _security_opt(service: View) -> tuple[str, ...]:
    """The options; the file of a seccomp profile is replaced by its content, as the engine wants it."""
    found: list[str] = []
    for i, written in enumerate(service.scalars("security_opt")):
        name, sign, value = written.text.partition("=" if "=" in written.text else ":")
        if name == "seccomp" and value not in ("unconfined", "builtin") and not value.startswith("{"):
            where = f"{service.where('security_opt')}[{i}]"
            content = read_text(located(value, written.mark), written.mark, where, service.problems, "seccomp profile")
            try:
                value = json.dumps(json.loads(content or "{}"), separators=(",", ":"))
            except ValueError:
                service.problems.error(written.mark, where, f"seccomp profile '{value}' is not JSON")
        found.append(f"{name}={value}" if sign else name)
    return tuple(found)


def _devices(service: View) -> tuple[Device, ...]:
    found: list[Device] = []
    for view in service.items("devices"):
        source = view.text("source")
        permissions = view.text("permissions", "rwm")
        if not source.startswith("/"):
            view.error("source", f"expected the path of a device, got '{source}'")
        elif not re.fullmatch(r"[rwm]{1,3}", permissions):
            view.error("permissions", f"expected letters of r, w and m, got '{permissions}'")
        else:
            found.append(Device(source=source, target=view.text("target") or source, permissions=permissions))
    return tuple(found)


def _ulimits(service: View) -> tuple[Ulimit, ...]:
    found: list[Ulimit] = []
    for name, view in sorted(service.children("ulimits").items()):
        soft, hard = view.whole("soft"), view.whole("hard")
        if soft is None or hard is None:
            continue
        if hard != -1 and (soft > hard or soft == -1):
            view.error("soft", f"is {soft}, above the hard bound {hard}")
        found.append(Ulimit(name=name, soft=soft, hard=hard))
    return tuple(found)


def _extra_hosts(service: View) -> tuple[str, ...]:
    """NAME:ADDRESS, from either `NAME=ADDRESS` or `NAME:ADDRESS`."""
    found: list[str] = []
    written = service.get("extra_hosts")
    for i, item in enumerate(written.items if isinstance(written, Seq) else ()):
        if not isinstance(item, Scalar):
            continue
        name, sign, address = item.text.partition("=" if "=" in item.text else ":")
        if not sign or not name or not address:
            where = f"{service.where('extra_hosts')}[{i}]"
            service.problems.error(item.mark, where, f"expected NAME:ADDRESS, got '{item.text}'")
            continue
        found.append(f"{name.strip()}:{address.strip().strip('[]')}")
    return tuple(found)
