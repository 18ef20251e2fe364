"""What this machine is and uses, as the manager is told."""

import os
import platform
import socket
from pathlib import Path

import psutil
from rookery._version import VERSION
from rookery.model import NodeCondition, NodeInfo, NodeStats, Resources, RuntimeKind

_ARCH = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
_DISK_LOW_BYTES = 256 * 1024 * 1024


def info(*, hostname: str, address: str, kind: RuntimeKind, labels: dict[str, str], engine: str) -> NodeInfo:
    machine = platform.machine()
    return NodeInfo(
        hostname=hostname,
        address=address,
        os=platform.system().lower(),
        arch=_ARCH.get(machine, machine),
        capacity=Resources(cpus=float(os.cpu_count() or 1), memory_bytes=psutil.virtual_memory().total),
        runtimes=(kind,),
        labels=labels,
        engine=engine,
        agent_version=VERSION,
    )


def stats(data: Path) -> NodeStats:
    memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(data))
    return NodeStats(
        cpu_percent=psutil.cpu_percent(),
        memory_used_bytes=memory.total - memory.available,
        memory_total_bytes=memory.total,
        disk_used_bytes=disk.used,
        disk_total_bytes=disk.total,
        load_1m=os.getloadavg()[0],
    )


def disk_condition(data: Path, trouble: str) -> NodeCondition | None:
    """`disk-full` where a write failed (`trouble`) or little is left for the agent's own data."""
    free = psutil.disk_usage(str(data)).free
    if trouble:
        return NodeCondition(name="disk-full", why=trouble)
    if free >= _DISK_LOW_BYTES:
        return None
    return NodeCondition(name="disk-full", why=f"{free // 1024**2} MiB are left under {data}")


def address_towards(host: str, port: int) -> str:
    """This machine's address on the way to `host`; no packet is sent. Raises OSError where there is no way."""
    family, kind, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(target)
        return str(probe.getsockname()[0])
