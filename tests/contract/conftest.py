"""This machine's own engine, and an image on it, for the tests that need one."""

import uuid
from collections.abc import Iterator
from typing import Any

import docker
import pytest
from busybox_image import archive, busybox


@pytest.fixture(scope="session")
def docker_client() -> Iterator[Any]:
    try:
        client = docker.from_env(timeout=60)
    except docker.errors.DockerException as error:
        pytest.skip(f"no Docker engine answers: {error}")
    yield client
    client.close()


@pytest.fixture(scope="session")
def image(docker_client: Any) -> Iterator[str]:
    program = busybox()
    if program is None:
        pytest.skip("no static busybox on this machine, and it can't be installed")
    name = f"rookery-contract-{uuid.uuid4().hex[:8]}"
    docker_client.api.import_image_from_data(archive(program), repository=name, tag="1")
    yield f"{name}:1"
    docker_client.images.remove(f"{name}:1", force=True)
