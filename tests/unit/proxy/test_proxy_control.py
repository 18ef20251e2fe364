"""What the supervising process and its workers say to each other, and that a proxy ends whatever it is doing."""

import asyncio
import socket

import pytest
from proxy_rig import endpoint, free_port, rig, route, wait_until
from rookery.model import RouteTable
from rookery_proxy.control import Channel, Drain, Listen, Replace


def test_a_socket_that_was_closed_meanwhile_still_travels_and_what_follows_it_too() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs, socket.socket() as listening:
        out, into = Channel(ours), Channel(theirs)
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        routes = tuple(route(1000 + number) for number in range(5_000))
        out.send(Replace(table=RouteTable(version=1, routes=routes)))
        out.send(Listen(port=port), listening.fileno())
        out.send(Drain(timeout_s=1.0))
        assert out.waiting
        listening.close()
        heard = []
        while len(heard) < 3:
            out.flush()
            heard += into.receive()
            assert not out.closed
        assert [type(message) for message in heard] == [Replace, Listen, Drain]
        with into.take_socket() as taken:
            assert taken.getsockname()[1] == port


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_proxy_ends_in_order_while_a_large_table_comes(workers: int) -> None:
    async def main() -> None:
        # It would wait so long for a worker that does not hear that it is to end.
        async with rig("--drain-timeout", "600", workers=workers) as r:
            await r.serve(route(free_port()))
            port = free_port()
            ends = [endpoint(f"r{n}", 20_000 + n) for n in range(10)]
            r.routing.put_table(*(route(port, *ends, name=f"a{n}/web", host=f"h{n}.example") for n in range(1_000)))
            await wait_until(lambda: listens(port), "the port is open, and the workers are about to be told", 60)
            assert await r.proxy.stop() == 0

    asyncio.run(main())
