"""What an endpoint may say of a call, and what it may not: what the client gets, and whether the endpoint's connection lives.

The rules are RFC 9113's, by their sections, and RFC 9110's for messages. Another call is open on the same connection when the
endpoint says it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from frames import (
    ACK,
    CALM,
    CANCEL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL,
    GOAWAY,
    HEADERS,
    INTERNAL,
    NO_ERROR,
    PADDED,
    PING,
    PRIORITY,
    PROTOCOL,
    PUSH_PROMISE,
    REFUSED,
    RST_STREAM,
    SETTINGS,
    Fields,
    block,
    data,
    frame,
    headers,
    reset,
    settings,
    window,
)  # fmt: skip

UNAVAILABLE = 14


@dataclass(frozen=True, slots=True)
class Told:
    """What a client hears: a status, the code of a reset after it or in its place, gRPC's status of the proxy's own."""

    status: int = 0
    reset: int | None = None
    grpc: int | None = None
    body: bytes = b""


Say = Callable[[int], bytes]  # of the stream's number
Said = Say | bytes  # bytes: of no stream


@dataclass(frozen=True, slots=True)
class Case:
    """`sent` answers a request for the path /bad, `greeting` comes first on each connection, and `ends` with it. `lives`: the
    connection, and with it the other call."""

    name: str
    sent: Say
    plain: Told
    grpc: Told
    lives: bool = True
    ends: bool = False
    method: str = "GET"
    greeting: bytes = settings()


OWN = Told(502, body=b"endpoint"), Told(200, grpc=UNAVAILABLE)
BROKEN_OFF = Told(200, reset=INTERNAL), Told(200, reset=INTERNAL)


def malformed(name: str, sent: Said, *, method: str = "GET") -> Case:
    """Nothing of it is passed on; the other call goes on."""
    return Case(name, then(sent), *OWN, method=method)


def broken_off(name: str, sent: Said, *, lives: bool = True, method: str = "GET", ends: bool = False) -> Case:
    """The client has the beginning already, and is told that it has no end."""
    return Case(name, then(sent), *BROKEN_OFF, lives=lives, method=method, ends=ends)


def fatal(name: str, sent: Said, *, ends: bool = False, greeting: bytes = settings()) -> Case:
    """The connection is of no use any more: with no answer to either call."""
    return Case(name, then(sent), *OWN, lives=False, ends=ends, greeting=greeting)


def taken(name: str, sent: Said, status: int = 200, *, body: bytes = b"", method: str = "GET") -> Case:
    return Case(name, then(sent), Told(status, body=body), Told(status, body=body), method=method)


def head(*fields: tuple[str, str], status: str = "200", end: bool = True) -> Say:
    return lambda n: headers(n, [(":status", status), *fields], end=end)


def said(fields: Fields, *, end: bool = True) -> Say:
    return lambda n: headers(n, fields, end=end)


def then(*parts: Said) -> Say:
    return lambda n: b"".join(part if isinstance(part, bytes) else part(n) for part in parts)


def body(payload: bytes = b"", *, end: bool = False) -> Say:
    return lambda n: data(n, payload, end=end)


def trailers(*fields: tuple[str, str]) -> Say:
    return lambda n: headers(n, list(fields))


GOOD = then(head(end=False), body(b"ok", end=True))
BEGUN = then(head(end=False), body(b"x"))
HINT = head(("link", "</a>"), status="103", end=False)

MESSAGES = (
    taken("8.1 a head alone", head()),
    taken("8.1 a head and a body", GOOD, body=b"ok"),
    taken("8.1 trailers", then(head(end=False), body(b"ok"), trailers(("x", "y"))), body=b"ok"),
    taken("8.1 trailers without a body", then(head(end=False), trailers(("x", "y")))),
    taken("8.1 an interim answer before it", then(HINT, GOOD), body=b"ok"),
    taken("8.1 two interim answers before it", then(HINT, head(status="100", end=False), GOOD), body=b"ok"),
    malformed("8.1 an interim answer that ends the stream", head(status="103")),
    malformed("8.1 nothing but interim answers", then(*[HINT] * 40)),
    malformed("8.1 DATA before a head", body(b"x")),
    malformed("8.1 an end before a head", body(end=True)),
    malformed("8.1 DATA after an interim answer", then(HINT, body(b"x", end=True))),
    broken_off("8.1 two heads", then(head(end=False), head(end=False), body(end=True))),
    broken_off("8.1 trailers that do not end the stream", then(BEGUN, said([("x", "y")], end=False))),
    broken_off("8.1 DATA after trailers without an end", then(BEGUN, said([("x", "y")], end=False), body(b"x", end=True))),
    broken_off("8.1 trailers with a status", then(BEGUN, trailers((":status", "200")))),
    broken_off("8.1 trailers with an upper case name", then(BEGUN, trailers(("X", "y")))),
    taken("8.1.1 the right length", then(head(("content-length", "2"), end=False), body(b"ok", end=True)), body=b"ok"),
    taken(
        "8.1.1 the right length, and trailers",
        then(head(("content-length", "2"), end=False), body(b"ok"), trailers(("x", "y"))),
        body=b"ok",
    ),
    taken("8.1.1 a length of what HEAD does not send", head(("content-length", "9")), method="HEAD"),
    taken("8.1.1 a length of what 304 does not send", head(("content-length", "9"), status="304"), 304),
    malformed("8.1.1 a length and an end", head(("content-length", "9"))),
    broken_off("8.1.1 more than the length", then(head(("content-length", "1"), end=False), body(b"xy", end=True))),
    broken_off("8.1.1 less than the length", then(head(("content-length", "3"), end=False), body(b"xy", end=True))),
    broken_off(
        "8.1.1 less than the length, and trailers",
        then(head(("content-length", "3"), end=False), body(b"x"), trailers(("x", "y"))),
    ),
    broken_off("8.1.1 a body in answer to HEAD", then(head(end=False), body(b"x", end=True)), method="HEAD"),
    Case(
        "8.1.1 a body in a 204",
        then(head(status="204", end=False), body(b"x", end=True)),
        Told(204, reset=INTERNAL),
        Told(204, reset=INTERNAL),
    ),
    malformed("8.1.1 two lengths", head(("content-length", "0"), ("content-length", "1"))),
    *(malformed(f"8.1.1 {value!r} as a length", head(("content-length", value))) for value in ("", "+0", "-1", "0x0", "1,1")),
    malformed("8.2.1 upper case in a name", head(("X-Upper", "y"))),
    *(malformed(f"8.2.1 {name!r} as a name", head((name, "y"))) for name in ("", "a b", "a:b", "a\nb", "a\0b", "a\x7fb", "\xe9")),
    *(malformed(f"8.2.1 {value!r} as a value", head(("x", value))) for value in ("a\0b", "a\rb", "a\r\nb: c", " a", "a ", "\ta")),
    *(
        malformed(f"8.2.2 {name}", head((name, value)))
        for name, value in (
            ("connection", "close"),
            ("keep-alive", "5"),
            ("proxy-connection", "close"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
        )
    ),
    malformed("8.3 no status", said([("x", "y")])),
    malformed("8.3 nothing at all", said([])),
    malformed("8.3 two statuses", said([(":status", "200"), (":status", "200")])),
    malformed("8.3 a status after a field", said([("x", "y"), (":status", "200")])),
    malformed("8.3 an unknown pseudo-field", head((":proto", "x"))),
    malformed("8.3 a request's pseudo-field", head((":path", "/"))),
    *(
        malformed(f"8.3.2 {value!r} as a status", head(status=value))
        for value in ("", "20", "2000", "2x0", "abc", "000", "099", "600", "999", "+20", " 200", "200 OK", "1ab", "2\xb2\xb2")
    ),
    malformed("8.6 a switch of protocols", head(status="101", end=False)),
)


def refusing(name: str, sent: Said, *, lives: bool = True) -> Case:
    """The call was not looked at, and goes nowhere else for want of another endpoint."""
    return Case(name, then(sent), Told(503, body=b"endpoint"), Told(200, grpc=UNAVAILABLE), lives=lives)


def goaway(last: int, code: int = NO_ERROR) -> bytes:
    return frame(GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big"))


ENDS = (
    *(
        Case(f"6.4 a reset by {code}", lambda n, code=code: reset(n, code), Told(502, body=b"endpoint"), Told(reset=told))  # type: ignore[misc]
        for code, told in (
            (NO_ERROR, INTERNAL),
            (PROTOCOL, INTERNAL),
            (INTERNAL, INTERNAL),
            (FLOW_CONTROL, INTERNAL),
            (CANCEL, CANCEL),
            (CALM, CALM),
            (13, INTERNAL),  # HTTP_1_1_REQUIRED: of the endpoint, not of the proxy
            (0xBEEF, INTERNAL),
        )
    ),
    refusing("6.4 a reset that refuses the stream", lambda n: reset(n, REFUSED)),
    Case("6.4 a reset after an interim answer", then(HINT, lambda n: reset(n, INTERNAL)), OWN[0], Told(reset=INTERNAL)),
    *(
        Case(
            f"6.4 a reset by {code} within the answer",
            then(BEGUN, lambda n, code=code: reset(n, code)),  # type: ignore[misc]
            Told(200, reset=told),
            Told(200, reset=told),
        )
        for code, told in ((NO_ERROR, INTERNAL), (INTERNAL, INTERNAL), (REFUSED, INTERNAL), (CANCEL, CANCEL))
    ),
    taken("6.4 a reset after the answer", then(GOOD, lambda n: reset(n, NO_ERROR)), body=b"ok"),
    refusing("6.8 GOAWAY below both", goaway(0), lives=False),
    refusing("6.8 GOAWAY between them", lambda n: goaway(max(0, n - 2))),
    taken("6.8 GOAWAY at the last", then(lambda n: goaway(n), GOOD), body=b"ok"),
    taken("6.8 GOAWAY above the last", then(goaway(2**31 - 1), GOOD), body=b"ok"),
    taken("6.8 GOAWAY twice", then(goaway(2**31 - 1), lambda n: goaway(n), GOOD), body=b"ok"),
    taken("6.8 GOAWAY within the answer", then(head(end=False), lambda n: goaway(n), body(b"ok", end=True)), body=b"ok"),
    taken("6.8 GOAWAY for a reason", then(lambda n: goaway(n, CALM), GOOD), body=b"ok"),
    fatal("6.8 GOAWAY and an end", lambda n: goaway(n), ends=True),
    fatal("9.1 an end without an answer", b"", ends=True),
    fatal("9.1 an end after an interim answer", HINT, ends=True),
    fatal("9.1 an end within a head", lambda n: headers(n, [(":status", "200")])[:-2], ends=True),
    broken_off("9.1 an end within a body", BEGUN, lives=False, ends=True),
    broken_off("9.1 an end within a frame", then(BEGUN, lambda n: data(n, b"abcdef")[:-2]), lives=False, ends=True),
    Case("9.1 an end after the answer", GOOD, Told(200, body=b"ok"), Told(200, body=b"ok"), lives=False, ends=True),
)

FRAMES = (
    taken("4.1 a frame of an unknown type", then(frame(0x77, 0xFF, 0, b"x" * 8), GOOD), body=b"ok"),
    taken("4.1 an unknown frame on the stream", then(lambda n: frame(0x77, 0, n, b"x"), GOOD), body=b"ok"),
    fatal("4.2 DATA beyond the largest frame", then(head(status="100", end=False), body(b"x" * 16385))),
    fatal("4.2 HEADERS beyond the largest frame", head(("x", "y" * 16400))),
    fatal("4.3 an index that HPACK does not have", lambda n: frame(HEADERS, 5, n, b"\xff\x80\x01")),
    fatal("4.3 a block that ends within a field", lambda n: frame(HEADERS, 5, n, block([(":status", "200")])[:-2])),
    fatal("4.3 a table larger than was allowed", lambda n: frame(HEADERS, 5, n, b"\x3f\xe1\xff\x03\x88")),
    fatal("5.1 DATA on an idle stream", data(999, b"x")),
    fatal("5.1 HEADERS on an idle stream", headers(999, [(":status", "200")])),
    fatal("5.1 RST_STREAM on an idle stream", reset(999)),
    fatal("5.1 HEADERS on a stream of the server", headers(2, [(":status", "200")])),
    taken("5.1 DATA after the end", then(GOOD, body(b"x")), body=b"ok"),
    Case("5.1 HEADERS after the end", then(GOOD, head()), Told(200, body=b"ok"), Told(200, body=b"ok"), lives=False),
    fatal("5.5 an unknown frame within a block", lambda n: headers(n, [(":status", "200")], flags=0) + frame(0x77, 0, n)),
    fatal("6.1 DATA on no stream", data(0, b"x")),
    fatal("6.1 more padding than DATA", then(HINT, lambda n: frame(DATA, PADDED, n, b"\x09abc"))),
    taken(
        "6.1 DATA with padding", then(head(end=False), lambda n: frame(DATA, PADDED | END_STREAM, n, b"\x03ok\0\0\0")), body=b"ok"
    ),
    fatal("6.2 HEADERS on no stream", headers(0, [(":status", "200")])),
    fatal("6.3 PRIORITY on no stream", frame(PRIORITY, 0, 0, bytes(5))),
    fatal("6.4 RST_STREAM on no stream", reset(0)),
    fatal("6.4 RST_STREAM of 3 bytes", lambda n: frame(RST_STREAM, 0, n, bytes(3))),
    fatal("6.5 SETTINGS on a stream", lambda n: frame(SETTINGS, 0, n)),
    fatal("6.5 SETTINGS of 5 bytes", frame(SETTINGS, 0, 0, bytes(5))),
    fatal("6.5 an acknowledgement with settings", frame(SETTINGS, ACK, 0, bytes(6))),
    fatal("6.5.2 ENABLE_PUSH of 2", settings((2, 2))),
    fatal("6.5.2 a window of 2^31", settings((4, 2**31))),
    fatal("6.5.2 a frame of 16,383", settings((5, 16383))),
    taken("6.5.2 an unknown setting", then(settings((0x99, 7)), GOOD), body=b"ok"),
    taken("6.5.2 other settings in between", then(settings((4, 10), (3, 50), (1, 0)), GOOD), body=b"ok"),
    fatal("6.6 PUSH_PROMISE", lambda n: frame(PUSH_PROMISE, END_HEADERS, n, b"\0\0\0\2" + block([(":method", "GET")]))),
    taken("6.7 PING", then(frame(PING, 0, 0, b"12345678"), GOOD), body=b"ok"),
    fatal("6.7 PING on a stream", lambda n: frame(PING, 0, n, bytes(8))),
    fatal("6.7 PING of 6 bytes", frame(PING, 0, 0, bytes(6))),
    fatal("6.8 GOAWAY on a stream", lambda n: frame(GOAWAY, 0, n, bytes(8))),
    fatal("6.9 nothing more for the connection", window(0, 0)),
    fatal("6.9 nothing more for a stream", lambda n: window(n, 0)),
    fatal("6.9.1 the connection's window beyond 2^31-1", window(0, 2**31 - 1)),
    Case(
        "6.9.1 a stream's window beyond 2^31-1",
        lambda n: window(n, 2**31 - 1),
        Told(502, body=b"endpoint"),
        Told(200, grpc=UNAVAILABLE),
    ),
    broken_off("6.9.1 more DATA than the window", then(head(end=False), *[body(b"x" * 16384)] * 20), lives=False),
    fatal("6.10 CONTINUATION without a block", then(HINT, lambda n: frame(CONTINUATION, END_HEADERS, n, b""))),
    taken(
        "6.10 a block in three parts",
        lambda n: (
            frame(HEADERS, END_STREAM, n, block([(":status", "200")])[:3])
            + frame(CONTINUATION, 0, n, block([(":status", "200")])[3:6])
            + frame(CONTINUATION, END_HEADERS, n, block([(":status", "200")])[6:])
        ),
    ),
    fatal("8.1 an HTTP/1 answer in its place", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
)

FLOODS = (
    fatal("fields beyond 32 KiB", lambda n: _parts(n, block([("x", "y" * 15_000)]), 4)),
    fatal("CONTINUATION without an end", lambda n: headers(n, [(":status", "200")], flags=0) + frame(CONTINUATION, 0, n) * 5_000),
    fatal("fields without an end", lambda n: _parts(n, block([("x", "y" * 9_000)]), 300)),
    fatal("PING without an end", frame(PING, 0, 0, bytes(8)) * 20_000),
    fatal("SETTINGS without an end", settings((3, 100)) * 20_000),
    fatal("PRIORITY without an end", frame(PRIORITY, 0, 9, bytes(5)) * 20_000),
    fatal("WINDOW_UPDATE without an end", window(0, 1) * 20_000),
    broken_off("DATA without data", then(head(end=False), *[body()] * 20_000), lives=False),
)

GREETINGS = (
    fatal("3.4 an HTTP/1 server", b"", greeting=b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
    fatal("3.4 a server that is something else", b"", greeting=b"\0SSH-2.0-OpenSSH_9.2 is no HTTP at all, and long enough"),
    fatal("3.4 the first frame is not SETTINGS", GOOD, greeting=frame(PING, 0, 0, b"12345678")),
    fatal("3.4 a frame that is larger than any", GOOD, greeting=b"\xff" * 20_000),
    fatal("3.4 an answer before SETTINGS", b"", greeting=headers(1, [(":status", "200")])),
    fatal("6.5.2 a window of 2^31 at once", GOOD, greeting=settings((4, 2**31))),
)


def _parts(number: int, part: bytes, count: int) -> bytes:
    first = frame(HEADERS, END_STREAM, number, block([(":status", "200")]))
    return first + frame(CONTINUATION, 0, number, part) * (count - 1) + frame(CONTINUATION, END_HEADERS, number, part)


CASES = (*MESSAGES, *ENDS, *FRAMES, *FLOODS, *GREETINGS)
