"""A whole manager in this process, on a loopback port, with short leases; and the API of it."""

from __future__ import annotations  # the enums of the stubs are types there only

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ports import free_port
from rookery import channel
from rookery.identity import load
from rookery.model import AppSpec, ServiceSpec
from rookery.v1 import control_pb2, control_pb2_grpc, types_pb2
from rookery.wire import encode
from rookery_manager.main import parse, serve

PATIENCE_S = 60.0


@dataclass(slots=True)
class Manager:
    address: str
    control: control_pb2_grpc.ControlServiceAsyncStub

    async def deploy(self, *services: ServiceSpec) -> None:
        spec = AppSpec(name="shop", services=services)
        request = control_pb2.ApplyRequest(app=encode(spec), actor="test", prune=True)
        await self.control.Apply(request, timeout=PATIENCE_S, wait_for_ready=True)

    async def status(self, service: str) -> control_pb2.ServiceStatus:
        request = control_pb2.GetServiceRequest(app="shop", service=service)
        return (await self.control.GetService(request, timeout=PATIENCE_S, wait_for_ready=True)).status

    async def converged(self, service: str) -> bool:
        return (await self.status(service)).converged

    async def rollout(self, service: str = "web") -> control_pb2.RolloutStatus:
        request = control_pb2.GetRolloutRequest(app="shop", service=service)
        return await self.control.GetRollout(request, timeout=PATIENCE_S, wait_for_ready=True)

    async def rollout_is(self, state: types_pb2.RolloutState, service: str = "web") -> bool:
        return (await self.rollout(service)).rollout.state == state

    async def act(self, action: control_pb2.RolloutAction, service: str = "web") -> control_pb2.RolloutStatus:
        request = control_pb2.UpdateRolloutRequest(app="shop", service=service, action=action, actor="test")
        return await self.control.UpdateRollout(request, timeout=PATIENCE_S, wait_for_ready=True)

    async def node(self, name: str) -> control_pb2.NodeDetail:
        return await self.control.GetNode(control_pb2.GetNodeRequest(node=name), timeout=PATIENCE_S)


@asynccontextmanager
async def manager(
    data: Path, *more_flags: str, port: int = 0, lease_s: float = 3.0, secure: bool = False
) -> AsyncIterator[Manager]:
    """In plain text, unless `secure`; then the API is its admin's."""
    stop = asyncio.Event()
    flags = {
        "--listen": f"127.0.0.1:{port or free_port()}",
        "--data": str(data),
        "--heartbeat": "0.1",
        "--lease": str(lease_s),
        "--snapshot-every": "0",
    }
    options = parse([*([] if secure else ["--insecure"]), *(part for flag in flags.items() for part in flag), *more_flags])
    address = data / "address"
    address.unlink(missing_ok=True)
    serving = asyncio.create_task(serve(options, stop))
    await until(lambda: address.exists() or serving.done())
    if serving.done():
        await serving
    try:
        async with channel.dial(address.read_text().strip(), load(data / "admin.pem") if secure else None) as connection:
            yield Manager(address.read_text().strip(), control_pb2_grpc.ControlServiceStub(connection))
    finally:
        stop.set()
        async with asyncio.timeout(PATIENCE_S):
            await serving


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Returns when the condition holds; fails when it does not within the deadline."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            held = condition()
            if held if isinstance(held, bool) else await held:
                return
            await asyncio.sleep(0.01)
