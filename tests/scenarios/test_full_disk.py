"""The whole manager on a full disk: it stays, says so, judges no node, and goes on with everything when there is room."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from fake_agent import FakeAgent
from fake_proxy import FakeProxy
from rookery.model import ContainerSpec, Port, Replicated, ServiceSpec, UpdateConfig
from rookery.process import Stop
from rookery.v1 import control_pb2, types_pb2
from whole_manager import PATIENCE_S, Manager, manager, until

pytestmark = pytest.mark.root
SIZE = "24m"
FULL_S = 2.5  # more than four leases
AFTER_S = 1.5


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", place]
    mounted = subprocess.run(mount, capture_output=True, text=True, timeout=30)
    if mounted.returncode:
        pytest.skip(f"can't mount a small disk here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True, timeout=30)


def fill(place: Path) -> Path:
    filler = place / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    return filler


def web(image: str, replicas: int, weight: int = 0) -> ServiceSpec:
    return ServiceSpec(
        name="web",
        container=ContainerSpec(image=image, environment={"WEIGHT": "x" * weight}),
        mode=Replicated(replicas=replicas),
        ports=(Port(target=80, published=8080),),
        update=UpdateConfig(parallelism=0, monitor_s=0.0),
        drain_timeout_s=1.0,
    )


async def refusal(m: Manager) -> grpc.aio.AioRpcError:
    """What the manager answers once the room in its log is used up as well."""
    for number in range(1000):
        try:
            await m.deploy(web(f"heavy:{number}", 2, weight=130_000))
        except grpc.aio.AioRpcError as error:
            return error
    pytest.fail("the disk never got full")


async def backup(m: Manager) -> int:
    return sum([len(chunk.data) async for chunk in m.control.Backup(control_pb2.BackupRequest(), timeout=PATIENCE_S)])


def test_a_manager_on_a_full_disk(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with (
            manager(small_disk / "data") as m,
            FakeAgent(m.address, "n1") as a,
            FakeAgent(m.address, "n2") as b,
            FakeProxy(m.address),
        ):
            await m.deploy(web("web:1", 4))
            await until(lambda: m.converged("web"))
            filler = fill(small_disk)
            error = await refusal(m)
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert error.details() == (
                f"the store: {small_disk}/data/store.db: the disk is full, nothing was written; make room there, "
                "it is tried anew with the next write"
            )
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await backup(m)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert f"{small_disk}/data/snapshots: the disk is full: a copy takes" in caught.value.details()

            a.paused = True  # silent, and so lost, if it could be judged
            late = FakeAgent(m.address, "n3")
            late.start()
            await asyncio.sleep(FULL_S)
            assert {node.node.state for node in await listed(m)} == {types_pb2.NODE_STATE_READY}
            assert not late.connected.is_set()
            filler.unlink()
            await asyncio.sleep(AFTER_S)  # what an agent may need to be heard again
            a.paused = False
            await m.deploy(web("web:2", 6))
            await until(lambda: late.connected.is_set())
            await until(lambda: m.converged("web"))
            running = [x for agent in (a, b, late) for x in agent.assignments.values()]
            assert {x.spec.container.image for x in running} == {"web:2"}
            assert len(running) == 6
            assert {node.node.state for node in await listed(m)} == {types_pb2.NODE_STATE_READY}
            events = await m.control.ListEvents(control_pb2.ListEventsRequest(subject="n1"), timeout=PATIENCE_S)
            assert not [event.why for event in events.events if event.why.startswith("down")]
            assert await backup(m) > 0
            await late.die()

            a.paused = True  # now it is judged again
            await until(lambda: len(b.running()) == 6)
            assert "Traceback" not in caplog.text

    asyncio.run(scene())
    assert "nothing can be recorded" in caplog.text


def test_a_manager_does_not_start_on_a_full_disk(small_disk: Path) -> None:
    async def start() -> None:
        async with manager(small_disk / "data"):
            pass

    asyncio.run(start())
    filler = fill(small_disk)
    with pytest.raises(Stop, match=r"store\.db: the disk is full"):
        asyncio.run(start())
    filler.unlink()
    asyncio.run(start())


async def listed(m: Manager) -> list[control_pb2.NodeDetail]:
    return list((await m.control.ListNodes(control_pb2.ListNodesRequest(), timeout=PATIENCE_S)).nodes)
