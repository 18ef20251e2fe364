"""A real manager process, killed with SIGKILL again and again while agents work and clients change things.

What was acknowledged is there afterwards, replicas that nobody touched keep their assignments, and in the end all converges.
"""

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from fake_agent import FakeAgent
from fake_proxy import FakeProxy
from rookery import channel
from rookery.model import AppSpec, ContainerSpec, Port, ReplicaId, Replicated, ServiceSpec, UpdateConfig
from rookery.v1 import control_pb2, control_pb2_grpc, dispatch_pb2
from rookery.wire import encode
from whole_manager import until

ROUNDS = 6
PATIENCE_S = 60.0
KEEP = 6


class WatchfulAgent(FakeAgent):
    """Notes every message of the manager that takes away what it was to keep."""

    kept: frozenset[ReplicaId] = frozenset()
    missed: frozenset[ReplicaId] = frozenset()

    def _take(self, message: dispatch_pb2.ManagerMessage) -> None:
        super()._take(message)
        if message.WhichOneof("kind") in ("assignments", "delta"):
            self.missed |= self.kept - self.assignments.keys()


class Process:
    """The manager's process, on the port that it took first."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.address = ""
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        file = self.data / "address"
        file.unlink(missing_ok=True)
        listen = self.address or "127.0.0.1:0"
        command = ["-m", "rookery_manager.main", "--listen", listen, "--data", str(self.data), "--log-level", "warning"]
        self.process = await asyncio.create_subprocess_exec(sys.executable, *command)
        await until(lambda: file.exists() and file.read_text().endswith("\n"))
        self.address = file.read_text().strip()

    async def kill(self) -> None:
        assert self.process is not None
        assert self.process.returncode is None, "the manager ended by itself"
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def process(data: Path) -> AsyncIterator[Process]:
    made = Process(data)
    await made.start()
    try:
        yield made
    finally:
        await made.kill()


def service(name: str, image: str, replicas: int) -> ServiceSpec:
    return ServiceSpec(
        name=name,
        container=ContainerSpec(image=image),
        mode=Replicated(replicas=replicas),
        ports=(Port(target=80, published=8080),) if name == "web" else (),
        update=UpdateConfig(parallelism=0, monitor_s=0.0),
        drain_timeout_s=2.0,
    )


class Client:
    """Deploys one revision after the other of its own app; `acknowledged` is the latest that the manager said yes to."""

    def __init__(self, app: str, seed: int) -> None:
        self.app = app
        self.acknowledged = 0
        self.asked = 0
        self._random = random.Random(seed)

    def spec(self, number: int) -> AppSpec:
        return AppSpec(name=self.app, services=(service("s", f"i:{number}", 1 + number % 4),))

    async def run(self, control: "control_pb2_grpc.ControlServiceAsyncStub") -> None:
        while True:
            self.asked += 1
            request = control_pb2.ApplyRequest(app=encode(self.spec(self.asked)), actor="test")
            try:
                await control.Apply(request, timeout=5)
                self.acknowledged = self.asked
            except grpc.aio.AioRpcError as error:
                assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED), error  # noqa: PT017
            await asyncio.sleep(self._random.random() * 0.05)


async def image_of(control: "control_pb2_grpc.ControlServiceAsyncStub", app: str) -> int:
    request = control_pb2.GetServiceRequest(app=app, service="s")
    return int((await control.GetService(request, timeout=PATIENCE_S, wait_for_ready=True)).status.image.removeprefix("i:"))


async def converged(control: "control_pb2_grpc.ControlServiceAsyncStub", app: str) -> bool:
    return (await control.GetApp(control_pb2.GetAppRequest(app=app), timeout=PATIENCE_S, wait_for_ready=True)).converged


def test_a_manager_that_is_killed_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    async def scene() -> None:
        chance = random.Random(11)
        async with (
            process(tmp_path) as running,
            WatchfulAgent(running.address, "n1") as a,
            WatchfulAgent(running.address, "n2") as b,
            FakeProxy(running.address),
            channel.dial(running.address) as connection,
        ):
            control = control_pb2_grpc.ControlServiceStub(connection)
            app = AppSpec(name="kept", services=(service("web", "kept:1", KEEP),))
            await control.Apply(control_pb2.ApplyRequest(app=encode(app), actor="test"))
            await until(lambda: converged(control, "kept"))
            for agent in (a, b):
                agent.kept = frozenset(agent.assignments)
            clients = [Client(f"app{i}", i) for i in range(3)]
            for _ in range(ROUNDS):
                working = [asyncio.create_task(client.run(control)) for client in clients]
                await asyncio.sleep(chance.random())
                for task in working:
                    assert not task.done() or task.exception() is None
                await running.kill()
                for task in working:
                    task.cancel()
                results = await asyncio.gather(*working, return_exceptions=True)
                assert all(isinstance(result, asyncio.CancelledError) for result in results), results
                await running.start()
                for client in clients:
                    if client.acknowledged:
                        assert client.acknowledged <= await image_of(control, client.app) <= client.asked
            for client in clients:
                await until(lambda client=client: converged(control, client.app))
            assert await converged(control, "kept")
            assert len(a.kept | b.kept) == KEEP
            assert not a.missed | b.missed, "an assignment of an untouched replica disappeared"

            async def agree() -> bool:
                replicas = await control.ListReplicas(control_pb2.ListReplicasRequest())
                return {detail.replica.id for detail in replicas.replicas} == {*a.assignments, *b.assignments}

            await until(agree)

    asyncio.run(scene())
