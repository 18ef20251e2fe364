"""Rookery on a rig's engines: the manager on the first host, an agent on every one."""

import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from rig import Agent, Host, Rig, wait_until
from rig.image import IMAGE
from rookery.client import Client
from rookery.compose import load

APP, SERVICE = "bench", "busybox"
LABEL = f"rookery.app={APP}"
# `sleep` does not heed SIGTERM as a container's first process; Swarm's and the floor's removals are not what is measured.
COMPOSE = f"""
services:
  {SERVICE}:
    image: {IMAGE}
    command: ["sleep", "1000000000"]
    pull_policy: never
    stop_signal: SIGKILL
    deploy: {{ replicas: $N }}
"""


class Ours:
    """A cluster of the hosts for as long as the context lasts."""

    def __init__(self, rig: Rig, hosts: list[Host]) -> None:
        self.rig = rig
        self.hosts = hosts
        self.agents: dict[str, Agent] = {}

    def __enter__(self) -> "Ours":
        self.manager = self.rig.manager(host=self.hosts[0], name=f"manager-{time.monotonic_ns()}")
        for host in self.hosts:
            self.agents[host.name] = self.rig.agent(host, self.manager, name=f"{host.name}-{time.monotonic_ns()}")
        self.client = Client(self.manager.address, identity=self.manager.admin, timeout_s=60)
        wait_until(lambda: self.client.get_cluster().nodes_ready == len(self.hosts), within_s=60, what="all nodes to be ready")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.client.close()
        for part in [*self.agents.values(), self.manager]:
            self.rig.discard(part)

    def deploy(self, count: int, *, network: bool = True) -> float:
        """Seconds until all replicas of a new app are ready; without `network` they are on the engines' default bridge."""
        file = Path(self.rig.folder / "bench.yml")
        file.write_text(COMPOSE)
        app = load([file], app=APP, env={"N": str(count)}).app
        if not network:
            (service,) = app.services
            app = replace(app, services=(replace(service, container=replace(service.container, networks=())),))
        began = time.monotonic()
        self.client.apply(app)
        wait_until(lambda: self.ready() == count, within_s=300, what=f"{count} replicas to be ready", every_s=0.05)
        return time.monotonic() - began

    def ready(self) -> int:
        return sum(status.ready for status in self.client.list_services(APP))

    def scale(self, count: int) -> None:
        self.client.scale(APP, SERVICE, count)

    def restart_manager(self) -> None:
        self.manager.kill()
        self.manager.start()

    def remove(self) -> float:
        """Seconds until no container of the app is left on any engine."""
        began = time.monotonic()
        self.client.remove_app(APP)
        wait_until(
            lambda: not any(host.engine.containers(label=LABEL, everything=True) for host in self.hosts),
            within_s=300,
            what="the app's containers to be gone",
        )
        return time.monotonic() - began
