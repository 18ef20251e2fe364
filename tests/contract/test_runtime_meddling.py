"""What others do to containers behind the agent's back, on a real engine: nothing is doubled, nothing of theirs is touched."""

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import docker
import pytest
from memory_files import files_of
from rookery.model import (
    Argv,
    Assignment,
    ContainerSpec,
    Desired,
    NetworkAttachment,
    NodeId,
    NoProbe,
    PullPolicy,
    ReplicaId,
    ReplicaState,
    ReplicaStatus,
    ServiceSpec,
    VolumeMount,
)
from rookery_agent.assignments import Held
from rookery_agent.reconcile import Reconciler
from rookery_agent.runtime.docker import DockerRuntime
from rookery_agent.runtime.docker_spec import NETWORK, NODE, REPLICA
from rookery_agent.runtime.place import Place

pytestmark = pytest.mark.docker


@dataclass
class Node:
    """An agent's loop over the engine, with one replica; `engine` is what others use."""

    id: str
    loop: Reconciler
    engine: Any
    assignment: Assignment

    @property
    def status(self) -> ReplicaStatus | None:
        return self.loop.statuses.get(self.assignment.replica_id)

    @property
    def ready(self) -> bool:
        return self.status is not None and self.status.ready

    @property
    def restarts(self) -> int:
        return self.status.restarts if self.status is not None else 0

    def want(self, *assignments: Assignment) -> None:
        self.loop.take(Held(generation=1, assignments={a.replica_id: a for a in assignments}), confirmed=True)

    async def containers(self) -> list[Any]:
        filters = {"label": f"{NODE}={self.id}"}
        return list(await asyncio.to_thread(self.engine.containers.list, all=True, filters=filters))

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110 the loop has no event for it
                await asyncio.sleep(0.02)


def play(engine: Any, image: str, test: Callable[[Node], Awaitable[None]], **container: Any) -> None:
    """Runs a test with a replica that is wanted, and removes what is left of its node."""

    async def run() -> None:
        node_id = f"meddling-{uuid.uuid4().hex[:8]}"
        script = "trap 'exit 0' TERM; while true; do sleep 0.05; done"
        made = ContainerSpec(
            image=image,
            command=Argv(args=("sh", "-c", script)),
            pull_policy=PullPolicy.NEVER,
            stop_grace_period_s=3.0,
            **container,
        )
        a = Assignment(
            replica_id=ReplicaId(uuid.uuid4().hex[:16]),
            app=node_id,
            service="web",
            slot=1,
            revision=1,
            spec=ServiceSpec(name="web", container=made, probe=NoProbe()),
        )
        runtime = DockerRuntime(Place(node_id=NodeId(node_id), hostname="n1", address="127.0.0.1"), files_of(node_id))
        loop = Reconciler(runtime, {}, report=lambda _: None, remember=lambda: None, silent_s=lambda: 0.0)
        node = Node(id=node_id, loop=loop, engine=engine, assignment=a)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(loop.run())
            try:
                await test(node)
            finally:
                running.cancel()
                await runtime.close()
                for left in await node.containers():
                    await asyncio.to_thread(left.remove, force=True)

    asyncio.run(run())


async def only(node: Node) -> Any:
    (container,) = await node.containers()
    return container


MEDDLING: dict[str, tuple[Callable[[Any], None], bool]] = {
    "removed": (lambda c: c.remove(force=True), True),
    "stopped": (lambda c: c.stop(timeout=5), True),
    "killed": (lambda c: c.kill(), True),
    "restarted": (lambda c: c.restart(timeout=5), False),
    "renamed": (lambda c: c.rename(f"odd-{uuid.uuid4().hex[:8]}"), False),
}


@pytest.mark.parametrize("what", MEDDLING)
def test_it_runs_again_and_once(docker_client: Any, image: str, what: str) -> None:
    act, counts = MEDDLING[what]

    async def test(node: Node) -> None:
        node.want(node.assignment)
        await node.until(lambda: node.ready)
        before = await only(node)
        await asyncio.to_thread(act, before)
        if counts:
            await node.until(lambda: node.restarts == 1)
        else:
            await asyncio.sleep(1.0)  # for what must not happen
        await node.until(lambda: node.ready)
        after = await only(node)
        assert after.status == "running"
        assert (after.id == before.id) is (what != "removed")
        node.want(Assignment(**{**fields(node.assignment), "desired": Desired.STOP}))
        await node.until(lambda: node.status is not None and node.status.state is ReplicaState.STOPPED)
        assert await node.containers() == []

    play(docker_client, image, test)


