"""A real manager process, killed with SIGKILL again and again while agents work and clients change things.

What was acknowledged is there afterwards, replicas that nobody touched keep their assignments, and in the end all converges.
"""

import asyncio
import random
from pathlib import Path

import grpc
from fake_agent import FakeAgent
from fake_proxy import FakeProxy
from manager_process import process
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
                await control.Apply(request, timeout=30)
                self.acknowledged = self.asked
            except grpc.aio.AioRpcError as error:
                assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED), error  # noqa: PT017
            await asyncio.sleep(self._random.random() * 0.05)


class Scaler:
    """Scales its own app up and down; `acknowledged` is the latest of its wishes that the manager said yes to."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.asked = 0

    def replicas(self, number: int) -> int:
        return 1 + number % 3

    async def run(self, control: "control_pb2_grpc.ControlServiceAsyncStub") -> None:
        while True:
            self.asked += 1
            request = control_pb2.ScaleRequest(app="scaled", service="s", replicas=self.replicas(self.asked), actor="test")
            try:
                await control.Scale(request, timeout=30)
                self.acknowledged = self.asked
            except grpc.aio.AioRpcError as error:
                assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED), error  # noqa: PT017
            await asyncio.sleep(0.03)

    async def is_kept(self, control: "control_pb2_grpc.ControlServiceAsyncStub") -> bool:
        """The latest wish that was acknowledged holds, or one that came after it."""
        request = control_pb2.GetServiceRequest(app="scaled", service="s")
        found = await control.GetService(request, timeout=PATIENCE_S, wait_for_ready=True)
        wishes = range(self.acknowledged, self.asked + 1)
        return found.status.service.replicas in {self.replicas(number) for number in wishes}


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
            scaled = AppSpec(name="scaled", services=(service("s", "s:1", 1),))
            await control.Apply(control_pb2.ApplyRequest(app=encode(scaled), actor="test"))
            await until(lambda: converged(control, "kept"))
            await until(lambda: converged(control, "scaled"))
            for agent in (a, b):
                agent.kept = frozenset(key for key, a in agent.assignments.items() if a.app == "kept")
            scaler = Scaler()
            clients = [Client(f"app{i}", i) for i in range(3)]
            for _ in range(ROUNDS):
                working = [asyncio.create_task(client.run(control)) for client in (*clients, scaler)]
                await asyncio.sleep(chance.random())
                for task in working:
                    assert not task.done() or task.exception() is None
                await running.kill()
                for task in working:
                    task.cancel()
                results = await asyncio.gather(*working, return_exceptions=True)
                assert all(isinstance(result, asyncio.CancelledError) for result in results), results
                await running.start()
                assert await scaler.is_kept(control)
                for client in clients:
                    if client.acknowledged:
                        assert client.acknowledged <= await image_of(control, client.app) <= client.asked
            for client in clients:
                await until(lambda client=client: converged(control, client.app))
            await until(lambda: converged(control, "scaled"))
            assert scaler.acknowledged >= ROUNDS
            assert await converged(control, "kept")
            assert len(a.kept | b.kept) == KEEP
            assert not a.missed | b.missed, "an assignment of an untouched replica disappeared"

            async def agree() -> bool:
                replicas = await control.ListReplicas(control_pb2.ListReplicasRequest())
                return {detail.replica.id for detail in replicas.replicas} == {*a.assignments, *b.assignments}

            await until(agree)

    asyncio.run(scene())
