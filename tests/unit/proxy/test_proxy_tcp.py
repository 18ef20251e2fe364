"""TCP through a real proxy process, and finding out what a client speaks."""

import asyncio

import pytest
from proxy_rig import Backend, Http, answering, echo, endpoint, free_port, rig, route, wait_until
from rookery.model import ListenProtocol
from rookery_proxy.detect import Guess, guess


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"GET / HTTP/1.1\r\n", Guess.HTTP),
        (b"OPTIONS * HTTP/1.1\r\n", Guess.HTTP),
        (b"POST http://x/ HTTP/1.1\r\n", Guess.HTTP),
        (b"GE", Guess.UNDECIDED),
        (b"GET ", Guess.UNDECIDED),
        (b"GET ht", Guess.UNDECIDED),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Guess.TCP),
        (b"\x16\x03\x01", Guess.TCP),
        (b"GET key\r\n", Guess.TCP),
        (b"PING\r\n", Guess.TCP),
        (b"get / HTTP/1.1\r\n", Guess.TCP),
        (b"EHLO x\r\n", Guess.TCP),
    ],
)
def test_guess(data: bytes, wanted: Guess) -> None:
    assert guess(data) is wanted


def test_bytes_and_their_end_pass_both_ways() -> None:
    async def main() -> None:
        async with rig() as r, Backend(echo) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port), protocol=ListenProtocol.TCP))
            data = bytes(range(256)) * 40000
            async with Http(port) as tcp:

                async def write() -> None:
                    await tcp.send(data)
                    tcp.writer.write_eof()

                _, back = await asyncio.gather(write(), tcp.reader.read(-1))
                assert back == data
            await r.routing.wait(lambda: (s := r.routing.stats("a")) and s.in_flight == 0 and s.bytes_in == len(data), "counted")

    asyncio.run(main())


def test_connections_are_spread_and_refusals_go_on_to_another_endpoint() -> None:
    async def main() -> None:
        async with rig() as r, Backend(echo) as a, Backend(echo) as b:
            port = free_port()
            endpoints = (endpoint("a", a.port), endpoint("b", b.port), endpoint("gone", free_port()))
            await r.serve(route(port, *endpoints, protocol=ListenProtocol.TCP))
            clients = [Http(port) for _ in range(20)]
            for client in clients:
                await client.__aenter__()
                await client.send(b"x")
                assert await client.reader.readexactly(1) == b"x"
            await r.routing.wait(lambda: sum(s.in_flight for n in "ab" if (s := r.routing.stats(n))) == 20, "20 open")
            assert min(a.connections, b.connections) >= 7  # the emptier of two
            for client in clients:
                await client.__aexit__()
            await r.routing.wait(lambda: sum(s.in_flight for n in "ab" if (s := r.routing.stats(n))) == 0, "0 open")

    asyncio.run(main())


def test_a_port_of_unknown_protocol_serves_all_kinds() -> None:
    async def greeting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        await echo(reader, writer)

    async def main() -> None:
        async with rig() as r, Backend(answering()) as web, Backend(greeting) as mail, Backend(echo) as raw:
            web_port, mail_port, quiet_port, raw_port = (free_port() for _ in range(4))
            detect = ListenProtocol.DETECT
            await r.serve(
                route(web_port, endpoint("web", web.port), protocol=detect),
                route(mail_port, endpoint("mail", mail.port, target=25), protocol=detect, name="shop/mail"),
                route(quiet_port, endpoint("quiet", mail.port, target=9000), protocol=detect, name="shop/quiet"),
                route(raw_port, endpoint("raw", raw.port), protocol=detect, name="shop/raw"),
            )
            async with Http(web_port) as http:
                for part in (b"G", b"ET ", b"/ HTTP/1.1\r\nHost: x\r\n\r\n"):
                    await http.send(part)
                assert (await http.answer())[2] == b"ok"
            assert b"X-Forwarded-For" in bytes(web.received[0])
            for port in (mail_port, quiet_port):
                async with Http(port) as client:
                    assert await asyncio.wait_for(client.reader.readline(), 10) == b"220 hello\r\n"
            for first in (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00", b"SET a b\r\n", b"GET key\r\n", b"\r\n"):
                async with Http(raw_port) as tcp:
                    await tcp.send(first)
                    assert await asyncio.wait_for(tcp.reader.readexactly(len(first)), 10) == first

    asyncio.run(main())


def test_a_client_that_was_silent_at_first_may_still_speak_http() -> None:
    async def main() -> None:
        async with rig() as r, Backend(answering(b"a")) as a, Backend(answering(b"b")) as b:
            port = free_port()
            both = (endpoint("a", a.port), endpoint("b", b.port))
            await r.serve(route(port, *both, protocol=ListenProtocol.DETECT))
            async with Http(port) as client:
                await wait_until(lambda: a.connections + b.connections == 1, "an endpoint to be listened to")
                assert {(await client.ask())[2] for _ in range(40)} == {b"a", b"b"}  # balanced, so not a tunnel to one
            assert all(b"X-Forwarded-For" in bytes(heard) for heard in (*a.received, *b.received) if heard)

    asyncio.run(main())


def test_a_silent_client_does_not_hold_a_stop_up_and_does_not_notice_it() -> None:
    async def main() -> None:
        async with rig() as r, Backend(echo) as a, Backend(echo) as b:
            port = free_port()
            at_a, at_b = (route(port, endpoint(name, x.port), protocol=ListenProtocol.DETECT) for name, x in (("a", a), ("b", b)))
            await r.serve(at_a)
            async with Http(port) as client:
                await wait_until(lambda: a.connections == 1, "the endpoint to be listened to")
                await r.change(at_b)
                await r.routing.wait(lambda: (s := r.routing.stats("a")) is None or not s.in_flight, "nothing in flight")
                await a.stop()
                await client.send(b"\x00raw")
                assert await asyncio.wait_for(client.reader.readexactly(4), 10) == b"\x00raw"
                assert bytes(b.received[-1]) == b"\x00raw"

    asyncio.run(main())


def test_a_silent_client_that_ends_its_output_still_gets_what_the_server_says() -> None:
    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.write(b"bye")

    async def main() -> None:
        async with rig() as r, Backend(late) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port), protocol=ListenProtocol.DETECT))
            async with Http(port) as client:
                await wait_until(lambda: backend.connections == 1, "the endpoint to be listened to")
                client.writer.write_eof()
                assert await asyncio.wait_for(client.reader.read(), 10) == b"bye"

    asyncio.run(main())
