"""What this machine is and uses, as the manager is told."""

import os
import platform
import socket

import psutil
from rookery._version import VERSION
from rookery.model import NodeInfo, NodeStats, Resources, RuntimeKind

from rookery_agent.disk import Room

_ARCH = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


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


def stats(disk: Room) -> NodeStats:
    memory = psutil.virtual_memory()
    return NodeStats(
        cpu_percent=psutil.cpu_percent(),
        memory_used_bytes=memory.total - memory.available,
        memory_total_bytes=memory.total,
        disk_used_bytes=disk.total_bytes - disk.free_bytes,
        disk_total_bytes=disk.total_bytes,
        load_1m=os.getloadavg()[0],
    )


def address_towards(host: str, port: int) -> str:
    """This machine's address on the way to `host`; no packet is sent. Raises OSError where there is no way."""
    family, kind, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(target)
        return str(probe.getsockname()[0])