def fields(a: Assignment) -> dict[str, Any]:
    return {name: getattr(a, name) for name in a.__dataclass_fields__}


def test_one_that_is_paused_is_not_ready_and_left_so(docker_client: Any, image: str) -> None:
    async def test(node: Node) -> None:
        node.want(node.assignment)
        await node.until(lambda: node.ready)
        container = await only(node)
        await asyncio.to_thread(container.pause)
        await node.until(lambda: not node.ready)
        assert node.status is not None
        assert f"docker unpause {container.id[:12]}" in node.status.why
        await asyncio.to_thread(container.unpause)
        await node.until(lambda: node.ready)
        assert node.restarts == 0
        await asyncio.to_thread(container.pause)
        await node.until(lambda: not node.ready)
        node.want()  # one that is paused can be stopped
        await node.until(lambda: not node.loop.records)
        assert await node.containers() == []

    play(docker_client, image, test)


@pytest.mark.parametrize("labels", ["none", "another node's", "ours of nothing"])
def test_a_stranger_with_our_name_is_told_of_and_left_alone(docker_client: Any, image: str, labels: str) -> None:
    async def test(node: Node) -> None:
        a = node.assignment
        given = {
            "none": {},
            "another node's": {NODE: "another", REPLICA: a.replica_id},
            "ours of nothing": {NODE: node.id},
        }[labels]
        name = f"{a.app}-web-1-{a.replica_id[:8]}"
        stranger = await asyncio.to_thread(docker_client.containers.create, image, ["sleep", "60"], name=name, labels=given)
        try:
            await asyncio.to_thread(stranger.start)
            node.want(a)
            await node.until(lambda: node.status is not None and "not of this node; remove or rename it" in node.status.why)
            assert name in (node.status.why if node.status else "")
            node.want()
            await node.until(lambda: not node.loop.records)
            await asyncio.to_thread(stranger.reload)
            assert stranger.status == "running"
            await asyncio.to_thread(stranger.rename, f"{name}-moved")
            node.want(a)
            await node.until(lambda: node.ready)  # the way out works
        finally:
            await asyncio.to_thread(stranger.remove, force=True)

    play(docker_client, image, test)


def test_a_container_of_an_image_made_of_ours_is_a_stranger(docker_client: Any, image: str) -> None:
    """`docker commit` takes our labels over into the image, and its containers have them."""

    async def test(node: Node) -> None:
        node.want(node.assignment)
        await node.until(lambda: node.ready)
        ours = await only(node)
        copied = await asyncio.to_thread(ours.commit, repository=f"rookery-copy-{uuid.uuid4().hex[:8]}")
        copy = await asyncio.to_thread(docker_client.containers.create, copied.id, ["sleep", "60"])
        try:
            await asyncio.to_thread(copy.start)
            assert copy.labels[REPLICA] == node.assignment.replica_id
            await node.loop._list()
            node.want()
            await node.until(lambda: not node.loop.records)
            await node.loop._list()
            await asyncio.to_thread(copy.reload)
            assert copy.status == "running"
            assert [c.id for c in await node.containers()] == [copy.id]
        finally:
            await asyncio.to_thread(copy.remove, force=True)
            await asyncio.to_thread(docker_client.images.remove, copied.id, force=True)

    play(docker_client, image, test)


def test_networks_and_volumes_of_others_are_used_and_never_removed(
    docker_client: Any, image: str, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"rookery-stranger-{uuid.uuid4().hex[:8]}"
    network = docker_client.networks.create(name, labels={f"{NETWORK}.not": "ours"})
    volume = docker_client.volumes.create(name)

    async def test(node: Node) -> None:
        node.want(node.assignment)
        await node.until(lambda: node.ready)
        node.want()
        await node.until(lambda: not node.loop.records)

    try:
        mounts = (VolumeMount(volume=name, target="/data"),)
        play(docker_client, image, test, networks=(NetworkAttachment(network=name),), mounts=mounts)
        network.reload()
        volume.reload()
        assert f"network {name} was made by somebody else" in caplog.text
    finally:
        with contextlib.suppress(docker.errors.NotFound):
            network.remove()
        volume.remove()
