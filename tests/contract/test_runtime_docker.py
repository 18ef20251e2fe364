"""What only containers have: files, networks, engines that are shared, images that are missing."""

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from memory_files import files_of
from rookery.model import (
    Argv,
    Assignment,
    ContainerSpec,
    FileContent,
    FileKind,
    FileMount,
    NetworkAttachment,
    NodeId,
    PullPolicy,
    ReplicaId,
    ServiceSpec,
    TmpfsMount,
    VolumeMount,
)
from rookery_agent.runtime.docker import DockerRuntime
from rookery_agent.runtime.place import Place
from rookery_agent.runtime.protocol import ImageMissing, InstanceState, RuntimeFailure

pytestmark = pytest.mark.docker


def assigned(image: str, script: str = "sleep 300", **container: Any) -> Assignment:
    made = ContainerSpec(image=image, command=Argv(args=("sh", "-c", script)), pull_policy=PullPolicy.NEVER)
    return Assignment(
        replica_id=ReplicaId(uuid.uuid4().hex[:16]),
        app="docker",
        service="web",
        slot=1,
        revision=1,
        spec=ServiceSpec(name="web", container=replace(made, **container), expose=(80,)),
    )


def play(test: Callable[[Callable[[str], DockerRuntime]], Awaitable[None]]) -> None:
    """Runs a test that makes runtimes of nodes by name, and removes what they made."""

    async def run() -> None:
        tag, made = uuid.uuid4().hex[:8], {}

        def node(name: str, network: str = "") -> DockerRuntime:
            if name not in made:
                place = Place(node_id=NodeId(f"{name}-{tag}"), hostname=name, address="127.0.0.1", network=network)
                made[name] = DockerRuntime(place, files_of(place.node_id))
            return made[name]

        try:
            await test(node)
        finally:
            for runtime in made.values():
                for instance in await runtime.list():
                    await runtime.remove(instance.replica_id)
                await runtime.close()

    asyncio.run(run())


async def begin(runtime: DockerRuntime, a: Assignment) -> None:
    await runtime.list()
    await runtime.prepare(a)
    await runtime.start(a)


def secret(target: str, content: bytes = b"hunter2", **more: Any) -> tuple[tuple[FileMount, ...], tuple[FileContent, ...]]:
    digest = hashlib.sha256(content).hexdigest()
    mount = FileMount(kind=FileKind.SECRET, name="key", target=target, digest=digest, **more)
    return (mount,), (FileContent(kind=FileKind.SECRET, name="key", content=content, digest=digest),)


@pytest.mark.parametrize(
    "container",
    [
        {},
        {"read_only": True},
        {"mounts": (TmpfsMount(target="/run"),)},
        {"mounts": (VolumeMount(volume="", target="/run/secrets"),)},
        {"read_only": True, "mounts": (VolumeMount(volume="", target="/run/secrets"),)},
    ],
)
def test_secrets_are_there_before_the_start(image: str, container: dict[str, Any]) -> None:
    async def test(node: Callable[[str], DockerRuntime]) -> None:
        mounts, files = secret("/run/secrets/key", uid="103", gid="7", mode=0o440)
        a = with_files(image, mounts, files, container)
        await begin(node("n1"), a)
        command = ("sh", "-c", "cat /run/secrets/key; stat -c ' %u %g %a' /run/secrets/key")
        assert await node("n1").execute(a.replica_id, command, timeout_s=20) == (0, b"hunter2 103 7 440\n")

    play(test)


def with_files(
    image: str, mounts: tuple[FileMount, ...], files: tuple[FileContent, ...], container: dict[str, Any]
) -> Assignment:
    made = assigned(image, **container)
    return replace(made, files=files, spec=replace(made.spec, container=replace(made.spec.container, files=mounts)))


def test_a_secret_without_its_content_is_named(image: str) -> None:
    async def test(node: Callable[[str], DockerRuntime]) -> None:
        mounts, _ = secret("/run/secrets/key")
        with pytest.raises(RuntimeFailure, match="secret key"):
            await begin(node("n1"), with_files(image, mounts, (), {}))
        assert await node("n1").list() == ()

    play(test)


def test_a_network_is_made_shared_by_nodes_and_removed_with_the_last(image: str, docker_client: Any) -> None:
    async def test(node: Callable[[str], DockerRuntime]) -> None:
        network = f"rookery_test_{uuid.uuid4().hex[:8]}"
        joined = (NetworkAttachment(network=network, aliases=("web",)),)
        first, second = (assigned(image, networks=joined) for _ in range(2))
        await asyncio.gather(begin(node("n1"), first), begin(node("n2"), second))
        assert len(await asyncio.to_thread(docker_client.networks.list, names=[network])) == 1
        assert [i.replica_id for i in await node("n1").list()] == [first.replica_id]
        assert (await node("n1").execute(first.replica_id, ("nc", "-z", "web", "9"), timeout_s=20))[1] is not None
        await node("n1").remove(first.replica_id)
        assert len(await asyncio.to_thread(docker_client.networks.list, names=[network])) == 1
        await node("n2").remove(second.replica_id)
        assert await asyncio.to_thread(docker_client.networks.list, names=[network]) == []

    play(test)


def test_an_external_network_is_never_made(image: str) -> None:
    async def test(node: Callable[[str], DockerRuntime]) -> None:
        joined = (NetworkAttachment(network="rookery-nowhere", external=True),)
        with pytest.raises(RuntimeFailure, match="docker network create rookery-nowhere"):
            await node("n1").prepare(assigned(image, networks=joined))

    play(test)


