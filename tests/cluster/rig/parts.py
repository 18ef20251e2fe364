"""Manager, agents and proxies as real processes in a rig's namespaces, with their logs in files."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rig.machine import in_namespace
from rig.waiting import wait_until


class Part:
    """One process of the cluster that can be stopped, killed and started again with the same command and data."""

    def __init__(self, name: str, *, namespace: str, folder: Path, command: Sequence[str]) -> None:
        self.name = name
        self.namespace = namespace
        self.folder = folder
        self.command = tuple(command)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        if self.running:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        command = in_namespace(self.namespace, [sys.executable, *self.command])
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=_environment())

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL: as a crash, or a machine that lost power."""
        self._end(signal.SIGKILL)

    def stop(self, within_s: float = 30) -> int:
        """SIGTERM; its exit status."""
        return self._end(signal.SIGTERM, within_s)

    def _end(self, number: signal.Signals, within_s: float = 30) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        status = self.process.wait(timeout=within_s)
        self.process = None
        return status

    def check(self) -> None:
        """Raises RuntimeError with the end of its log when it ended by itself."""
        if self.process is not None and self.process.poll() is not None:
            tail = "\n".join(self.log.splitlines()[-20:])
            raise RuntimeError(f"{self.name} ended with status {self.process.returncode}:\n{tail}")


class Manager(Part):
    """Listens on the rig's gateway unless told otherwise. Keeps its port over restarts."""

    def __init__(self, *, namespace: str, folder: Path, address: str, port: int, heartbeat_s: float, lease_s: float) -> None:
        self.address = f"{address}:{port}"
        command = ["-m", "rookery_manager.main", "--listen", self.address, "--data", str(folder / "data")]
        command += ["--heartbeat", f"{heartbeat_s:g}", "--lease", f"{lease_s:g}"]
        super().__init__("manager", namespace=namespace, folder=folder, command=command)

    def start(self) -> None:
        """Starts it and waits until it listens."""
        seen = self.log.count("listening on")
        super().start()

        def listening() -> bool:
            self.check()
            return self.log.count("listening on") > seen

        wait_until(listening, within_s=30, what="the manager to listen")


class Agent(Part):
    def __init__(self, name: str, *, namespace: str, folder: Path, address: str, manager: str, arguments: Sequence[str]) -> None:
        command = ["-m", "rookery_agent.main", "--manager", manager, "--data", str(folder / "data")]
        command += ["--name", name, "--address", address, *arguments]
        super().__init__(f"agent {name}", namespace=namespace, folder=folder, command=command)


class Proxy(Part):
    def __init__(self, *, namespace: str, folder: Path, manager: str, bind: str, workers: int) -> None:
        command = ["-m", "rookery_proxy.main", "--manager", manager, "--data", str(folder / "data")]
        command += ["--bind", bind, "--workers", str(workers)]
        super().__init__("proxy", namespace=namespace, folder=folder, command=command)


def _environment() -> dict[str, str]:
    """This process's own, without what would send the parts elsewhere."""
    dropped = ("DOCKER_", "ROOKERY_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, "PYTHONUNBUFFERED": "1"}
