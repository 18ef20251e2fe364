"""One Docker engine in a namespace: started, stopped, killed, asked."""

import contextlib
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import docker
import docker.errors
import requests

from rig.machine import in_namespace, signal_tree
from rig.waiting import wait_until


class Engine:
    """A dockerd with a folder, a bridge network and a cgroup of its own."""

    def __init__(self, *, namespace: str, folder: Path, index: int, cgroup: str, storage_driver: str) -> None:
        self.namespace = namespace
        self.folder = folder
        self.index = index
        self.cgroup = cgroup
        self.storage_driver = storage_driver
        self.url = f"unix://{folder}/docker.sock"
        self.process: subprocess.Popen[bytes] | None = None
        self._client: docker.DockerClient | None = None

    @property
    def client(self) -> docker.DockerClient:
        """A connection to the engine, made when first used."""
        if self._client is None:
            self._client = docker.DockerClient(base_url=self.url, version="1.41", timeout=60, max_pool_size=32)
        return self._client

    def start(self) -> None:
        """Starts it and returns at once; `ready` tells when it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for stale in ("docker.pid", "exec/containerd/containerd.pid"):  # of a zombie, it would count as alive
            (self.folder / stale).unlink(missing_ok=True)
        config = self.folder / "daemon.json"
        config.write_text("{}")  # nothing of the machine's own /etc/docker/daemon.json
        command = [
            "dockerd",
            f"--config-file={config}",
            f"--data-root={self.folder}/data",
            f"--exec-root={self.folder}/exec",
            f"--pidfile={self.folder}/docker.pid",
            f"--host={self.url}",
            f"--storage-driver={self.storage_driver}",
            f"--bip=172.{20 + self.index}.0.1/16",
            "--exec-opt=native.cgroupdriver=cgroupfs",
            f"--cgroup-parent={self.cgroup}",
            "--userland-proxy=false",
            "--log-level=warn",
            "--shutdown-timeout=1",
        ]
        with (self.folder / "dockerd.log").open("ab") as log:
            self.process = subprocess.Popen(
                in_namespace(self.namespace, command), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def ready(self) -> bool:
        """True when it answers; raises RuntimeError with the end of its log when it has ended instead."""
        if self.process is not None and self.process.poll() is not None:
            log = (self.folder / "dockerd.log").read_text(errors="replace").strip().splitlines()
            why = [line for line in log if line.startswith(("panic", "fatal error"))]
            raise RuntimeError(f"the engine of {self.namespace} ended: " + "\n".join([*why[-1:], *log[-5:]]))
        try:
            with socket.socket(socket.AF_UNIX) as probe:  # the docker package leaks its socket when it is refused
                probe.connect(self.url.removeprefix("unix://"))
            return bool(self.client.ping())
        except (OSError, requests.RequestException, docker.errors.DockerException):
            return False

    def stop(self) -> None:
        """Ends it in an orderly way; its containers end with it."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """The engine and its containerd die at once; the containers live on until it starts again."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """It takes connections and answers nothing, its containerd neither; what runs goes on."""
        if self.process is not None:
            signal_tree(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        if self.process is not None:
            signal_tree(self.process.pid, signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        self.thaw()
        self.process.send_signal(number)
        self.process.wait(timeout=60)
        self.process = None
        self.close()  # its connections are dead

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def containers(self, *, label: str = "", everything: bool = False) -> list[dict[str, Any]]:
        """The engine's own records of its containers, running ones unless `everything`."""
        filters = {"label": label} if label else {}
        found: list[dict[str, Any]] = self.client.api.containers(all=everything, filters=filters)
        return found

    def started(self, *, label: str = "") -> dict[str, str]:
        """When each running container was started, by id: equal before and after only if none was restarted or replaced."""
        result = {}
        for container in self.containers(label=label):
            with contextlib.suppress(docker.errors.NotFound):
                result[container["Id"]] = self.client.api.inspect_container(container["Id"])["State"]["StartedAt"]
        return result

    def kill_container(self, container_id: str) -> None:
        """As a crash: the container's first process is killed behind the engine's back."""
        os.kill(self.client.api.inspect_container(container_id)["State"]["Pid"], signal.SIGKILL)

    def load(self, archive: bytes) -> None:
        self.client.images.load(archive)

    def wait_ready(self, within_s: float = 60) -> None:
        """Docker 20.10 may crash as it starts after it was killed; then it is started once more, and said."""
        try:
            wait_until(self.ready, within_s=within_s, what=f"the engine of {self.namespace} to answer")
        except RuntimeError as error:
            print(f"{error}\nit is started once more", flush=True)
            self.close()
            self.start()
            wait_until(self.ready, within_s=within_s, what=f"the engine of {self.namespace} to answer")
