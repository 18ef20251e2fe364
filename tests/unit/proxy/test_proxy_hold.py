"""Requests and connections that are held while their service has no replica, through a real proxy process."""

import asyncio
import dataclasses
import socket
import struct
from collections.abc import Awaitable, Callable

import pytest
from proxy_rig import Answer, Backend, Http, Rig, answering, ask_once, echo, endpoint, free_port, rig, route, wait_until
from rookery.model import Endpoint, Hold, ListenProtocol, Route

HTTP, TCP, DETECT = ListenProtocol.HTTP, ListenProtocol.TCP, ListenProtocol.DETECT


def held(port: int, *endpoints: Endpoint, protocol: ListenProtocol = HTTP, timeout_s: float = 600.0, most: int = 5_000) -> Route:
    """The route of a service that may have no replica."""
    made = route(port, *endpoints, protocol=protocol, why_empty="" if endpoints else "it is scaled to 0")
    return dataclasses.replace(made, hold=Hold(timeout_s=timeout_s, most=most))


def run(scene: Callable[[Rig], Awaitable[None]], *, workers: int = 1, report_s: float = 0.05) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), rig(workers=workers, report_s=report_s) as r:
            await scene(r)

    asyncio.run(main())


async def waiting(r: Rig, number: int) -> None:
    await r.routing.wait(lambda: r.routing.held() == number, f"{number} held")


@pytest.mark.parametrize("protocol", [HTTP, DETECT])
def test_a_request_waits_for_the_first_replica_and_the_manager_is_told_at_once(protocol: ListenProtocol) -> None:
    async def scene(r: Rig) -> None:
        port = free_port()
        await r.serve(held(port, protocol=protocol))
        asking = asyncio.create_task(ask_once(port, "/first"))
        await waiting(r, 1)
        async with Backend(answering(b"hello")) as backend:
            await r.change(held(port, endpoint("a", backend.port), protocol=protocol))
            assert (await asking)[::2] == (200, b"hello")
            assert b"GET /first " in backend.received[0]

    run(scene, report_s=1000.0)  # there is no other report


def test_a_thousand_at_once_are_all_answered_by_one_replica() -> None:
    async def scene(r: Rig) -> None:
        port = free_port()
        await r.serve(held(port))
        asking = [asyncio.create_task(ask_once(port)) for _ in range(1000)]
        await waiting(r, 1000)
        async with Backend(answering()) as backend:
            await r.change(held(port, endpoint("a", backend.port)))
            assert {answer[0] for answer in await asyncio.gather(*asking)} == {200}

    run(scene, workers=2)


def test_they_go_in_the_order_in_which_they_came() -> None:
    async def scene(r: Rig) -> None:
        port = free_port()
        await r.serve(held(port))
        asking = []
        for number in range(20):
            asking.append(asyncio.create_task(ask_once(port, f"/{number}")))
            await waiting(r, number + 1)
        seen: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append((await reader.readuntil(b"\r\n\r\n")).split()[1])
            await answering()(reader, writer)

        async with Backend(serve) as backend:
            await r.change(held(port, endpoint("a", backend.port)))
            await wait_until(lambda: len(seen) == 20, "all have come")
            assert seen == [f"/{number}".encode() for number in range(20)]
        for task in asking:
            task.cancel()

    run(scene)


def test_at_the_end_of_the_time_it_is_refused_with_the_reason() -> None:
    async def scene(r: Rig) -> None:
        port = free_port()
        await r.serve(held(port, timeout_s=0.5))
        methods = ("GET", "HEAD", "POST")
        for method, answer in zip(methods, await asyncio.gather(*(ask_once(port, method=m) for m in methods)), strict=True):
            assert (answer[0], answer[1]["retry-after"]) == (503, "5")
            assert answer[2] == (b"" if method == "HEAD" else b"shop/web: it is scaled to 0\n")
        await waiting(r, 0)

    run(scene)


def test_no_more_wait_than_may() -> None:
    async def scene(r: Rig) -> None:
        port = free_port()
        await r.serve(held(port, most=2))
        first = [asyncio.create_task(ask_once(port)) for _ in range(2)]
        await waiting(r, 2)
        status, headers, _ = await ask_once(port)
        assert (status, headers["retry-after"]) == (503, "5")
        async with Backend(answering()) as backend:
            await r.change(held(port, endpoint("a", backend.port), most=2))
            assert [answer[0] for answer in await asyncio.gather(*first)] == [200, 200]

    run(scene)


