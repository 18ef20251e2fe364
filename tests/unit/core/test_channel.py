"""An address that can't be listened on is refused with the system's reason, gRPC's own lines stay out of the log, and channels
share no connection."""

import asyncio
import os
import socket
import subprocess
import sys

import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from rookery.channel import dial, listen, server


def try_to_listen(address: str) -> int:
    async def run() -> int:
        return listen(server(), address)

    return asyncio.run(run())


@pytest.mark.parametrize("address", ["localhost", ":7070", "127.0.0.1:99999", "127.0.0.1:x", "127.0.0.1:"])
def test_what_is_no_host_and_port_is_refused(address: str) -> None:
    with pytest.raises(OSError, match=r"expected HOST:PORT, with a port from 0 to 65535"):
        try_to_listen(address)


def test_the_systems_reason_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=rf"can't listen on 127.0.0.1:{port}: address already in use"):
            try_to_listen(f"127.0.0.1:{port}")
    with pytest.raises(OSError, match=r"can't listen on 192\.0\.2\.1:1: cannot assign requested address"):
        try_to_listen("192.0.2.1:1")


def test_grpc_writes_no_lines_of_its_own() -> None:
    program = """
import asyncio, socket
from rookery.channel import listen, server

async def main():
    with socket.create_server(("127.0.0.1", 0)) as other:
        try:
            listen(server(), f"127.0.0.1:{other.getsockname()[1]}")
        except OSError:
            print("refused")

asyncio.run(main())
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert (ran.stdout, ran.stderr) == ("refused\n", "")


@pytest.mark.parametrize("part", ["rookery_manager.main", "rookery_agent.main", "rookery_proxy.main", "rookery.cli.main"])
def test_grpc_is_loaded_by_each_part_after_it_was_told_to_be_silent(part: str) -> None:
    program = f"""
import os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "grpc":
            print(os.environ.get("GRPC_VERBOSITY"))

sys.meta_path.insert(0, Watch())
import {part}
import rookery.channel
"""
    silent = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    ran = subprocess.run([sys.executable, "-c", program], env=silent, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "NONE\n"


def test_channels_of_one_process_share_no_connection() -> None:
    peers = []

    class Noting(health.aio.HealthServicer):
        async def Check(self, request, context):  # type: ignore[no-untyped-def]  # noqa: ARG002
            peers.append(context.peer())
            return health_pb2.HealthCheckResponse()

    async def run() -> None:
        listening = server()
        health_pb2_grpc.add_HealthServicer_to_server(Noting(), listening)
        address = f"127.0.0.1:{listen(listening, '127.0.0.1:0')}"
        await listening.start()
        async with asyncio.timeout(30), dial(address) as first, dial(address) as second:
            for channel in (first, second, first):
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        await listening.stop(None)

    asyncio.run(run())
    assert peers[0] == peers[2] != peers[1]
