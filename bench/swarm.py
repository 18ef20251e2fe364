"""Docker Swarm on a rig's engines: the first host is the manager, the others are workers."""

import time
from types import TracebackType
from typing import Any

from rig import Host, wait_until
from rig.image import IMAGE


class Swarm:
    """A swarm of the hosts' engines for as long as the context lasts."""

    def __init__(self, hosts: list[Host]) -> None:
        self.hosts = hosts
        self._api = hosts[0].engine.client.api

    def __enter__(self) -> "Swarm":
        first, *others = self.hosts
        self._api.init_swarm(advertise_addr=first.address, listen_addr=f"{first.address}:2377")
        token = self._api.inspect_swarm()["JoinTokens"]["Worker"]
        for host in others:
            api = host.engine.client.api
            api.join_swarm([f"{first.address}:2377"], token, listen_addr=f"{host.address}:2377", advertise_addr=host.address)
        wait_until(self._all_ready, within_s=60, what="the swarm's nodes to be ready")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for host in reversed(self.hosts):
            host.engine.client.api.leave_swarm(force=True)

    def _all_ready(self) -> bool:
        states = [node["Status"]["State"] for node in self._api.nodes()]
        return len(states) == len(self.hosts) and all(state == "ready" for state in states)

    def deploy(self, count: int, *, network: bool = True) -> float:
        """Seconds until all tasks of a new service report that they run; with `network`, an overlay as a stack gets one."""
        began = time.monotonic()
        self._create(count, network)
        wait_until(lambda: self.running() == count, within_s=300, what=f"{count} tasks to run", every_s=0.05)
        return time.monotonic() - began

    def _create(self, count: int, network: bool) -> None:
        image = self._api.inspect_image(IMAGE)["Id"]  # by id: Swarm asks a registry about anything else
        template: dict[str, Any] = {"ContainerSpec": {"Image": image, "Command": ["sleep", "1000000000"]}}
        if network:
            made = self._api.create_network("swarm_default", driver="overlay", scope="swarm")
            template["Networks"] = [{"Target": made["Id"], "Aliases": ["busybox"]}]
        self._api.create_service(template, name="busybox", mode={"Replicated": {"Replicas": count}})

    def serve(
        self, count: int, template: dict[str, Any], *, endpoint: dict[str, Any] | None = None, update: dict[str, Any]
    ) -> None:
        """Creates a service of so many tasks on an overlay network and waits until all run."""
        made = self._api.create_network("swarm_default", driver="overlay", scope="swarm", attachable=True)
        networks = [{"Target": made["Id"], "Aliases": ["busybox"]}]
        self._template = {**template, "Networks": networks}
        self._rest = {"mode": {"Replicated": {"Replicas": count}}, "update_config": update, "endpoint_spec": endpoint}
        self._api.create_service(self._template, name="busybox", **self._rest)
        wait_until(lambda: self.running() == count, within_s=300, what=f"{count} tasks to run", every_s=0.05)

    def update(self, environment: list[str]) -> None:
        """Begins an update to tasks with another environment."""
        service = self._api.inspect_service("busybox")
        container = {**self._template["ContainerSpec"], "Env": environment}
        template = {**self._template, "ContainerSpec": container}
        self._api.update_service(service["ID"], service["Version"]["Index"], template, name="busybox", **self._rest)

    def update_state(self) -> str:
        return str(self._api.inspect_service("busybox").get("UpdateStatus", {}).get("State", ""))

    def tasks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._api.tasks(filters={"desired-state": "running"})
        return found

    def running(self) -> int:
        return sum(1 for task in self.tasks() if task["Status"]["State"] == "running")

    def scale(self, count: int) -> None:
        service = self._api.inspect_service("busybox")
        spec = service["Spec"]
        self._api.update_service(
            service["ID"],
            service["Version"]["Index"],
            spec["TaskTemplate"],
            name="busybox",
            mode={"Replicated": {"Replicas": count}},
            networks=spec.get("Networks"),
        )

    def restart_manager(self) -> None:
        engine = self.hosts[0].engine
        engine.kill()
        engine.start()
        self._api = engine.client.api

    def remove(self) -> float:
        """Seconds until no container of the service is left on any engine."""
        began = time.monotonic()
        self._api.remove_service("busybox")
        label = "com.docker.swarm.service.name=busybox"
        wait_until(
            lambda: not any(host.engine.containers(label=label, everything=True) for host in self.hosts),
            within_s=300,
            what="the service's containers to be gone",
        )
        return time.monotonic() - began
