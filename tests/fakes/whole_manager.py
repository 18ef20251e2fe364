"""A whole manager in this process, on a loopback port, with short leases; and the API of it."""

import argparse
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rookery import channel
from rookery.model import AppSpec, ServiceSpec
from rookery.v1 import control_pb2, control_pb2_grpc
from rookery.wire import encode
from rookery_manager.main import serve

PATIENCE_S = 15.0


@dataclass(slots=True)
class Manager:
    address: str
    control: "control_pb2_grpc.ControlServiceAsyncStub"

    async def deploy(self, *services: ServiceSpec) -> None:
        spec = AppSpec(name="shop", services=services)
        await self.control.Apply(control_pb2.ApplyRequest(app=encode(spec), actor="test", prune=True), timeout=PATIENCE_S)

    async def status(self, service: str) -> control_pb2.ServiceStatus:
        request = control_pb2.GetServiceRequest(app="shop", service=service)
        return (await self.control.GetService(request, timeout=PATIENCE_S)).status

    async def converged(self, service: str) -> bool:
        return (await self.status(service)).converged

    async def node(self, name: str) -> control_pb2.NodeDetail:
        return await self.control.GetNode(control_pb2.GetNodeRequest(node=name), timeout=PATIENCE_S)


@asynccontextmanager
async def manager(data: Path, *, port: int = 0) -> AsyncIterator[Manager]:
    stop = asyncio.Event()
    options = argparse.Namespace(listen=f"127.0.0.1:{port}", data=data, heartbeat=0.1, lease=0.6, log_level="info")
    address = data / "address"
    address.unlink(missing_ok=True)
    serving = asyncio.create_task(serve(options, stop))
    await until(lambda: address.exists() or serving.done())
    if serving.done():
        await serving
    try:
        async with channel.dial(address.read_text().strip()) as connection:
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