def test_a_replica_that_does_not_listen_yet_is_waited_for() -> None:
    async def scene(r: Rig) -> None:
        port, later = free_port(), free_port()
        await r.serve(held(port))
        asking = [asyncio.create_task(ask_once(port)) for _ in range(3)]
        await waiting(r, 3)
        await r.change(held(port, endpoint("a", later)))
        await r.routing.wait(lambda: (s := r.routing.stats("a")) is not None and s.errors_connect > 3, "it was tried")
        backend = Backend(answering())
        backend.port = later
        async with backend:
            assert [answer[0] for answer in await asyncio.gather(*asking)] == [200] * 3

    run(scene)


def test_a_body_is_left_with_its_sender_until_there_is_a_replica() -> None:
    async def scene(r: Rig) -> None:
        port, body = free_port(), bytes(range(256)) * 40_000
        await r.serve(held(port))
        asking = asyncio.create_task(ask_once(port, method="POST", body=body))
        await waiting(r, 1)
        async with Backend(answering()) as backend:
            await r.change(held(port, endpoint("a", backend.port)))
            assert (await asking)[0] == 200
            assert backend.received[0].endswith(body)

    run(scene)


@pytest.mark.parametrize("protocol", [TCP, DETECT])
def test_a_connection_waits_too_whether_its_client_speaks_first_or_not(protocol: ListenProtocol) -> None:
    async def scene(r: Rig) -> None:
        port = free_port()
        await r.serve(held(port, protocol=protocol))
        async with Http(port) as loud, Http(port) as silent, Backend(echo) as backend:
            await loud.send(b"\x00ping")
            await waiting(r, 2)
            await r.change(held(port, endpoint("a", backend.port), protocol=protocol))
            await silent.send(b"\x00ping")
            for client in (loud, silent):
                assert await client.reader.readexactly(5) == b"\x00ping"

    run(scene)


def test_a_client_of_http_that_hesitates_is_still_one() -> None:
    async def scene(r: Rig) -> None:
        port = free_port()
        await r.serve(held(port, protocol=DETECT))
        async with Http(port) as early, Http(port) as late, Backend(answering()) as backend:
            await waiting(r, 2)  # neither has said a word
            await early.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.sleep(0.1)
            await r.change(held(port, endpoint("a", backend.port), protocol=DETECT))
            assert (await early.answer())[0] == (await late.ask())[0] == 200
            asked = [bytes(received) for received in backend.received if received]
            assert all(b"X-Forwarded-For: 127.0.0.1" in one for one in asked)

    run(scene)


def test_a_connection_that_waited_in_vain_is_closed() -> None:
    async def scene(r: Rig) -> None:
        port = free_port()
        await r.serve(held(port, protocol=TCP, timeout_s=0.5))
        async with Http(port) as client:
            assert await client.ended()

    run(scene)


def test_who_leaves_does_not_wait() -> None:
    async def scene(r: Rig) -> None:
        port = free_port()
        await r.serve(held(port, timeout_s=600.0))
        async with Http(port) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await waiting(r, 1)
            raw = client.writer.get_extra_info("socket")
            raw.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )  # a reset: an end alone may be half of one
            client.writer.transport.abort()
            await waiting(r, 0)

    run(scene)


def test_none_wait_any_more_when_the_service_is_not_to_be_woken() -> None:
    async def scene(r: Rig) -> None:
        port = free_port()
        await r.serve(held(port))
        asking = asyncio.create_task(ask_once(port))
        await waiting(r, 1)
        await r.change(route(port, why_empty="it is scaled to 0"))
        answer: Answer = await asking
        assert (answer[0], answer[2]) == (503, b"shop/web: it is scaled to 0\n")

    run(scene)


def test_a_proxy_that_stops_refuses_those_that_wait() -> None:
    async def scene(r: Rig) -> None:
        port = free_port()
        await r.serve(held(port))
        asking = asyncio.create_task(ask_once(port))
        await waiting(r, 1)
        stopping = asyncio.create_task(r.proxy.stop())
        assert (await asking)[0] == 503
        assert await stopping == 0

    run(scene)
