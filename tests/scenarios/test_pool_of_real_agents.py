"""A pool of real agents: load that needs five nodes from one, and back, with agents as processes, and in containers."""

import asyncio
import contextlib
import io
import secrets
import sys
import tarfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import docker
import docker.errors
import psutil
import pytest
from certificates import admin_of
from rookery.client import AsyncClient
from rookery.model import (
    Argv,
    ContainerSpec,
    MemberState,
    Placement,
    PoolSpec,
    ProviderKind,
    PullPolicy,
    Replicated,
    RuntimeKind,
    ServiceSpec,
    UpdateConfig,
)
from whole_manager import manager

PATIENCE_S = 60.0
PER_NODE = 2
DEMO_IMAGE = "rookery-demo/rookery"
ROOT = Path(__file__).parents[2]
DOCKERFILE = f"""\
FROM {DEMO_IMAGE}
COPY core /rookery/core
COPY agent /rookery/agent
ENV PYTHONPATH=/rookery/core:/rookery/agent
"""
MARK = secrets.token_hex(4)
IMAGE = f"rookery-test/pool-{MARK}"
SLEEPER = ServiceSpec(
    name="web",
    container=ContainerSpec(image="", command=Argv(args=(sys.executable, "-c", "import time; time.sleep(600)"))),
    mode=Replicated(replicas=PER_NODE),
    runtime=RuntimeKind.PROCESS,
    placement=Placement(max_replicas_per_node=PER_NODE),
    update=UpdateConfig(monitor_s=0.0),
)
SPEC = PoolSpec(provider=ProviderKind.PROCESS, min=1, max=6, runtime=RuntimeKind.PROCESS, shrink_after_s=1.0, join_timeout_s=60.0)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.1)


async def until_nodes(client: AsyncClient, count: int) -> None:
    """Returns when the pool is of so many nodes, all joined, and the cluster has no other ones."""

    async def there() -> bool:
        states = [member.state for member in (await client.get_pool("small")).members]
        return states == [MemberState.JOINED] * count and len(await client.list_nodes()) == count

    await until(there)


def agents(data: Path) -> list[psutil.Process]:
    return running(lambda words: "rookery_agent.main" in words and any(word.startswith(str(data)) for word in words))


def running(fits: Callable[[list[str]], bool]) -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if fits(p.info["cmdline"] or [])]


async def there_and_back(data: Path, spec: PoolSpec, service: ServiceSpec, count: Callable[[], int]) -> None:
    """Five nodes from one by a service that is scaled up, and back; `count` is how many agents there are."""
    async with manager(data, secure=True) as cluster, AsyncClient(cluster.address, identity=admin_of(data)) as client:
        await client.create_pool("small", spec)
        await until_nodes(client, 1)
        await cluster.deploy(service)
        await until(partial(cluster.converged, "web"))
        assert len((await client.get_pool("small")).members) == 1

        await client.scale("shop", "web", 5 * PER_NODE)
        await until_nodes(client, 5)
        await until(partial(cluster.converged, "web"))
        assert count() == 5

        await client.scale("shop", "web", PER_NODE)
        await until_nodes(client, 1)
        await until(partial(cluster.converged, "web"))
        assert count() == 1

        told = [event.why for event in await client.list_events("small")]
        assert "1 -> 5: 8 replicas wait for room, about 2 fit a node" in told
        assert [why[:6] for why in told if why[1:5] == " -> "][-4:] == ["5 -> 4", "4 -> 3", "3 -> 2", "2 -> 1"]

        await client.remove_app("shop")
        await client.remove_pool("small")

        async def gone() -> bool:
            return not await client.list_pools()

        await until(gone)
        assert count() == 0


@pytest.mark.timeout(300)
def test_processes(tmp_path: Path) -> None:
    try:
        asyncio.run(there_and_back(tmp_path, SPEC, SLEEPER, lambda: len(agents(tmp_path))))
    finally:
        for agent in agents(tmp_path):
            agent.kill()


