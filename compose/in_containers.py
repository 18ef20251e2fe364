"""The demo cluster with an engine: every part in a container, brought up by Compose, replicas as containers beside them."""

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rookery.client import Client
from rookery.identity.files import write_private

HERE = Path(__file__).parent
PROJECT = "rookery-demo"
APP = "rookery-demo"
BASE = "rookery-demo/base"
START_S = 60
PROXY_PORT = 8080  # within the proxy's container


def compose_command() -> list[str]:
    """How Compose is called on this machine; empty where there is none."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and subprocess.run([*command, "version"], capture_output=True).returncode == 0:
            return command
    return []


def why_not() -> str:
    """Why the demo can't run in containers here; empty where it can."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    if subprocess.run(["docker", "version"], capture_output=True, timeout=30).returncode != 0:
        return "no Docker engine answers"
    if not compose_command():
        return "there is no docker compose"
    return ""


class Containers:
    """The cluster, from `build` over `start` to `clean`; nothing of it is left then but its images."""

    def __init__(self, manager_port: int, port: int) -> None:
        self.manager = f"127.0.0.1:{manager_port}"
        self.port = port
        self.files = [HERE / "demo/app.yml"]
        self._folder = Path(tempfile.mkdtemp(prefix="rookery-demo-"))
        self.credential = self._folder / "admin.pem"
        self.environment = {"DEMO_PORT": str(PROXY_PORT)}
        self._variables = {
            "ROOKERY_MANAGER_PORT": str(manager_port),
            "ROOKERY_DEMO_PORT": str(port),
            "ROOKERY_BASE_IMAGE": BASE,
            "COMPOSE_IGNORE_ORPHANS": "1",
            "DOCKER_BUILDKIT": "1" if _has_buildx() else "0",
        }

    def build(self) -> None:
        """Makes the images. Waits for another demo that uses this engine: the names are the same."""
        self._lock = (Path(tempfile.gettempdir()) / "rookery-demo.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("  another demo is running here; this one waits for its end", flush=True)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        _run([HERE / "base-image", BASE])
        _run([HERE / "fetch-wheels", BASE, HERE / "wheels"])
        self._compose("build", "--quiet", "manager")
        for service in ("web", "api", "store"):
            where: list[str | Path] = ["--file", HERE / f"demo/{service}/Dockerfile", HERE / "demo"]
            _run(
                ["docker", "build", "--quiet", "--build-arg", f"BASE={BASE}", "--tag", f"rookery-demo/{service}", *where],
                self._variables,
            )
        _run(["docker", "image", "prune", "--force", "--filter", "label=io.rookery.demo=true"])

    def start(self) -> None:
        self.clean()
        self._compose("up", "--detach", "--no-build")
        self._fetch_credential()

    def _fetch_credential(self) -> None:
        """Takes the admin's credential out of the manager's container, as an operator would."""
        deadline = time.monotonic() + START_S
        command = [*compose_command(), *self._project(), "exec", "-T", "manager", "cat", "/var/lib/rookery/admin.pem"]
        while True:
            done = subprocess.run(command, capture_output=True, text=True, env=self._env())
            if done.returncode == 0 and done.stdout:
                self._folder.mkdir(mode=0o700, exist_ok=True)
                write_private(self.credential, done.stdout)
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"the manager did not make its admin's credential: {done.stderr.strip()}")
            time.sleep(0.2)

    def kill_node(self, name: str, client: Client) -> int:
        """Kills the agent, then all its containers; how many those were."""
        node_id = next(detail.node.id for detail in client.list_nodes() if detail.node.name == name)
        self._compose("kill", name)  # by SIGKILL
        containers = _containers(f"rookery.node={node_id}", running=True)
        if containers:
            _run(["docker", "kill", *containers])
        return len(containers)

    def clean(self) -> None:
        """Removes what this demo made, and what one that was killed left."""
        parts = _containers(f"com.docker.compose.project={PROJECT}", running=True)
        if parts:
            _run(["docker", "kill", *parts])  # first, so that no agent starts anything any more
        left = _containers(f"rookery.app={APP}", running=False)
        if left:
            _run(["docker", "rm", "--force", "--volumes", *left])
        self._compose("down", "--volumes", "--timeout", "5")
        shutil.rmtree(self._folder, ignore_errors=True)
        for kind, name in (("network", f"{APP}_default"), ("volume", f"{APP}_data")):
            subprocess.run(["docker", kind, "rm", name], capture_output=True)

    def logs(self) -> str:
        done = subprocess.run(
            [*compose_command(), *self._project(), "logs", "--no-color", "--tail=15"],
            capture_output=True,
            text=True,
            env=self._env(),
        )
        return done.stdout

    def _compose(self, *arguments: str) -> None:
        _run([*compose_command(), *self._project(), *arguments], self._variables)

    def _project(self) -> list[str]:
        return ["--project-name", PROJECT, "--file", str(HERE / "docker-compose.yml")]

    def _env(self) -> dict[str, str]:
        return {**os.environ, **self._variables}


def remove_images() -> None:
    """For `make clean`: the images, which are kept from one demo to the next."""
    for name in ("rookery", "web", "api", "store", "base"):
        subprocess.run(["docker", "image", "rm", f"rookery-demo/{name}"], capture_output=True)


def _containers(label: str, *, running: bool) -> list[str]:
    scope = [] if running else ["--all"]
    done = subprocess.run(
        ["docker", "ps", "--quiet", "--no-trunc", *scope, "--filter", f"label={label}"], capture_output=True, text=True
    )
    return done.stdout.split()


def _has_buildx() -> bool:
    return subprocess.run(["docker", "buildx", "version"], capture_output=True).returncode == 0


def _run(command: Sequence[str | Path], variables: dict[str, str] | None = None) -> None:
    """Runs a command quietly; what it said is shown only when it fails."""
    done = subprocess.run(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **(variables or {})},
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{done.stdout.strip()}")
