"""Secrets on their way to nodes, and a manager that starts locked: what goes on, what waits, what the passphrase sets going."""

import asyncio
from pathlib import Path

import grpc
import grpc.aio
import pytest
from fake_agent import FakeAgent
from rookery.model import AppSpec, ContainerSpec, FileKind, FileMount, Replicated, ServiceSpec, UpdateConfig
from rookery.v1 import control_pb2, types_pb2
from rookery.wire import encode
from rookery_manager.sealing import cipher
from whole_manager import PATIENCE_S, Manager, manager, until

PASSPHRASE = "correct horse battery"
MOUNT = FileMount(kind=FileKind.SECRET, name="key", target="/run/secrets/key", source="pw")
UPDATE = UpdateConfig(monitor_s=0.05)
WEB = ServiceSpec(
    name="web",
    container=ContainerSpec(image="web:1", files=(MOUNT,)),
    mode=Replicated(replicas=1),
    update=UPDATE,
    rollback=UPDATE,
)
PLAIN = ServiceSpec(name="plain", container=ContainerSpec(image="plain:1"), mode=Replicated(replicas=2))


def contents(*agents: FakeAgent) -> list[list[bytes]]:
    """What each agent was given."""
    return [[file.content for a in agent.assignments.values() for file in a.files] for agent in agents]


async def create(m: Manager, content: bytes) -> None:
    request = control_pb2.CreateFileRequest(app="shop", kind=types_pb2.FILE_KIND_SECRET, name="pw", content=content)
    await m.control.CreateFile(request, timeout=PATIENCE_S, wait_for_ready=True)


async def rotate(m: Manager, content: bytes) -> None:
    request = control_pb2.RotateFileRequest(app="shop", kind=types_pb2.FILE_KIND_SECRET, name="pw", content=content)
    await m.control.RotateFile(request, timeout=PATIENCE_S)


async def why(m: Manager, service: str) -> list[str]:
    request = control_pb2.GetServiceRequest(app="shop", service=service)
    detail = await m.control.GetService(request, timeout=PATIENCE_S)
    return [r.why for r in detail.replicas if r.state == types_pb2.REPLICA_STATE_PENDING]


def test_a_secret_goes_to_the_nodes_that_run_it_and_rotates_by_a_rollout(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1") as a, FakeAgent(m.address, "n2") as b:
            await create(m, b"one")
            await m.deploy(PLAIN, WEB)
            await until(lambda: m.converged("web"))
            await until(lambda: m.converged("plain"))
            assert sorted(contents(a, b)) == [[], [b"one"]], "the node that runs none was told"
            await rotate(m, b"two")
            await until(lambda: m.rollout_is(types_pb2.ROLLOUT_STATE_DONE))
            await until(lambda: sorted(contents(a, b)) == [[], [b"two"]])

    asyncio.run(scene())


def test_a_rotation_that_fails_goes_back_to_the_version_before(tmp_path: Path) -> None:
    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1") as a:
            await create(m, b"one")
            await m.deploy(WEB)
            await until(lambda: m.converged("web"))
            a.crashing = "web:1"
            await rotate(m, b"bad")
            await until(lambda: m.rollout_is(types_pb2.ROLLOUT_STATE_ROLLED_BACK))
            await until(lambda: contents(a) == [[b"one"]])

    asyncio.run(scene())


def test_what_needs_secrets_waits_for_the_passphrase_and_nothing_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cipher, "COST", 16)

    async def scene() -> None:
        async with manager(tmp_path) as m, FakeAgent(m.address, "n1") as a:
            await create(m, b"one")
            await m.deploy(WEB)
            await until(lambda: m.converged("web"))
            wanted = control_pb2.SetLockRequest(kind=types_pb2.LOCK_KIND_PASSPHRASE, passphrase=PASSPHRASE)
            assert (await m.control.SetLock(wanted, timeout=PATIENCE_S)).locked == ""
            assert contents(a) == [[b"one"]]
        assert not (tmp_path / "secrets.key").exists()

        async with manager(tmp_path) as m, FakeAgent(m.address, "n1") as a, FakeAgent(m.address, "n2") as b:
            await until(lambda: m.converged("web"))
            assert (len(a.assignments), contents(a)) == (1, [[]]), "what runs goes on, though it can't be sent again"
            scale = control_pb2.ScaleRequest(app="shop", service="web", replicas=2)
            await m.control.Scale(scale, timeout=PATIENCE_S)
            locked = "this manager is locked, and reads no secrets or configs; unlock it with: rookery admin unlock"
            await until(lambda: _is(m, [locked]))
            await _deploy_beside(m)
            with pytest.raises(grpc.aio.AioRpcError, match="is locked"):
                await m.deploy(WEB)
            for wrong in ("", "wrong horse battery"):
                with pytest.raises(grpc.aio.AioRpcError, match="passphrase"):
                    await m.control.Unlock(control_pb2.UnlockRequest(passphrase=wrong), timeout=PATIENCE_S)
            assert contents(a, b) == [[], []]
            await m.control.Unlock(control_pb2.UnlockRequest(passphrase=PASSPHRASE), timeout=PATIENCE_S)
            await until(lambda: contents(a, b) == [[b"one"], [b"one"]])
            await until(lambda: m.converged("web"))

    asyncio.run(scene())


async def _is(m: Manager, whys: list[str]) -> bool:
    return await why(m, "web") == whys


async def _deploy_beside(m: Manager) -> None:
    """Another app, without secrets."""
    request = control_pb2.ApplyRequest(app=encode(AppSpec(name="other", services=(PLAIN,))), actor="test")
    await m.control.Apply(request, timeout=PATIENCE_S)

    async def converged() -> bool:
        status = await m.control.GetService(control_pb2.GetServiceRequest(app="other", service="plain"), timeout=PATIENCE_S)
        return status.status.converged

    await until(converged)
