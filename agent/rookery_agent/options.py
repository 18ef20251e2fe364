"""The flags of `rookery-agent`, and what they come to.

Invariant: what can't be meant is refused here, in one line, before anything is begun.
"""

import argparse
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rookery._version import VERSION
from rookery.flags import add_metrics_flag, host_port, node_name, seconds, size
from rookery.identity import standing
from rookery.process import Stop, data_dir

from rookery_agent import machine
from rookery_agent.disk import DEFAULT_LOW_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    manager: str
    data: Path
    name: str
    address: str
    runtime: str
    docker_host: str
    labels: Mapping[str, str]
    network: str
    drain: bool
    stop_timeout_s: float
    pull_stalled_s: float
    low_bytes: int
    files: Path | None
    metrics: str
    identity: standing.Wanted
    isolation: bool
    open_ports: tuple[int, ...]


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="rookery-agent", description="Makes this machine a node of a Rookery cluster.")
    made.add_argument("--manager", default=os.environ.get("ROOKERY_MANAGER", "127.0.0.1:7070"), metavar="HOST:PORT")
    made.add_argument("--data", type=Path, metavar="DIR", help=f"where it keeps its data (default: {data_dir('agent')})")
    made.add_argument("--name", default="", help="the node's hostname (default: this machine's)")
    made.add_argument(
        "--address", default="", help="where this node's replicas are reached (default: the address towards the manager)"
    )
    made.add_argument(
        "--runtime", choices=["auto", "docker", "process"], default="auto", help="what runs replicas (default: auto)"
    )
    made.add_argument(
        "--docker-host", default="", metavar="URL", help="the engine's socket (default: DOCKER_HOST, else the usual one)"
    )
    made.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="a label of the node; may be repeated")
    made.add_argument(
        "--endpoints", default="host-port", metavar="MODE", help="host-port, or network:NAME for containers' own addresses"
    )
    made.add_argument(
        "--on-stop", choices=["drain", "leave"], default="drain", help="on SIGTERM, move replicas away, or leave them running"
    )
    made.add_argument(
        "--stop-timeout", type=float, default=60.0, metavar="SECONDS", help="how long a drain may take (default: 60)"
    )
    made.add_argument(
        "--pull-timeout",
        type=_pull_timeout,
        default=300.0,
        metavar="SECONDS",
        help="a pull that makes no progress for so long is given up (default: 300)",
    )
    made.add_argument(
        "--disk-low",
        type=size,
        default=DEFAULT_LOW_BYTES,
        metavar="SIZE",
        help="with less room than that, or 5 %% of a small disk, the node gets nothing new (default: 500M)",
    )
    made.add_argument(
        "--files",
        type=Path,
        metavar="DIR",
        help="where replicas' secrets and configs lie, on a tmpfs (default: /run/rookery for root, else in /run or /dev/shm)",
    )
    made.add_argument(
        "--isolation",
        choices=["on", "off"],
        default="on",
        help="close the cluster's machines to containers, but for what is declared (default: on)",
    )
    made.add_argument(
        "--open-to-replicas",
        type=_ports,
        default=(),
        metavar="PORT,…",
        help="ports of the cluster's machines that every container here may reach nevertheless",
    )
    add_metrics_flag(made)
    standing.add_flags(made)
    made.add_argument("--log-level", choices=["debug", "info", "warning", "error"], default="info")
    made.add_argument("--version", action="version", version=VERSION)
    return made


def understand(arguments: argparse.Namespace) -> Options:
    labels = {}
    for given in arguments.label:
        key, equals, value = given.partition("=")
        if not key or not equals:
            raise Stop(f"--label {given}: expected KEY=VALUE", status=2)
        labels[key] = value
    name = arguments.name or socket.gethostname()
    for flag, check, given in (
        ("--manager", host_port, arguments.manager),
        ("--name", node_name, name),
        ("--stop-timeout", seconds, str(arguments.stop_timeout)),
    ):
        try:
            check(given)
        except argparse.ArgumentTypeError as error:
            raise Stop(f"{flag}: {error}", status=2) from error
    host, _, port = arguments.manager.rpartition(":")
    kind, _, network = arguments.endpoints.partition(":")
    if kind not in ("host-port", "network") or (kind == "network") != bool(network):
        raise Stop(f"--endpoints {arguments.endpoints}: expected host-port or network:NAME", status=2)
    return Options(
        manager=arguments.manager,
        data=arguments.data or data_dir("agent"),
        name=name,
        address=_address(arguments.address, host.strip("[]"), int(port)),
        runtime=arguments.runtime,
        docker_host=arguments.docker_host,
        labels=labels,
        network=network,
        drain=arguments.on_stop == "drain",
        stop_timeout_s=arguments.stop_timeout,
        pull_stalled_s=arguments.pull_timeout,
        low_bytes=arguments.disk_low,
        files=arguments.files,
        metrics=arguments.metrics or "",
        identity=standing.understand(arguments.token_file, arguments.insecure, arguments.manager),
        isolation=arguments.isolation == "on",
        open_ports=arguments.open_to_replicas,
    )


def _ports(text: str) -> tuple[int, ...]:
    found = []
    for part in text.split(","):
        if not (part.strip().isascii() and part.strip().isdecimal() and 1 <= int(part) <= 65535):
            raise argparse.ArgumentTypeError(f"expected ports such as 5432,9100, got {text!r}")
        found.append(int(part))
    return tuple(found)


def _pull_timeout(text: str) -> float:
    value = seconds(text)
    if not 10 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"expected 10 to 86400 seconds, got {text}")
    return value


def _address(given: str, host: str, port: int) -> str:
    try:
        return socket.gethostbyname(given) if given else machine.address_towards(host, port)
    except OSError as error:
        what = f"--address {given}" if given else f"the address towards the manager {host}"
        raise Stop(f"{what} can't be found: {error}; give this machine's address with --address", status=2) from error
