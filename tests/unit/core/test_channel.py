"""An address that can't be listened on is refused with the system's reason, and gRPC's own lines stay out of the log."""

import asyncio
import socket
import subprocess
import sys

import pytest
from rookery.channel import listen, server


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
