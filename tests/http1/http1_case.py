"""One case of the corpus: what one side says, and what the other may see of it.

A case is a value; nothing here opens a socket. Each belongs to a rule, which names its section of RFC 9110 or RFC 9112.
"""

from collections.abc import Mapping
from dataclasses import dataclass

HOST = b"Host: x\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST
POST = b"POST / HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
# What follows every case on its connection: a good request, which must be answered as such or not be taken at all.
PROBE = b"GET /probe HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n"
PROBE_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nprobe"


def seen(line: bytes, fields: bytes = HOST, body: bytes = b"", *, host: bytes = b"x", before: bytes = b"") -> bytes:
    """A request as the endpoint sees it: `before` is what X-Forwarded-For held when it came."""
    return b"%b HTTP/1.1\r\n%bX-Forwarded-For: %b127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: %b\r\n\r\n%b" % (
        line, fields, before, host, body,
    )  # fmt: skip


CHUNKED_SEEN = seen(b"POST /", HOST + b"Transfer-Encoding: chunked\r\n")
PROBE_SEEN = seen(b"GET /probe", b"Host: probe\r\n", host=b"probe")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a client sends, and the statuses it gets. The endpoint sees `reaches`, and the probe after it unless `ends`.

    Of a refused request (its status is the last) the endpoint sees a beginning of `reaches` at most.
    """

    rule: str
    name: str
    sent: bytes
    statuses: tuple[int, ...]
    reaches: bytes = b""
    ends: bool = False

    @property
    def refused(self) -> bool:
        return self.statuses[-1] >= 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What an endpoint answers to `asked`, and what the client gets of it, the probe's answer after it unless `ends`.

    `breaks`: the client gets a beginning of `gets` at most and its connection ends; or a 502, if nothing was passed on yet.
    `cut_until`: what is beyond comes with what is before. (Later, with the next request on its way, it is like its answer.)
    """

    rule: str
    name: str
    sent: bytes
    asked: bytes
    gets: bytes = b""
    status: int = 200  # 502: the client gets that, and nothing of the endpoint's
    closes: bool = False  # the endpoint ends the connection after it
    ends: bool = False
    breaks: bool = False
    cut_until: int = 0


def refused(rule: str, status: int, cases: Mapping[str, bytes | tuple[bytes, bytes]]) -> list[Asked]:
    """Requests to refuse with that status. A pair tells also what of the request may reach the endpoint first."""
    made = []
    for name, case in cases.items():
        sent, reaches = case if isinstance(case, tuple) else (case, b"")
        made.append(Asked(rule=rule, name=name, sent=sent, statuses=(status,), reaches=reaches, ends=True))
    return made


def forwarded(rule: str, cases: Mapping[str, tuple[bytes, bytes]], *, ends: bool = False, count: int = 1) -> list[Asked]:
    """Requests that the endpoint sees as told: `count` in each case."""
    return [
        Asked(rule=rule, name=name, sent=sent, statuses=(200,) * count, reaches=reaches, ends=ends)
        for name, (sent, reaches) in cases.items()
    ]


def bad(rule: str, cases: Mapping[str, bytes], *, asked: bytes = GET + b"\r\n", closes: bool = False) -> list[Answered]:
    """Answers of which the client sees nothing but a 502."""
    return [Answered(rule=rule, name=name, sent=sent, asked=asked, status=502, closes=closes) for name, sent in cases.items()]


def passed(
    rule: str, cases: Mapping[str, tuple[bytes, bytes]], *, asked: bytes = GET + b"\r\n", closes: bool = False, ends: bool = False
) -> list[Answered]:
    """Answers that the client gets as told."""
    return [
        Answered(rule=rule, name=name, sent=sent, asked=asked, gets=gets, closes=closes, ends=ends)
        for name, (sent, gets) in cases.items()
    ]


def broken(rule: str, cases: Mapping[str, tuple[bytes, bytes]], *, closes: bool = False) -> list[Answered]:
    """Answers that go wrong on their way: the client gets at most what is told, and no end."""
    return [
        Answered(rule=rule, name=name, sent=sent, asked=GET + b"\r\n", gets=gets, closes=closes, ends=True, breaks=True)
        for name, (sent, gets) in cases.items()
    ]


def surplus(rule: str, cases: Mapping[str, tuple[bytes, bytes, bytes]], *, asked: bytes = GET + b"\r\n") -> list[Answered]:
    """Answers, what the endpoint sends beyond each in the same breath, and what the client gets."""
    return [
        Answered(rule=rule, name=name, sent=sent + beyond, asked=asked, gets=gets, cut_until=len(sent))
        for name, (sent, beyond, gets) in cases.items()
    ]
