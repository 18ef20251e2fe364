"""Nothing ambiguous is passed on, in either direction: tables of hostile messages, and arbitrary bytes cut anywhere."""

import asyncio
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxy_rig import Backend, Http, answering, endpoint, free_port, rig, route
from rookery_proxy.answer import parse_answer
from rookery_proxy.body import Chunks
from rookery_proxy.head import CHUNKED as CHUNKED_LENGTH
from rookery_proxy.head import Refusal, check_partial
from rookery_proxy.request import parse_request

H = b"Host: x\r\n"
POST = b"POST / HTTP/1.1\r\n" + H
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

# What a client sends, and the status it is refused with.
REFUSED: dict[str, tuple[bytes, int]] = {
    # two framings
    "length and chunked": (POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked and length": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400),
    "two equal lengths": (POST + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "two different lengths": (POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", 400),
    "list of lengths": (POST + b"Content-Length: 4, 4\r\n\r\nabcd", 400),
    "two codings": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "coding and identity": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400),
    # odd lengths
    "plus sign": (POST + b"Content-Length: +4\r\n\r\nabcd", 400),
    "minus sign": (POST + b"Content-Length: -4\r\n\r\nabcd", 400),
    "hexadecimal length": (POST + b"Content-Length: 0x4\r\n\r\nabcd", 400),
    "empty length": (POST + b"Content-Length:\r\n\r\n", 400),
    "length in words": (POST + b"Content-Length: four\r\n\r\nabcd", 400),
    "length with a space": (POST + b"Content-Length: 1 0\r\n\r\nabcd", 400),
    "length with an underscore digit": (POST + b"Content-Length: 1_0\r\n\r\nabcd", 400),
    "length beyond 64 bits": (POST + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    "length with a fraction": (POST + b"Content-Length: 4.0\r\n\r\nabcd", 400),
    "length of other digits": (POST + "Content-Length: ٤\r\n\r\nabcd".encode(), 400),
    # odd codings
    "unknown coding": (POST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    "gzip, chunked": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "chunked twice": (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 501),
    "chunked, identity": (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 501),
    "xchunked": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    "quoted coding": (POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n', 501),
    "coding with a parameter": (POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", 501),
    "empty coding": (POST + b"Transfer-Encoding:\r\n\r\n", 501),
    "coding with a vertical tab": (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "coding in HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    # names that are nearly right
    "space before the colon": (POST + b"Content-Length : 4\r\n\r\nabcd", 400),
    "tab before the colon": (POST + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", 400),
    "underscore in the length": (POST + b"Content_Length: 4\r\n\r\nabcd", 400),
    "underscore in the coding": (POST + b"Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "underscore in X-Forwarded-For": (b"GET / HTTP/1.1\r\n" + H + b"X_Forwarded_For: 1.2.3.4\r\n\r\n", 400),
    "NUL in a name": (POST + b"Transfer\0-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "no name": (b"GET / HTTP/1.1\r\n" + H + b": x\r\n\r\n", 400),
    "no colon": (b"GET / HTTP/1.1\r\n" + H + b"Transfer-Encoding chunked\r\n\r\n", 400),
    "name in brackets": (b"GET / HTTP/1.1\r\n" + H + b"(x): 1\r\n\r\n", 400),
    "name beyond ASCII": (b"GET / HTTP/1.1\r\n" + H + b"Tr\xe4nsfer: 1\r\n\r\n", 400),
    # line ends and folding
    "folded line": (b"GET / HTTP/1.1\r\n" + H + b"X: a\r\n b\r\n\r\n", 400),
    "folded coding": (POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400),
    "space before the first field": (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "bare LF everywhere": (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    "bare LF after the request line": (b"GET / HTTP/1.1\n" + H + b"\r\n", 400),
    "bare LF after a field": (b"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", 400),
    "bare LF before the empty line": (b"GET / HTTP/1.1\r\nHost: x\n\r\n", 400),
    "bare CR in a value": (b"GET / HTTP/1.1\r\n" + H + b"X: a\rTransfer-Encoding: chunked\r\n\r\n", 400),
    "bare CR as a line end": (b"GET / HTTP/1.1\rHost: x\r\r", 400),
    "CR CR LF": (b"GET / HTTP/1.1\r\r\n" + H + b"\r\n", 400),
    # control bytes
    "NUL in a value": (b"GET / HTTP/1.1\r\n" + H + b"X: a\0b\r\n\r\n", 400),
    "escape in a value": (b"GET / HTTP/1.1\r\n" + H + b"X: a\x1b[0m\r\n\r\n", 400),
    "delete in a value": (b"GET / HTTP/1.1\r\n" + H + b"X: a\x7f\r\n\r\n", 400),
    "NUL in the target": (b"GET /\0 HTTP/1.1\r\n" + H + b"\r\n", 400),
    "byte beyond ASCII in the target": (b"GET /\xe4 HTTP/1.1\r\n" + H + b"\r\n", 400),
    "fragment in the target": (b"GET /a#b HTTP/1.1\r\n" + H + b"\r\n", 400),
    # request lines
    "lower-case method": (b"get / HTTP/1.1\r\n" + H + b"\r\n", 400),
    "method with a bracket": (b"GE(T / HTTP/1.1\r\n" + H + b"\r\n", 400),
    "endless method": (b"G" * 40 + b" / HTTP/1.1\r\n" + H + b"\r\n", 400),
    "space before the method": (b" GET / HTTP/1.1\r\n" + H + b"\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\n" + H + b"\r\n", 400),
    "tab for a space": (b"GET\t/\tHTTP/1.1\r\n" + H + b"\r\n", 400),
    "space in the target": (b"GET /a b HTTP/1.1\r\n" + H + b"\r\n", 400),
    "space after the version": (b"GET / HTTP/1.1 \r\n" + H + b"\r\n", 400),
    "no version": (b"GET /\r\n" + H + b"\r\n", 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\n" + H + b"\r\n", 505),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\n" + H + b"\r\n", 505),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/1.10": (b"GET / HTTP/1.10\r\n" + H + b"\r\n", 400),
    "http/1.1": (b"GET / http/1.1\r\n" + H + b"\r\n", 400),
    "HTTP/01.1": (b"GET / HTTP/01.1\r\n" + H + b"\r\n", 400),
    "target without a slash": (b"GET a HTTP/1.1\r\n" + H + b"\r\n", 400),
    "asterisk with GET": (b"GET * HTTP/1.1\r\n" + H + b"\r\n", 400),
    "CONNECT": (b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", 405),
    "CONNECT with a path": (b"CONNECT / HTTP/1.1\r\n" + H + b"\r\n", 405),
    "other scheme": (b"GET ftp://x/ HTTP/1.1\r\n" + H + b"\r\n", 400),
    # hosts
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (b"GET / HTTP/1.1\r\n" + H + H + b"\r\n", 400),
    "two Hosts in HTTP/1.0": (b"GET / HTTP/1.0\r\n" + H + b"Host: y\r\n\r\n", 400),
    "Host with a path": (b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400),
    "Host with a user": (b"GET / HTTP/1.1\r\nHost: a@x\r\n\r\n", 400),
    "Host with a space": (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "Host with an odd port": (b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
    "URL of another host": (b"GET http://y/ HTTP/1.1\r\n" + H + b"\r\n", 400),
    "URL with a user": (b"GET http://a@x/ HTTP/1.1\r\n" + H + b"\r\n", 400),
    # Connection against the framing
    "Connection names the length": (POST + b"Content-Length: 4\r\nConnection: Content-Length\r\n\r\nabcd", 400),
    "Connection names the coding": (POST + b"Transfer-Encoding: chunked\r\nConnection: x, transfer-encoding\r\n\r\n0\r\n", 400),
    "Connection names the Host": (b"GET / HTTP/1.1\r\n" + H + b"Connection: host\r\n\r\n", 400),
    "unknown expectation": (POST + b"Content-Length: 0\r\nExpect: more\r\n\r\n", 417),
    # chunks, from the first on
    "chunk size in words": (CHUNKED + b"zz\r\n", 400),
    "chunk size with 0x": (CHUNKED + b"0x5\r\nabcde\r\n0\r\n\r\n", 400),
    "chunk size with a sign": (CHUNKED + b"+5\r\nabcde\r\n0\r\n\r\n", 400),
    "negative chunk size": (CHUNKED + b"-1\r\n", 400),
    "space before the chunk size": (CHUNKED + b" 5\r\nabcde\r\n0\r\n\r\n", 400),
    "space after the chunk size": (CHUNKED + b"5 \r\nabcde\r\n0\r\n\r\n", 400),
    "empty chunk size": (CHUNKED + b"\r\n0\r\n\r\n", 400),
    "chunk size of 17 digits": (CHUNKED + b"10000000000000000\r\n", 400),
    "bare LF after the chunk size": (CHUNKED + b"5\nabcde\r\n0\r\n\r\n", 400),
    "bare CR after the chunk size": (CHUNKED + b"5\rabcde\r\n0\r\n\r\n", 400),
    "bare LF in an extension": (CHUNKED + b"5;a\nb\r\nabcde\r\n0\r\n\r\n", 400),
    "NUL in an extension": (CHUNKED + b"5;a\0\r\nabcde\r\n0\r\n\r\n", 400),
    "extension without a name": (CHUNKED + b"5;\r\nabcde\r\n0\r\n\r\n", 400),
    "endless extension": (CHUNKED + b"5;" + b"a" * 5000, 400),
    "chunk longer than its size": (CHUNKED + b"3\r\nabcde\r\n0\r\n\r\n", 400),
    "chunk ended by LF": (CHUNKED + b"3\r\nabc\n0\r\n\r\n", 400),
    "trailer with a length": (CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n", 400),
    "trailer with a Host": (CHUNKED + b"0\r\nHost: y\r\n\r\n", 400),
    "trailer with a coding": (CHUNKED + b"0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "folded trailer": (CHUNKED + b"0\r\nX: a\r\n b\r\n\r\n", 400),
    "trailer with a space before the colon": (CHUNKED + b"0\r\nX : a\r\n\r\n", 400),
    "endless trailer": (CHUNKED + b"0\r\n" + b"X: yyyyyyyy\r\n" * 1000 + b"\r\n", 400),
    # too much
    "head too large": (b"GET / HTTP/1.1\r\n" + H + b"X: " + b"a" * 40000 + b"\r\n\r\n", 431),
    "target too large": (b"GET /" + b"a" * 40000 + b" HTTP/1.1\r\n" + H + b"\r\n", 431),
    "too many fields": (b"GET / HTTP/1.1\r\n" + H + b"X: y\r\n" * 200 + b"\r\n", 431),
    "endless head": (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10000, 431),
}  # fmt: skip


def test_there_are_enough_hostile_requests() -> None:
    assert len(REFUSED) >= 100


def test_hostile_requests_are_refused_and_nothing_of_them_reaches_an_endpoint() -> None:
    async def main() -> None:
        async with rig() as r, Backend(answering()) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port)))
            wrong: list[str] = []

            async def attack(name: str, data: bytes, wanted: int, *, cut: int) -> None:
                async with Http(port) as http:
                    # What follows would be a good request to a server that reads the framing in another way.
                    message = data + SMUGGLED
                    for at in range(0, len(message), cut):
                        http.writer.write(message[at : at + cut])
                        if cut < 100:
                            await asyncio.sleep(0)
                    status, headers, why = await http.answer()
                    if (status, headers.get("connection")) != (wanted, "close") or not why.strip() or not await http.ended():
                        wrong.append(f"{name}: {status} {why!r}")

            for name, (data, wanted) in REFUSED.items():
                await attack(name, data, wanted, cut=1 << 20)
            await asyncio.gather(
                *(attack(name, data, wanted, cut=7) for name, (data, wanted) in REFUSED.items() if len(data) < 1000)
            )
            assert wrong == []
            forwarded = [bytes(data) for data in backend.received if data]
            assert not any(b"smuggled" in data for data in forwarded), forwarded
            # Of a chunked body the good beginning may have reached the endpoint, never an end.
            for data in forwarded:
                head, _, body = data.partition(b"\r\n\r\n")
                assert b"\r\nTransfer-Encoding: chunked\r\n" in head, data
                result = fed(body, [], unwrap=False)
                assert isinstance(result, tuple), data
                assert not result[2], data

    asyncio.run(main())


BAD_ANSWERS: dict[str, bytes] = {
    "no HTTP": b"hello\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "no status": b"HTTP/1.1\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "status 600": b"HTTP/1.1 600 Odd\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "bare LF after a field": b"HTTP/1.1 200 OK\r\nX: a\nContent-Length: 0\r\n\r\n",
    "folded line": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "NUL": b"HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 0\r\n\r\n",
    "space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "odd length": b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
    "list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1,1\r\n\r\na",
    "underscore": b"HTTP/1.1 200 OK\r\nContent_Length: 1\r\n\r\na",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "gzip, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two codings": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding of a 204": b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Connection names the length": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: content-length\r\n\r\na",
    "unasked upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "interim answers without end": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50,
    "head too large": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 40000 + b"\r\n\r\n",
    "endless head": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10000,
    "bad chunk at once": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "nothing at all": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-",
}


def test_answers_that_could_be_read_in_two_ways_are_502() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        writer.write(list(BAD_ANSWERS.values())[int(path[1:])])

    async def main() -> None:
        async with rig() as r, Backend(serve) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port)))
            wrong: list[str] = []
            for n, name in enumerate(BAD_ANSWERS):
                async with Http(port) as http:
                    status, headers, why = await http.ask(f"/{n}", method="POST")
                    while status == 103:
                        status, headers, why = await http.answer()
                    if status != 502 or b"endpoint" not in why or "x" in headers:
                        wrong.append(f"{name}: {status} {headers} {why!r}")
            assert wrong == []
            await r.routing.wait(lambda: (s := r.routing.stats("a")) and s.errors_upstream == len(BAD_ANSWERS), "all counted")

    asyncio.run(main())


def test_an_answer_that_goes_wrong_on_its_way_is_cut_off_and_not_ended() -> None:
    bad = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcde\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nContent-Length: 1\r\n\r\n",
    ]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = bad[int((await reader.readuntil(b"\r\n\r\n")).split()[1][1:])]
        cut = data.index(b"\r\n\r\n") + 4
        writer.write(data[:cut])
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(data[cut:])

    async def main() -> None:
        async with rig() as r, Backend(serve) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port)))
            for n in range(len(bad)):
                async with Http(port) as http:
                    await http.send(b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" % n)
                    await http.reader.readuntil(b"\r\n\r\n")
                    rest = await asyncio.wait_for(http.reader.read(), 10)
                    assert not rest.endswith(b"0\r\n\r\n")
                    assert len(rest) < 10

    asyncio.run(main())


def test_what_an_endpoint_sends_beyond_its_answer_is_never_passed_on() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

    async def main() -> None:
        async with rig() as r, Backend(serve) as backend:
            port = free_port()
            await r.serve(route(port, endpoint("a", backend.port)))
            async with Http(port) as http:
                for _ in range(5):
                    assert (await http.ask())[2] == b"ok"
            assert backend.connections == 5

    asyncio.run(main())


HEADS = st.one_of(
    st.binary(max_size=300),
    st.lists(
        st.sampled_from(
            [
                b"GET", b"POST", b" ", b"/", b"/a?b", b"*", b"http://x/y", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\n", b"\r",
                b"Host: x", b"Host:", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Connection: close, x",
                b"Upgrade: websocket", b"Expect: 100-continue", b"X-Forwarded-For: y", b"\0", b"\x80", b": ",
                b"200", b" OK", b"\t", b"\r\n\r\n",
            ]
        ),
        max_size=30,
    ).map(b"".join),
)  # fmt: skip


@given(HEADS)
def test_any_bytes_are_a_message_or_a_refusal(data: bytes) -> None:
    for parse in (parse_request, lambda head: parse_answer(head, b"GET"), check_partial):
        try:
            parse(data)
        except Refusal as refusal:
            refused = refusal
        else:
            continue
        assert 400 <= refused.status <= 505
        assert refused.why.isprintable()


@given(HEADS)
def test_what_is_passed_on_has_one_framing_one_host_and_no_odd_byte(data: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\n" + data + b"\r\n\r\n"
    try:
        fields = parse_request(head).fields
    except Refusal:
        return
    lines = fields.lines.lower()
    assert len(re.findall(rb"\r\ncontent[-_]length:", lines)) + len(re.findall(rb"\r\ntransfer[-_]encoding:", lines)) <= 1
    assert len(re.findall(rb"\r\nhost:", lines)) == 1
    assert not re.search(rb"\r\n(connection|keep-alive|upgrade|te|x-forwarded-for):", lines)
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", lines)
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", lines)
    # Taken once more, it means the same.
    again = parse_request(b"POST / HTTP/1.1" + fields.lines + b"\r\n").fields
    assert (again.lines, again.length, again.host) == (fields.lines, fields.length, fields.host)


CHUNKS = st.one_of(
    st.binary(max_size=100),
    st.lists(
        st.sampled_from(
            [
                b"3\r\nabc\r\n",
                b"a\r\n0123456789\r\n",
                b"1;x=y\r\nz\r\n",
                b'1;x="y\\""\r\nz\r\n',
                b"0\r\n",
                b"\r\n",
                b"X: y\r\n",
                b"0",
                b"\r",
                b";",
            ]
        ),
        max_size=8,
    ).map(b"".join),
)


def fed(data: bytes, cuts: list[int], *, unwrap: bool) -> tuple[bytes, bytes, bool] | str:
    """What comes of a chunked body that arrives in pieces: passed on, left over, complete; or why it was refused."""
    chunks = Chunks(400, unwrap=unwrap)
    out = b""
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    for start, stop in itertools.pairwise(places):
        try:
            passed, after = chunks.feed(data[start:stop])
        except Refusal:
            return "refused"
        out += passed
        if chunks.done:
            return out, after + data[stop:], True
    return out, b"", False


@given(CHUNKS, st.lists(st.integers(0, 100), max_size=6), st.booleans())
def test_a_chunked_body_means_the_same_wherever_it_is_cut(data: bytes, cuts: list[int], unwrap: bool) -> None:
    whole, pieces = fed(data, [], unwrap=unwrap), fed(data, cuts, unwrap=unwrap)
    assert whole == pieces


@given(CHUNKS)
def test_a_whole_chunked_body_passes_on_what_it_says(data: bytes) -> None:
    result = fed(data, [], unwrap=False)
    if isinstance(result, str) or not result[2]:
        return
    passed = result[0]
    assert b";" not in passed.partition(b"\r\n")[0]  # no extension goes on
    again = fed(passed, [], unwrap=False)
    assert again == (passed, b"", True)
    plain = fed(data, [], unwrap=True)
    assert not isinstance(plain, str)
    body = b""
    rest = passed
    while size := int(rest.partition(b"\r\n")[0], 16):
        start = rest.index(b"\r\n") + 2
        body += rest[start : start + size]
        rest = rest[start + size + 2 :]
    assert plain[0] == body


def test_a_request_line_alone_is_parsed_when_the_fields_are_known() -> None:
    first = parse_request(b"GET /a HTTP/1.1\r\nHost: x\r\nAccept: y\r\n\r\n")
    second = parse_request(b"PUT /b?c HTTP/1.1\r\nHost: x\r\nAccept: y\r\n\r\n", first.fields)
    assert second.fields is first.fields
    assert (second.method, second.target, second.path) == (b"PUT", b"/b?c", "/b")
    older = parse_request(b"GET /a HTTP/1.0\r\nHost: x\r\nAccept: y\r\n\r\n", first.fields)
    assert older.fields is not first.fields
    assert not older.fields.keep_alive
    with pytest.raises(Refusal):
        parse_request(b"GET /a HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", first.fields)


@pytest.mark.parametrize(
    ("sent", "passed_on"),
    [
        (b"Transfer-Encoding:\tchunked", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: Chunked \t", b"Transfer-Encoding: chunked"),
        (b"transfer-encoding:chunked", b"Transfer-Encoding: chunked"),
        (b"Content-Length:\t 0004 ", b"Content-Length: 4"),
        (b"Content-Length:4", b"Content-Length: 4"),
    ],
)
def test_framing_is_passed_on_in_the_one_way_that_nobody_misreads(sent: bytes, passed_on: bytes) -> None:
    fields = parse_request(b"POST / HTTP/1.1\r\nHost: x\r\n" + sent + b"\r\nA: b\r\n\r\n").fields
    assert fields.lines == b"\r\nHost: x\r\nA: b\r\n" + passed_on + b"\r\n"
    answer = parse_answer(b"HTTP/1.1 200 OK\r\nA: b\r\n" + sent + b"\r\n\r\n", b"GET")
    assert sent not in answer.lines or b": 4" in sent
    assert (answer.length == 4 and b"\r\nContent-Length: 4\r\n" in answer.lines) or answer.length == CHUNKED_LENGTH
