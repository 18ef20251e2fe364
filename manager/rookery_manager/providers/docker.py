"""The provider `docker`: agents in containers on one engine, whose socket they are given, so that replicas run beside them.

Settings: `image` (with Rookery in it; needed), `network` (that agents and replicas join), `endpoints` (the agent's flag),
`socket` (the engine's, by its path). The join token is in the container's environment: who may read that commands
the engine anyway.
"""

import contextlib
from typing import Any

import docker
from docker.errors import APIError, DockerException, NotFound

from rookery_manager.providers.contract import Failed
from rookery_manager.providers.serving import serve

POOL, NODE = "io.rookery.pool", "io.rookery.pool.node"
SOCKET = "/var/run/docker.sock"
FILES = "/run/rookery"  # where an agent puts replicas' secrets and configs, and the engine mounts them from
STOP_S = 60


def create(asked: dict[str, Any]) -> dict[str, Any]:
    settings, name = asked["settings"], asked["node"]["name"]
    image = settings.get("image", "")
    if not image:
        raise Failed("the pool's setting image is missing: --setting image=NAME")
    network = settings.get("network", "")
    endpoints = settings.get("endpoints") or (f"network:{network}" if network else "host-port")
    command = ["rookery-agent", *asked["agent"], "--data", "/var/lib/rookery", "--runtime", "docker", "--endpoints", endpoints]
    engine = _engine(asked)
    always: Any = {"Name": "unless-stopped", "MaximumRetryCount": 0}
    called = f"rookery-pool-{asked['cluster']}-{name}"
    labels = {POOL: _pool(asked), NODE: name}
    try:
        made = engine.containers.create(
            image,
            command,
            name=called,
            labels=labels,
            environment={"ROOKERY_TOKEN": asked["token"]} if asked.get("token") else {},
            volumes={
                settings.get("socket", SOCKET): {"bind": SOCKET, "mode": "rw"},
                FILES: {"bind": FILES, "mode": "rw"},
            },
            restart_policy=always,
            network=network or None,
            network_mode=None if network else "host",
        )
    except APIError as error:
        if error.status_code != 409:  # one of that name is there
            raise
        made = engine.containers.get(called)
        if made.labels.get(POOL) != labels[POOL]:
            raise Failed(f"a container {called} is there, which is not of this pool") from error
    made.start()
    return {"id": str(made.id)}


def delete(asked: dict[str, Any]) -> dict[str, Any]:
    engine, node = _engine(asked), asked["node"]
    for container in _containers(engine, asked):
        if node["name"] == container.labels.get(NODE):
            with contextlib.suppress(NotFound):
                container.stop(timeout=STOP_S)
                container.remove(v=True, force=True)
    return {}


def list_nodes(asked: dict[str, Any]) -> dict[str, Any]:
    found = _containers(_engine(asked), asked)
    return {"nodes": [{"id": str(container.id), "name": container.labels.get(NODE, "")} for container in found]}


def _containers(engine: "docker.DockerClient", asked: dict[str, Any]) -> list[Any]:
    return list(engine.containers.list(all=True, filters={"label": f"{POOL}={_pool(asked)}"}))


def _pool(asked: dict[str, Any]) -> str:
    """Two clusters may share an engine."""
    return f"{asked['cluster']}/{asked['pool']}"


def _engine(asked: dict[str, Any]) -> "docker.DockerClient":
    try:
        return docker.DockerClient(base_url=f"unix://{asked['settings'].get('socket', SOCKET)}", timeout=90)
    except DockerException as error:
        raise Failed(f"no engine answers: {error}") from error


if __name__ == "__main__":
    serve(create=create, delete=delete, list_nodes=list_nodes, errors=(DockerException,))
