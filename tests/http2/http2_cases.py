"""What a client may not send, and what becomes of it: the rules of RFC 9113 by their sections, and the floods of known attacks.

A rule whose error is a stream's may end the whole connection too (5.4.1). What is malformed never reaches an endpoint.
"""

from dataclasses import dataclass

from frames import (
    ACK,
    CALM,
    CLOSED,
    COMPRESSION,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL,
    FRAME_SIZE,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PROTOCOL,
    PUSH_PROMISE,
    REFUSED,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    data,
    frame,
    headers,
    request,
    reset,
    settings,
    window,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """`sent` comes after the preface and an empty SETTINGS, unless it is `bare`. `codes` are the errors that it may be
    ended with; `is_stream`: the stream's is enough. Without codes it is answered, with one of `statuses`."""

    name: str
    sent: bytes
    codes: tuple[int, ...] = ()
    is_stream: bool = False
    statuses: tuple[int, ...] = (200,)
    bare: bool = False


def connection(name: str, sent: bytes, *codes: int, bare: bool = False) -> Case:
    return Case(name, sent, codes or (PROTOCOL,), bare=bare)


def stream(name: str, sent: bytes, *codes: int) -> Case:
    return Case(name, sent, codes or (PROTOCOL,), is_stream=True)


def taken(name: str, sent: bytes, *statuses: int) -> Case:
    return Case(name, sent, statuses=statuses or (200,))


def with_fields(*fields: tuple[str, str]) -> bytes:
    return headers(1, [*request(), *fields])


def without(*names: str) -> bytes:
    return headers(1, [field for field in request() if field[0] not in names])


GOOD = headers(1, request("/good"))
OPEN = headers(1, request("/good", "POST"), end=False)
HALF = block(request())

FRAMES = (
    connection("3.4 no preface", b"POST / HTTP/1.1\r\n\r\n" + GOOD, bare=True),
    connection("3.4 the first frame is not SETTINGS", PREFACE + frame(PING, payload=b"12345678") + GOOD, bare=True),
    taken("4.1 a frame of an unknown type", frame(0x77, 0xFF, 0, b"x" * 8) + GOOD),
    taken("4.1 unknown flags", frame(PING, 0xF0, 0, b"12345678") + GOOD),
    taken("4.1 the reserved bit", frame(HEADERS, END_HEADERS | END_STREAM, 0x80000001, block(request("/good")))),
    connection("4.2 DATA beyond the largest frame", OPEN + data(1, b"x" * 16385), FRAME_SIZE),
    connection("4.2 HEADERS beyond the largest frame", headers(1, [*request(), ("x", "y" * 16400)]), FRAME_SIZE),
    connection("4.3 an index that HPACK does not have", frame(HEADERS, 5, 1, b"\xff\x80\x01"), COMPRESSION),
    connection("4.3 a block that ends within a field", frame(HEADERS, 5, 1, block(request())[:-3]), COMPRESSION),
    connection("4.3 a table larger than was allowed", frame(HEADERS, 5, 1, b"\x3f\xe1\xff\x03" + HALF), COMPRESSION),
    connection("4.3 an endless number", frame(HEADERS, 5, 1, b"\xff" + b"\x80" * 4000), COMPRESSION),
    connection("4.3 PRIORITY within a block", headers(1, request(), flags=0) + frame(PRIORITY, 0, 1, bytes(5))),
    connection("4.3 another stream's HEADERS within a block", headers(1, request(), flags=0) + headers(3, request())),
    connection("5.5 an unknown frame within a block", headers(1, request(), flags=0) + frame(0x77, 0, 1)),
    connection("6.1 DATA on no stream", data(0, b"x")),
    connection("6.1 more padding than DATA", OPEN + frame(DATA, PADDED, 1, b"\x09abc")),
    connection("6.2 HEADERS on no stream", headers(0, request())),
    connection("6.2 more padding than HEADERS", frame(HEADERS, PADDED | END_HEADERS | END_STREAM, 1, b"\xff" + HALF)),
    connection("6.3 PRIORITY on no stream", frame(PRIORITY, 0, 0, bytes(5))),
    stream("6.3 PRIORITY of 4 bytes", frame(PRIORITY, 0, 1, bytes(4)), FRAME_SIZE),
    connection("6.4 RST_STREAM on no stream", reset(0)),
    connection("6.4 RST_STREAM of 3 bytes", OPEN + frame(RST_STREAM, 0, 1, bytes(3)), FRAME_SIZE),
    connection("6.5 an acknowledgement with settings", frame(SETTINGS, ACK, 0, bytes(6)), FRAME_SIZE, PROTOCOL),
    connection("6.5 SETTINGS on a stream", frame(SETTINGS, 0, 1)),
    connection("6.5 SETTINGS of 5 bytes", frame(SETTINGS, 0, 0, bytes(5)), FRAME_SIZE),
    connection("6.5.2 ENABLE_PUSH of 2", settings((2, 2))),
    connection("6.5.2 a window of 2^31", settings((4, 2**31)), FLOW_CONTROL),
    connection("6.5.2 a frame of 16,383", settings((5, 16383))),
    connection("6.5.2 a frame of 2^24", settings((5, 2**24))),
    taken("6.5.2 an unknown setting", settings((0x99, 7)) + GOOD),
    connection("6.6 PUSH_PROMISE of a client", OPEN + frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + HALF)),
    taken("6.7 PING", frame(PING, 0, 0, b"12345678") + GOOD),
    taken("6.7 an answer to no PING", frame(PING, ACK, 0, b"12345678") + GOOD),
    connection("6.7 PING on a stream", frame(PING, 0, 1, bytes(8))),
    connection("6.7 PING of 6 bytes", frame(PING, 0, 0, bytes(6)), FRAME_SIZE),
    connection("6.8 GOAWAY on a stream", frame(GOAWAY, 0, 1, bytes(8))),
    connection("6.9 WINDOW_UPDATE of 3 bytes", frame(WINDOW_UPDATE, 0, 0, bytes(3)), FRAME_SIZE),
    connection("6.9 nothing more for the connection", window(0, 0)),
    stream("6.9 nothing more for a stream", OPEN + window(1, 0)),
    connection("6.9.1 the connection's window beyond 2^31-1", window(0, 2**31 - 1), FLOW_CONTROL),
    stream("6.9.1 a stream's window beyond 2^31-1", OPEN + window(1, 2**31 - 1), FLOW_CONTROL),
    taken("6.9.2 a window that becomes smaller", settings((4, 1)) + OPEN + settings((4, 100_000)) + data(1, b"x", end=True)),
    connection("6.10 CONTINUATION without a block", OPEN + frame(CONTINUATION, END_HEADERS, 1, HALF)),
    connection("6.10 CONTINUATION of no stream", headers(1, request(), flags=0) + frame(CONTINUATION, END_HEADERS, 0)),
    connection("6.10 CONTINUATION of another stream", headers(1, request(), flags=0) + frame(CONTINUATION, 4, 3)),
    taken(
        "6.10 a block in three parts",
        frame(HEADERS, 1, 1, block(request("/good"))[:9])
        + frame(CONTINUATION, 0, 1, block(request("/good"))[9:20])
        + frame(CONTINUATION, END_HEADERS, 1, block(request("/good"))[20:]),
    ),
)