def test_an_external_volume_is_never_made(image: str) -> None:
    async def test(node: Callable[[str], DockerRuntime]) -> None:
        mounts = (VolumeMount(volume="rookery-nowhere", target="/d", external=True),)
        with pytest.raises(RuntimeFailure, match="docker volume create rookery-nowhere"):
            await node("n1").prepare(assigned(image, mounts=mounts))

    play(test)


def test_endpoints_on_a_named_network(image: str, docker_client: Any) -> None:
    async def test(node: Callable[..., DockerRuntime]) -> None:
        network = f"rookery_test_{uuid.uuid4().hex[:8]}"
        outer = await asyncio.to_thread(docker_client.networks.create, network)
        try:
            runtime, a = node("n1", network), assigned(image, networks=(NetworkAttachment(network=f"{network}_app"),))
            await begin(runtime, a)
            (instance,) = await runtime.list()
            (endpoint,) = instance.endpoints
            assert endpoint.port == endpoint.target == 80
            await asyncio.to_thread(outer.reload)
            assert [c["IPv4Address"].partition("/")[0] for c in outer.attrs["Containers"].values()] == [endpoint.address]
            await runtime.remove(a.replica_id)
            assert await asyncio.to_thread(docker_client.networks.list, names=[f"{network}_app"]) == []
        finally:
            await asyncio.to_thread(outer.remove)

    play(test)


def test_a_missing_image_has_the_engines_words() -> None:
    async def test(node: Callable[[str], DockerRuntime]) -> None:
        a = assigned("rookery.invalid/no-such:1", pull_policy=PullPolicy.MISSING)
        results = await asyncio.gather(*[node("n1").prepare(a) for _ in range(5)], return_exceptions=True)
        assert all(isinstance(result, ImageMissing) and "rookery.invalid" in str(result) for result in results)

    play(test)


def test_a_registry_that_is_away_is_no_error_when_the_image_is_here(image: str) -> None:
    async def test(node: Callable[[str], DockerRuntime]) -> None:
        await node("n1").prepare(assigned(image, pull_policy=PullPolicy.ALWAYS))

    play(test)


def test_what_a_killed_agent_left_half_made_is_made_anew(image: str, docker_client: Any) -> None:
    async def test(node: Callable[[str], DockerRuntime]) -> None:
        mounts, files = secret("/run/secrets/key")
        a = with_files(image, mounts, files, {})
        await begin(node("n1"), a)
        (whole,) = await node("n1").list()
        attributes = (await asyncio.to_thread(docker_client.containers.get, whole.id)).attrs
        await node("n1").remove(a.replica_id)
        name, labels = attributes["Name"].lstrip("/"), attributes["Config"]["Labels"]
        await asyncio.to_thread(docker_client.containers.create, image, ["sleep", "9"], name=name, labels=labels)
        (half,) = await node("n1").list()
        assert half.state is InstanceState.CREATED
        made = await node("n1").start(a)
        assert made.id != half.id
        assert await node("n1").execute(a.replica_id, ("cat", "/run/secrets/key"), timeout_s=20) == (0, b"hunter2")

    play(test)


def test_a_strangers_container_of_the_same_name_is_left_alone(image: str, docker_client: Any) -> None:
    async def test(node: Callable[[str], DockerRuntime]) -> None:
        a = assigned(image)
        name = f"docker-web-1-{a.replica_id[:8]}"
        stranger = await asyncio.to_thread(docker_client.containers.create, image, ["sleep", "9"], name=name)
        try:
            with pytest.raises(RuntimeFailure, match="not of this node"):
                await begin(node("n1"), a)
            await node("n1").remove(a.replica_id)
            await asyncio.to_thread(stranger.reload)
        finally:
            await asyncio.to_thread(stranger.remove)

    play(test)


def test_one_that_is_removed_from_outside_is_gone(image: str, docker_client: Any) -> None:
    async def test(node: Callable[[str], DockerRuntime]) -> None:
        a = assigned(image)
        await begin(node("n1"), a)
        (instance,) = await node("n1").list()
        container = await asyncio.to_thread(docker_client.containers.get, instance.id)
        await asyncio.to_thread(container.remove, force=True)
        assert await node("n1").inspect(a.replica_id) is None
        assert (await node("n1").start(a)).id != instance.id

    play(test)


_CHOWN, _MKNOD, _NET_RAW, _SETUID, _NET_BIND_SERVICE = 1 << 0, 1 << 27, 1 << 13, 1 << 7, 1 << 10  # capabilities(7)


def test_a_container_has_less_than_the_engine_would_give_it_unless_it_asks(image: str) -> None:
    async def test(node: Callable[[str], DockerRuntime]) -> None:
        async def status(**container: Any) -> dict[str, str]:
            a = assigned(image, **container)
            await begin(node("n1"), a)
            code, said = await node("n1").execute(a.replica_id, ("cat", "/proc/1/status"), timeout_s=20)
            assert code == 0, said
            # As images do that begin as root and hand their files to somebody else.
            chown = ("sh", "-c", "touch /tmp/f && /bin/busybox chown 1000:1000 /tmp/f && stat -c '%u %g' /tmp/f")
            assert await node("n1").execute(a.replica_id, chown, timeout_s=20) == (0, b"1000 1000\n")
            return dict(line.split(":\t", 1) for line in said.decode().splitlines() if ":\t" in line)

        plain = await status()
        assert plain["NoNewPrivs"] == "1"
        had = int(plain["CapBnd"], 16)
        assert had & _CHOWN and had & _SETUID and had & _NET_BIND_SERVICE  # noqa: PT018 (what is kept)
        assert not had & (_MKNOD | _NET_RAW)

        asked = await status(security_opt=("no-new-privileges=false",), cap_add=("NET_RAW",))
        assert asked["NoNewPrivs"] == "0"
        assert int(asked["CapBnd"], 16) & (_MKNOD | _NET_RAW) == _NET_RAW

    play(test)
