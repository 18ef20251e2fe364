"""Requests that wait because every replica has as many in flight as it may, and calls of HTTP/2 that wait at all: through a real
proxy process."""

import asyncio
import contextlib
import dataclasses
from typing import Any

import grpc
import pytest
from proxy_rig import Backend, Http, Rig, answering, ask_once, echo, endpoint, free_port, rig, route
from rookery.model import Balancing, Endpoint, Hold, ListenProtocol, Route
from test_proxy_http2 import Server, call, dial

HTTP, TCP, DETECT, HTTP2 = ListenProtocol.HTTP, ListenProtocol.TCP, ListenProtocol.DETECT, ListenProtocol.HTTP2
PATIENT = 60.0


def limited(
    port: int, *endpoints: Endpoint, most: int = 1000, wait_s: float = PATIENT, limit: int = 1, protocol: ListenProtocol = HTTP
) -> Route:
    balancing = Balancing(max_in_flight=limit, queue_s=wait_s, queue_most=most)
    return dataclasses.replace(route(port, *endpoints, protocol=protocol), balancing=balancing)


async def waiting(r: Rig, number: int) -> None:
    await r.routing.wait(lambda: r.routing.held() == number, f"{number} wait", PATIENT)


class Turnstile:
    """Answers one request each time it is told to; knows who came, and how many were inside at most."""

    def __init__(self) -> None:
        self.came: list[str] = []
        self.inside = self.most = 0
        self.free = asyncio.Semaphore(0)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            self.came.append(head.split()[1].decode())
            self.inside += 1
            self.most = max(self.most, self.inside)
            await self.free.acquire()
            self.inside -= 1
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def test_requests_wait_in_order_for_a_replica_that_has_its_fill() -> None:
    async def main() -> None:
        port, gate = free_port(), Turnstile()
        async with rig() as r, Backend(gate) as backend:
            await r.serve(limited(port, endpoint("a", backend.port), limit=2))
            asking = []
            for number in range(8):
                asking.append(asyncio.create_task(ask_once(port, f"/{number}")))
                await r.routing.wait(lambda n=number: len(gate.came) + max(r.routing.held(), 0) == n + 1, "it came", PATIENT)
            await waiting(r, 6)
            assert gate.came == ["/0", "/1"]
            for _ in asking:
                gate.free.release()
            assert [(await task)[0] for task in asking] == [200] * 8
            assert gate.came == [f"/{number}" for number in range(8)]
            assert gate.most == 2

    asyncio.run(main())


def test_a_crowd_is_served_at_the_limit_and_nobody_is_forgotten() -> None:
    async def main() -> None:
        port, gates = free_port(), (Turnstile(), Turnstile())
        for gate in gates:
            gate.free = asyncio.Semaphore(10**6)
        async with rig(workers=2) as r, Backend(gates[0]) as one, Backend(gates[1]) as other:
            await r.serve(limited(port, endpoint("a", one.port), endpoint("b", other.port), limit=4))

            async def ask_often() -> list[int]:
                async with Http(port) as client:
                    return [(await client.ask())[0] for _ in range(20)]

            for answers in await asyncio.gather(*(ask_often() for _ in range(50))):
                assert answers == [200] * 20
            assert max(gate.most for gate in gates) <= 4
            await waiting(r, 0)

    asyncio.run(main())


def test_beyond_the_bounds_of_number_and_time_it_is_refused() -> None:
    async def main() -> None:
        port, gate = free_port(), Turnstile()
        async with rig() as r, Backend(gate) as backend:
            await r.serve(limited(port, endpoint("a", backend.port), most=1))
            served = asyncio.create_task(ask_once(port, "/served"))
            await r.routing.wait(lambda: gate.came == ["/served"], "one is served", PATIENT)
            patient = asyncio.create_task(ask_once(port, "/patient"))
            await waiting(r, 1)
            status, headers, body = await ask_once(port, "/late")
            assert (status, headers["retry-after"]) == (503, "1")
            assert body == b"shop/web: each of its 1 replicas has as many requests as it may (max_in_flight)\n"
            gate.free.release()
            assert (await served)[0] == 200
            gate.free.release()
            assert (await patient)[0] == 200
            await r.change(limited(port, endpoint("a", backend.port), wait_s=0.3))
            served = asyncio.create_task(ask_once(port, "/again"))
            await r.routing.wait(lambda: gate.came[-1] == "/again", "one is served", PATIENT)
            assert (await ask_once(port, "/in-vain"))[0] == 503
            gate.free.release()
            assert (await served)[0] == 200
            assert not {"/late", "/in-vain"} & set(gate.came)

    asyncio.run(main())