STREAMS = (
    connection("5.1 DATA on an idle stream", data(1, b"x")),
    connection("5.1 RST_STREAM on an idle stream", reset(1)),
    connection("5.1 WINDOW_UPDATE on an idle stream", window(1, 100)),
    connection("5.1 CONTINUATION on an idle stream", frame(CONTINUATION, END_HEADERS, 1, HALF)),
    stream("5.1 DATA after the end", headers(1, request("/slow")) + data(1, b"x"), CLOSED),
    stream("5.1 HEADERS after the end", headers(1, request("/slow")) + headers(1, request("/bad")), CLOSED),
    stream("5.1 DATA after a reset", OPEN + reset(1) + data(1, b"x"), CLOSED),
    stream("5.1 HEADERS after a reset", OPEN + reset(1) + headers(1, request()), CLOSED),
    taken("5.1 WINDOW_UPDATE after a reset", OPEN + reset(1) + window(1, 9) + headers(3, request("/good"))),
    taken("5.1 RST_STREAM after a reset", OPEN + reset(1) + reset(1) + headers(3, request("/good"))),
    taken("5.1 PRIORITY on an idle stream", frame(PRIORITY, 0, 9, bytes(5)) + GOOD),
    connection("5.1.1 a stream of an even number", headers(2, request())),
    connection("5.1.1 a stream of a lower number", headers(5, request("/slow")) + headers(3, request())),
    stream(
        "5.1.2 more streams than may be", b"".join(headers(1 + 2 * n, request("/slow")) for n in range(120)), REFUSED, PROTOCOL
    ),
)