@pytest.mark.timeout(180)
def test_a_killed_agent_leaves_no_replica_behind_once_its_node_is_replaced(tmp_path: Path) -> None:
    def replicas() -> list[psutil.Process]:
        return running(lambda words: "supervisor.py" in " ".join(words) and any(str(tmp_path) in word for word in words))

    async def scene() -> None:
        async with manager(tmp_path, secure=True) as cluster, AsyncClient(cluster.address, identity=admin_of(tmp_path)) as client:
            await client.create_pool("small", replace(SPEC, shrink_after_s=600.0))
            await until_nodes(client, 1)
            await cluster.deploy(SLEEPER)
            await until(partial(cluster.converged, "web"))
            left = replicas()
            (agent,) = agents(tmp_path)
            agent.kill()
            assert all(replica.is_running() for replica in left)

            async def given_up() -> bool:  # another may have joined by then
                members = (await client.get_pool("small")).members
                return all(m.name != "small-1" or m.state is not MemberState.JOINED for m in members)

            async def replaced() -> bool:
                members = (await client.get_pool("small")).members
                return [m.state for m in members] == [MemberState.JOINED] and members[0].name != "small-1"

            await client.update_pool("small", join_timeout_s=1.0)
            await until(given_up)
            await client.update_pool("small", join_timeout_s=SPEC.join_timeout_s)
            await until(replaced)
            await until(partial(cluster.converged, "web"))
            assert len(left) == len(replicas()) == PER_NODE
            assert not {replica.pid for replica in left} & {replica.pid for replica in replicas()}
            await client.remove_app("shop")
            await until(lambda: _is_gone(replicas))

    try:
        asyncio.run(scene())
    finally:
        for agent in agents(tmp_path):
            agent.kill()


async def _is_gone(replicas: Callable[[], list[psutil.Process]]) -> bool:
    return not replicas()


@pytest.fixture
def engine() -> Iterator[docker.DockerClient]:
    try:
        client = docker.from_env(timeout=60)
    except docker.errors.DockerException as error:
        pytest.skip(f"no Docker engine answers: {error}")
    with contextlib.closing(client):
        try:
            client.images.get(DEMO_IMAGE)
        except docker.errors.ImageNotFound:
            pytest.skip(f"no image {DEMO_IMAGE}: 'make demo RUNTIME=docker' makes it")
        client.images.build(fileobj=this_code(), custom_context=True, tag=IMAGE, rm=True)
        yield client
        client.images.remove(IMAGE, force=True)


def this_code() -> io.BytesIO:
    """What makes the demo's image one of the code that is tested."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(DOCKERFILE)
        archive.addfile(entry, io.BytesIO(DOCKERFILE.encode()))
        for part in ("core", "agent"):
            archive.add(ROOT / part, part, filter=lambda e: None if "__pycache__" in e.name else e)
    made.seek(0)
    return made


@pytest.mark.docker
@pytest.mark.timeout(300)
def test_containers(tmp_path: Path, engine: docker.DockerClient) -> None:
    spec = replace(
        SPEC, provider=ProviderKind.DOCKER, runtime=RuntimeKind.DOCKER, settings={"image": IMAGE}, labels={"test": MARK}
    )
    container = ContainerSpec(
        image=IMAGE,
        command=Argv(args=("sleep", "600")),
        stop_grace_period_s=0.2,
        pull_policy=PullPolicy.NEVER,
        labels={"test": MARK},
    )

    def nodes() -> list[Any]:
        return [c for c in engine.containers.list(all=True) if f"test={MARK}" in c.attrs["Config"]["Cmd"]]

    try:
        asyncio.run(
            there_and_back(
                tmp_path, spec, replace(SLEEPER, runtime=RuntimeKind.DOCKER, container=container), lambda: len(nodes())
            )
        )
    finally:
        for left in [*nodes(), *engine.containers.list(all=True, filters={"label": f"test={MARK}"})]:
            left.remove(force=True, v=True)
