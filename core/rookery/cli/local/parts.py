"""What a cluster on this machine consists of: the parts, their command lines, and how long each may take to stop. Pure."""

from dataclasses import dataclass
from pathlib import Path

MANAGER, AGENT, PROXY = "rookery_manager.main", "rookery_agent.main", "rookery_proxy.main"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """`port` 0 is any free one; `bind` is where the proxy listens; with `insecure` the parts talk in plain text."""

    data: Path
    nodes: int = 3
    runtime: str = "auto"
    port: int = 7070
    workers: int = 1
    bind: str = "127.0.0.1"
    insecure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """`stop_s` is how long it may take after SIGTERM: an agent drains its replicas, which takes their grace periods."""

    name: str
    module: str
    arguments: tuple[str, ...]
    stop_s: float

    def command(self, python: str) -> list[str]:
        return [python, "-m", self.module, *self.arguments]


def manager(wanted: Wanted, port: int) -> Part:
    insecure = ("--insecure",) if wanted.insecure else ()
    arguments = ("--listen", f"127.0.0.1:{port}", "--data", str(manager_data(wanted)), *insecure)
    return Part(name="manager", module=MANAGER, arguments=arguments, stop_s=10.0)


def agents(wanted: Wanted, address: str) -> tuple[Part, ...]:
    return tuple(
        Part(
            name=name,
            module=AGENT,
            arguments=(
                "--manager", address, "--data", str(wanted.data / "nodes" / name), "--name", name,
                "--address", "127.0.0.1", "--runtime", wanted.runtime, "--on-stop", "drain", *_joining(wanted, "agent"),
            ),
            stop_s=60.0,
        )
        for name in node_names(wanted)
    )  # fmt: skip


def proxy(wanted: Wanted, address: str) -> Part:
    arguments = (
        "--manager", address, "--data", str(wanted.data / "proxy"), "--bind", wanted.bind, "--workers", str(wanted.workers),
        *_joining(wanted, "proxy"),
    )  # fmt: skip
    return Part(name="proxy", module=PROXY, arguments=arguments, stop_s=10.0)


def _joining(wanted: Wanted, kind: str) -> tuple[str, ...]:
    return ("--insecure",) if wanted.insecure else ("--token-file", str(manager_data(wanted) / f"{kind}.token"))


def credential(wanted: Wanted) -> Path:
    """The admin's, which the manager makes."""
    return manager_data(wanted) / "admin.pem"


def manager_data(wanted: Wanted) -> Path:
    return wanted.data / "manager"


def node_names(wanted: Wanted) -> tuple[str, ...]:
    return tuple(f"n{number}" for number in range(1, wanted.nodes + 1))


def restart_after_s(failures: int) -> float:
    """Back-off of a part that ended unasked for the nth time in a row: 1, 2, 4 … 30 s."""
    return min(30.0, 2.0 ** min(failures - 1, 10))
