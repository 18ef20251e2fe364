"""The demo cluster without an engine: every part and every replica as a plain process of this machine."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from rookery.client import Client

HERE = Path(__file__).parent
STOP_S = 10
START_S = 30


class Processes:
    """The cluster, from `start` to `clean`; its data and logs are in a folder that goes with it."""

    def __init__(self, manager_port: int, port: int) -> None:
        self.manager = f"127.0.0.1:{manager_port}"
        self.port = port
        self.files = [HERE / "demo/app.yml", HERE / "demo/process.yml"]
        self._folder = Path(tempfile.mkdtemp(prefix="rookery-demo-"))
        self.credential = self._folder / "manager" / "admin.pem"
        self.environment = {
            "DEMO_PORT": str(port),
            "DEMO_DIR": str(HERE / "demo"),
            "DEMO_DATA": str(self._folder / "store"),
            "PYTHON": sys.executable,
        }
        self._parts: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        self._start("manager", "rookery_manager.main", "--listen", self.manager)
        self._await_credential()
        for name in ("agent1", "agent2", "agent3"):
            where = [*self._joining("agent"), "--name", name, "--address", "127.0.0.1"]
            self._start(name, "rookery_agent.main", *where, "--runtime", "process")
        self._start("proxy", "rookery_proxy.main", *self._joining("proxy"), "--bind", "127.0.0.1", "--workers", "1")

    def _joining(self, kind: str) -> list[str]:
        return ["--manager", self.manager, "--token-file", str(self._folder / "manager" / f"{kind}.token")]

    def _await_credential(self) -> None:
        """Returns when the manager has made what others join with; it says where it listens after that."""
        deadline = time.monotonic() + START_S
        while not (self._folder / "manager" / "address").exists():
            if self._parts["manager"].poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the manager did not start")
            time.sleep(0.05)

    def kill_node(self, name: str, _client: Client) -> int:
        """Kills the agent, then all its replicas; how many those were."""
        node = self._folder / name
        replicas = [process for process in _started_with(node) if process.pid != self._parts[name].pid]
        _kill(_started_with(node))
        self._parts[name].wait()
        return len(replicas)

    def clean(self) -> None:
        """Ends every part and what it started."""
        for part in self._parts.values():
            part.send_signal(signal.SIGTERM)
        for part in self._parts.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                part.wait(STOP_S)
        _kill(_started_with(self._folder))  # replicas outlive their agents
        for part in self._parts.values():
            part.wait(STOP_S)
        shutil.rmtree(self._folder, ignore_errors=True)

    def logs(self) -> str:
        tails = [f"--- {name}\n" + "\n".join(self._log(name).read_text().splitlines()[-15:]) for name in self._parts]
        return "\n".join(tails)

    def _start(self, name: str, module: str, *arguments: str) -> None:
        command = [sys.executable, "-m", module, "--data", str(self._folder / name), *arguments]
        with self._log(name).open("wb") as log:
            # A group of its own: Ctrl-C is for the demo, which then ends its parts in order
            self._parts[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                process_group=0,
            )

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"


def _started_with(folder: Path) -> list[psutil.Process]:
    """The processes that have a path in the folder on their command line: parts, and the supervisors of replicas."""
    prefix = f"{folder}"
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(word == prefix or word.startswith(f"{prefix}/") for word in process.info["cmdline"] or ())
    ]


def _kill(processes: list[psutil.Process]) -> None:
    """SIGKILL to processes and all that they started."""
    everything = set(processes)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            everything.update(process.children(recursive=True))
    for process in everything:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
