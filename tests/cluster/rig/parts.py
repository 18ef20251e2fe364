"""Manager, agents and proxies as real processes in a rig's namespaces, with their logs in files, and what one can do to them."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rookery.identity import Identity, load

from rig import clock
from rig.machine import fill, in_namespace, run, signal_tree
from rig.waiting import wait_until


class Part:
    """One process of the cluster that can be stopped, killed, frozen and started again with the same command and data.

    With a `disk_bytes` its data lies on a disk of its own, of that size, which can be filled. Where libfaketime is installed its
    clock can be set; the others' goes on.
    """

    def __init__(self, name: str, *, namespace: str, folder: Path, command: Sequence[str], disk_bytes: int = 0) -> None:
        self.name = name
        self.disk_bytes = disk_bytes
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
        if self.disk_bytes and not self.data.is_mount():
            self.data.mkdir(exist_ok=True)
            run("mount", "-t", "tmpfs", "-o", f"size={self.disk_bytes},mode=0700", "tmpfs", self.data)
        command = in_namespace(self.namespace, [sys.executable, *self.command])
        environment = {**_environment(), **clock.environment(self.folder)}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL: as a crash, or a machine that lost power."""
        self._end(signal.SIGKILL)

    def stop(self, within_s: float = 30) -> int:
        """SIGTERM; its exit status."""
        return self._end(signal.SIGTERM, within_s)

    def freeze(self) -> None:
        """It and all its processes stand still, as when a machine swaps or its host is paused. Its connections stay open."""
        if self.process is not None:
            signal_tree(self.process.pid, signal.SIGSTOP, but=())

    def thaw(self) -> None:
        if self.process is not None:
            signal_tree(self.process.pid, signal.SIGCONT, but=())

    def set_clock(self, offset_s: float) -> None:
        """Its clock of the day is off by so much from now on, but for the monotonic one."""
        clock.set_offset(self.folder, offset_s)

    def fill_disk(self) -> None:
        """Not a byte more goes onto its disk."""
        assert self.disk_bytes, "this part has no disk of its own"
        fill(self.data / "ballast")

    def free_disk(self) -> None:
        (self.data / "ballast").unlink(missing_ok=True)

    def _end(self, number: signal.Signals, within_s: float = 30) -> int:
        if self.process is None:
            return 0
        if number is not signal.SIGKILL:
            self.thaw()
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
    """Listens on the rig's gateway unless told otherwise. Keeps its port over restarts. Others join it with its own tokens."""

    def __init__(
        self,
        *,
        namespace: str,
        folder: Path,
        address: str,
        port: int,
        heartbeat_s: float,
        lease_s: float,
        disk_bytes: int = 0,
    ) -> None:
        self.address = f"{address}:{port}"
        command = ["-m", "rookery_manager.main", "--listen", self.address, "--data", str(folder / "data")]
        command += ["--heartbeat", f"{heartbeat_s:g}", "--lease", f"{lease_s:g}"]
        super().__init__("manager", namespace=namespace, folder=folder, command=command, disk_bytes=disk_bytes)

    @property
    def admin(self) -> Identity:
        """Its admin's, made at its first start."""
        identity = load(self.credential)
        assert identity is not None
        return identity

    @property
    def credential(self) -> Path:
        return self.data / "admin.pem"

    def joining(self, kind: str) -> list[str]:
        """What an agent or a proxy is told so that it can join."""
        return ["--manager", self.address, "--token-file", str(self.data / f"{kind}.token")]

    def start(self) -> None:
        """Starts it and waits until it listens."""
        seen = self.log.count("listening on")
        super().start()

        def listening() -> bool:
            self.check()
            return self.log.count("listening on") > seen

        wait_until(listening, within_s=30, what="the manager to listen")


class Agent(Part):
    def __init__(
        self,
        name: str,
        *,
        namespace: str,
        folder: Path,
        address: str,
        manager: Manager,
        arguments: Sequence[str],
        disk_bytes: int = 0,
    ) -> None:
        command = ["-m", "rookery_agent.main", *manager.joining("agent"), "--data", str(folder / "data")]
        command += ["--name", name, "--address", address, *arguments]
        super().__init__(f"agent {name}", namespace=namespace, folder=folder, command=command, disk_bytes=disk_bytes)


class Proxy(Part):
    def __init__(self, *, namespace: str, folder: Path, manager: Manager, bind: str, workers: int) -> None:
        command = ["-m", "rookery_proxy.main", *manager.joining("proxy"), "--data", str(folder / "data")]
        command += ["--bind", bind, "--workers", str(workers)]
        super().__init__("proxy", namespace=namespace, folder=folder, command=command)


def _environment() -> dict[str, str]:
    """This process's own, without what would send the parts elsewhere."""
    dropped = ("DOCKER_", "ROOKERY_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, "PYTHONUNBUFFERED": "1"}