def test_who_waits_when_the_last_replica_leaves_is_refused_and_a_new_replica_takes_those_who_wait() -> None:
    async def main() -> None:
        port, gate = free_port(), Turnstile()
        async with rig() as r, Backend(gate) as backend, Backend(answering()) as other:
            await r.serve(limited(port, endpoint("a", backend.port)))
            served = asyncio.create_task(ask_once(port))
            await r.routing.wait(lambda: len(gate.came) == 1, "one is served", PATIENT)
            patient = asyncio.create_task(ask_once(port))
            await waiting(r, 1)
            await r.change(limited(port, endpoint("a", backend.port), endpoint("b", other.port)))
            assert (await patient)[0] == 200
            patient = [asyncio.create_task(ask_once(port)) for _ in range(2)]
            assert [(await task)[0] for task in patient] == [200, 200]
            await r.change(limited(port, endpoint("a", backend.port)))
            last = asyncio.create_task(ask_once(port))
            await waiting(r, 1)
            await r.change(limited(port))
            assert (await last)[0] == 503
            gate.free.release()
            assert (await served)[0] == 200

    asyncio.run(main())


@pytest.mark.parametrize("protocol", [TCP, DETECT])
def test_connections_wait_for_one_that_ends(protocol: ListenProtocol) -> None:
    async def main() -> None:
        port = free_port()
        async with rig() as r, Backend(echo) as backend:
            await r.serve(limited(port, endpoint("a", backend.port), protocol=protocol, most=1))
            async with Http(port) as first, Http(port) as second:
                await first.send(b"\x00one")
                assert await first.reader.readexactly(4) == b"\x00one"
                await second.send(b"\x00two")
                await waiting(r, 1)
                async with Http(port) as third:
                    await third.send(b"\x00no!")
                    with contextlib.suppress(ConnectionResetError):  # what it said was not read
                        assert await third.ended()
                first.writer.close()
                assert await second.reader.readexactly(4) == b"\x00two"

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["limit", "zero"])
def test_a_call_of_http2_waits_and_is_answered(kind: str) -> None:
    async def main() -> None:
        port = free_port()
        async with rig() as r, Server(b"a") as server, dial(port) as channel:
            end = endpoint("a", server.port)
            held = dataclasses.replace(route(port, protocol=HTTP2), hold=Hold(timeout_s=PATIENT, most=10))
            await r.serve(held if kind == "zero" else limited(port, end, protocol=HTTP2))
            blocking: Any = None
            if kind == "limit":
                blocking = call(channel, "Wait")(b"")
                await r.routing.wait(lambda: server.calls == 1, "one is in flight", PATIENT)
            calls = [call(channel, "Echo")(b"%d" % number) for number in range(3)]
            gone = call(channel, "Echo")(b"gone")
            await waiting(r, 4)
            gone.cancel()
            await waiting(r, 3)
            if kind == "limit":
                blocking.cancel()
            else:
                await r.change(dataclasses.replace(held, endpoints=(end,)))
            assert [await one for one in calls] == [b"0", b"1", b"2"]
            assert server.calls == (1 if kind == "limit" else 0)  # that do not echo

    asyncio.run(main())


def test_a_call_of_http2_that_waits_in_vain_is_told_in_grpcs_own_words() -> None:
    async def main() -> None:
        port = free_port()
        async with rig() as r, dial(port) as channel:
            held = dataclasses.replace(route(port, protocol=HTTP2), hold=Hold(timeout_s=0.3, most=10))
            await r.serve(held)
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call(channel, "Echo")(b"")
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE
            patient = call(channel, "Echo")(b"")
            await r.change(dataclasses.replace(held, hold=Hold(timeout_s=PATIENT, most=10)))
            refused = [patient, call(channel, "Echo")(b"")]
            await r.change(dataclasses.replace(held, hold=None))
            for one in refused:
                with pytest.raises(grpc.aio.AioRpcError) as error:
                    await one
                assert error.value.code() is grpc.StatusCode.UNAVAILABLE

    asyncio.run(main())