MESSAGES = (
    stream("8.1 trailers that do not end the stream", OPEN + headers(1, [("x", "y")], end=False)),
    taken("8.1 trailers", OPEN + data(1, b"x") + headers(1, [("x", "y")])),
    stream(
        "8.1.1 more than the length",
        headers(1, [*request("/slow", "POST"), ("content-length", "1")], end=False) + data(1, b"xy", end=True),
    ),
    stream(
        "8.1.1 less than the length",
        headers(1, [*request("/slow", "POST"), ("content-length", "3")], end=False) + data(1, b"xy", end=True),
    ),
    Case("8.1.1 a length and nothing", with_fields(("content-length", "3")), (PROTOCOL,), is_stream=True, statuses=(400,)),
    stream("8.1.1 two lengths", with_fields(("content-length", "0"), ("content-length", "1"))),
    stream("8.1.1 a length that is none", with_fields(("content-length", "+0"))),
    taken(
        "8.1.1 the right length",
        headers(1, [*request("/good", "POST"), ("content-length", "2")], end=False) + data(1, b"xy", end=True),
    ),
    stream("8.2.1 upper case in a name", with_fields(("X-Upper", "y"))),
    *(
        stream(f"8.2.1 {name!r} as a name", with_fields((name, "y")))
        for name in ("", "a b", "a:b", "a\nb", "a\0b", "a\x7fb", "a\xe9", " a")
    ),
    *(stream(f"8.2.1 {value!r} as a value", with_fields(("x", value))) for value in ("a\0b", "a\rb", "a\nb", " a", "a ", "\ta")),
    *(
        stream(f"8.2.2 {name}", with_fields((name, value)))
        for name, value in (
            ("connection", "close"),
            ("keep-alive", "5"),
            ("proxy-connection", "close"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("te", "gzip"),
            ("te", "trailers, deflate"),
        )
    ),
    taken("8.2.2 te: trailers", headers(1, [*request("/good"), ("te", "trailers")])),
    stream("8.3 an unknown pseudo-field", with_fields((":proto", "x"))),
    stream("8.3 an answer's pseudo-field", with_fields((":status", "200"))),
    stream("8.3 a pseudo-field after another one", headers(1, [("x", "y"), *request()])),
    stream("8.3 a pseudo-field in trailers", OPEN + headers(1, [(":path", "/bad")])),
    *(stream(f"8.3 {name} twice", with_fields((name, value))) for name, value in request()),
    *(stream(f"8.3.1 no {name}", without(name)) for name in (":method", ":scheme", ":path")),
    stream("8.3.1 an empty path", headers(1, [(n, "" if n == ":path" else v) for n, v in request()])),
    *(
        Case(f"8.3.1 {path!r} as a path", headers(1, request(path)), (PROTOCOL,), is_stream=True, statuses=(400,))
        for path in ("bad", "http://x/bad", "/bad#x", "/ba d", "/bad\r\nx: y", "/bad\xe9", "//\0bad")
    ),
    *(
        Case(
            f"8.3.1 {host!r} as an authority",
            headers(1, [(n, host if n == ":authority" else v) for n, v in request()]),
            (PROTOCOL,),
            is_stream=True,
            statuses=(400,),
        )
        for host in ("user@x", "x y", "x/y", "x?y", "x\r\ny")
    ),
    Case("8.3.1 another host than the authority", with_fields(("host", "y")), (PROTOCOL,), is_stream=True, statuses=(400,)),
    Case(
        "8.3.1 two hosts",
        headers(1, [*(f for f in request() if f[0] != ":authority"), ("host", "x"), ("host", "y")]),
        (PROTOCOL,),
        is_stream=True,
        statuses=(400,),
    ),
    *(
        Case(
            f"8.3.1 {method!r} as a method", headers(1, request("/bad", method)), (PROTOCOL,), is_stream=True, statuses=(400, 501)
        )
        for method in ("", "GE T", "GET\r\nx", "G\xe9T")
    ),
    Case(
        "8.5 CONNECT",
        headers(1, [(":method", "CONNECT"), (":authority", "x:1")]),
        (PROTOCOL,),
        is_stream=True,
        statuses=(400, 405, 501),
    ),
    Case(
        "6.5.2 more fields than may be",
        frame(HEADERS, END_STREAM, 1, HALF + block([("x", "y" * 15_000)]))
        + frame(CONTINUATION, 0, 1, block([("x", "y" * 15_000)]))
        + frame(CONTINUATION, END_HEADERS, 1, block([("x", "y" * 15_000)])),
        (PROTOCOL, CALM, COMPRESSION),
        is_stream=True,
        statuses=(431,),
    ),
)

# An index of the dynamic table, 4,000 times, that stands for a field of 4,000 bytes.
_BOMB = b"\x40\x01x" + b"\x7f\xa1\x1e" + b"y" * 4000 + b"\xbe" * 4000

FLOODS = (
    connection(
        "CVE-2024-27316 CONTINUATION without an end",
        headers(1, request(), flags=0) + frame(CONTINUATION, 0, 1) * 5_000,
        PROTOCOL,
        CALM,
    ),
    connection(
        "CVE-2024-27316 fields without an end",
        headers(1, request(), flags=0) + frame(CONTINUATION, 0, 1, block([("x", "y" * 9_000)])) * 500,
        PROTOCOL,
        CALM,
        COMPRESSION,
    ),
    connection("CVE-2016-6581 a bomb of fields", frame(HEADERS, 5, 1, HALF + _BOMB), PROTOCOL, CALM, COMPRESSION),
    connection(
        "CVE-2023-44487 rapid resets",
        b"".join(headers(1 + 2 * n, request("/slow")) + reset(1 + 2 * n) for n in range(3_000)),
        PROTOCOL,
        CALM,
    ),
    connection(
        "CVE-2025-8671 resets that the proxy is made to send",
        b"".join(headers(1 + 2 * n, request("/slow")) + window(1 + 2 * n, 0) for n in range(3_000)),
        PROTOCOL,
        CALM,
    ),
    connection("CVE-2019-9518 DATA without data", OPEN + data(1) * 20_000, PROTOCOL, CALM),
    connection("CVE-2019-9513 PRIORITY without an end", OPEN + frame(PRIORITY, 0, 3, bytes(5)) * 50_000, PROTOCOL, CALM),
    connection("CVE-2019-9515 SETTINGS without an end", settings((3, 100)) * 50_000, PROTOCOL, CALM),
    connection("CVE-2019-9512 PING without an end", frame(PING, 0, 0, bytes(8)) * 50_000, PROTOCOL, CALM),
    connection("WINDOW_UPDATE without an end", OPEN + window(1, 1) * 50_000, PROTOCOL, CALM),
)

CASES = (*FRAMES, *STREAMS, *MESSAGES, *FLOODS)
