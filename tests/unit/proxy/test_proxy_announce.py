"""The PROXY protocol, read and written; and what endpoints are told of requests."""

import asyncio
import contextlib
import dataclasses
import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxy_rig import Backend, Http, answering, ask_once, echo, endpoint, free_port, rig, route, wait_until
from rookery.model import ListenProtocol
from rookery_proxy.announce import Announced, header, parse
from rookery_proxy.request_id import RequestIds

V4, V6 = ("192.0.2.7", 51000), ("2001:db8::7", 51000)
MORE = st.binary(max_size=40)
ENDS = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)), st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6))
)  # fmt: skip
PORTS = st.integers(0, 65535)


@given(st.sampled_from([1, 2]), ENDS, PORTS, PORTS, MORE)
def test_what_is_written_is_read_however_it_is_cut(version: int, ends: Any, port: int, other: int, more: bytes) -> None:
    source, destination = (str(ends[0]), port), (str(ends[1]), other)
    written = header(version, source, destination)
    assert parse(written + more) == Announced(source=source, destination=destination, size=len(written))
    for cut in range(len(written)):
        assert parse(written[:cut]) == cut  # all of it belongs to the header, and it is not whole


@given(
    st.one_of(
        MORE,
        st.binary(max_size=300).map(lambda b: b"PROXY TCP4 " + b),
        st.binary(max_size=60).map(lambda b: b"\r\n\r\n\0\r\nQUIT\n" + b),
    )
)
def test_arbitrary_bytes_are_a_header_or_none_or_wait_for_more(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        found = parse(data)
        assert (found if isinstance(found, int) else found.size) <= len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
        b"PROXY TCP4 ::1 ::2 1 2\r\n",
        b"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY TCP4 " + b"1" * 120,
        b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0c" + b"\0" * 12,
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x08" + b"\0" * 8,
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
    ],
)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="PROXY"):
        parse(data)


def test_health_checks_and_unknown_sources_leave_it_open() -> None:
    for data in (b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ::1 ::2 1 2\r\n", header(2, None, None), header(1, V4, V6)):
        assert parse(data) == Announced(source=None, destination=None, size=len(data))
    with_more = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", 15) + b"\x01\x02\x03\x04\x05\x06\x07\x08\0\x01\0\x02" + b"TLV"
    assert parse(with_more) == Announced(source=("1.2.3.4", 1), destination=("5.6.7.8", 2), size=31)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("protocol", [ListenProtocol.HTTP, ListenProtocol.DETECT])
def test_a_client_is_who_its_balancer_says_it_is(version: int, protocol: ListenProtocol) -> None:
    async def main() -> None:
        port = free_port()
        async with rig("--accept-proxy-protocol", "127.0.0.0/8", "--forwarded") as r, Backend(answering()) as backend:
            await r.serve(route(port, endpoint("a", backend.port), protocol=protocol))
            said = header(version, V6, ("2001:db8::1", 80))
            async with Http(port) as client:
                for byte in said:
                    await client.send(bytes((byte,)))
                assert (await client.ask(headers="Forwarded: for=evil\r\n"))[0] == 200
                assert (await client.ask())[0] == 200
            async with Http(port) as client:
                await client.send(said + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await client.answer())[0] == 200
            text = bytes(b"".join(backend.received)).decode()
            assert text.count("X-Forwarded-For: 2001:db8::7\r\n") == 3
            assert text.count('Forwarded: for="[2001:db8::7]";host="x";proto=http\r\n') == 3
            assert "evil" not in text

    asyncio.run(main())


def test_a_connection_that_says_nothing_of_its_client_is_ended() -> None:
    async def main() -> None:
        port = free_port()
        async with rig("--accept-proxy-protocol", "127.0.0.1") as r, Backend(answering()) as backend:
            await r.serve(route(port, endpoint("a", backend.port)))
            async with Http(port) as client:
                await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                with contextlib.suppress(ConnectionResetError):
                    assert await client.ended()
            await wait_until(lambda: "does not begin with a PROXY header" in r.proxy.log(), "it is said")
            async with Http(port) as client:  # the balancer's own check
                await client.send(b"PROXY UNKNOWN\r\n")
                assert (await client.ask())[0] == 200
            assert b"X-Forwarded-For: 127.0.0.1\r\n" in backend.received[-1]

    asyncio.run(main())


def test_others_are_not_asked_for_a_header() -> None:
    async def main() -> None:
        port = free_port()
        async with rig("--accept-proxy-protocol", "10.0.0.0/8") as r, Backend(answering()) as backend:
            await r.serve(route(port, endpoint("a", backend.port)))
            assert (await ask_once(port))[0] == 200
            async with Http(port) as client:
                await client.send(header(1, V4, V4) + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await client.answer())[0] == 400

    asyncio.run(main())


@pytest.mark.parametrize("version", [1, 2])
def test_a_replica_is_told_who_its_client_is_on_each_connection(version: int) -> None:
    async def main() -> None:
        port, dead = free_port(), free_port()
        async with rig() as r, Backend(echo) as backend:
            plain = route(port, endpoint("a", dead), endpoint("b", backend.port), protocol=ListenProtocol.TCP)
            await r.serve(dataclasses.replace(plain, proxy_protocol=version))
            for count in (1, 2):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                source = writer.get_extra_info("sockname")
                writer.write(b"hello")
                wanted = header(version, source, ("127.0.0.1", port)) + b"hello"
                async with asyncio.timeout(15):
                    assert await reader.readexactly(len(wanted)) == wanted
                writer.close()
                assert backend.connections == count

    asyncio.run(main())


def test_each_request_has_an_id_and_a_clients_own_is_kept_where_it_is_a_word(tmp_path: Path) -> None:
    async def main() -> None:
        port, log = free_port(), tmp_path / "access.log"
        async with rig("--request-ids", "--access-log", str(log)) as r, Backend(answering()) as backend:
            await r.serve(route(port, endpoint("a", backend.port)))
            async with Http(port) as client:
                for said in (
                    "",
                    "",
                    "X-Request-Id: mine-1\r\n",
                    "X-Request-Id: a b\r\n",
                    "x-request-id: a\r\nX_Request_ID: b\r\n",
                ):
                    assert (await client.ask(headers=said))[0] == 200
            heads = bytes(backend.received[0]).decode().split("\r\n\r\n")[:5]
            ids = [re.findall(r"(?i)x[-_]request[-_]id: ?([^\r]*)", head) for head in heads]
            assert [len(found) for found in ids] == [1] * 5
            assert ids[2] == ["mine-1"]
            assert len({found[0] for found in ids}) == 5
            await wait_until(lambda: log.exists() and len(log.read_text().splitlines()) == 5, "5 lines")
            assert [json.loads(line)["request_id"] for line in log.read_text().splitlines()] == [found[0] for found in ids]

    asyncio.run(main())


def test_ids_of_two_workers_differ() -> None:
    one, other = RequestIds(), RequestIds()
    made = [ids.mark(b"\r\nHost: x\r\n\r\n")[0] for ids in (one, other) for _ in range(3)]
    assert len(set(made)) == 6
