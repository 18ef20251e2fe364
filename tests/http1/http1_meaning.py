"""What an outcome means, in few words: two proxies agree on a case where the words are the same. Pure.

Left out, since proxies may differ in it: the statuses of refusals, the fields of one connection and of who asked, how a body is
cut into chunks, the order and the case of names.
"""

import re

from http1_case import Answered, Asked
from http1_lane import Outcome

_LEFT_OUT = frozenset((
    b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"host", b"x-forwarded-for", b"x-forwarded-proto",
    b"x-forwarded-host", b"date", b"server",
))  # fmt: skip
_SHOWN_BYTES = 40


def meaning(case: Asked | Answered, outcome: Outcome) -> str:
    return _request(case, outcome) if isinstance(case, Asked) else _answer(outcome)


def _request(case: Asked, outcome: Outcome) -> str:
    whole, rest = messages(outcome.endpoint)
    taken = [m for m in whole if b" /probe " not in m[0]]
    probed = len(taken) < len(whole)
    told = " then ".join(_told(m) for m in taken)
    if rest and not rest.startswith(b"GET /probe"):
        told += " then " * bool(told) + "a part of a request"
    if not outcome.ended:
        return f"waits{': ' + told if told else ''}"
    last = outcome.statuses[-1] if outcome.statuses else 0
    if last >= 400 or not outcome.statuses or (case.refused and not taken):
        return "refuses" if not taken else f"takes {told}, then refuses"
    return f"takes {told or 'nothing'}{'' if probed or case.ends else ', and no more'}"


def _answer(outcome: Outcome) -> str:
    got = outcome.client
    if not outcome.ended:
        return "waits"
    if not got:
        return "no answer"
    status = int(got[9:12]) if got[:9] == b"HTTP/1.1 " and got[9:12].isdigit() else 0
    if status in (502, 504) and (b"endpoint" in got or b"Bad Gateway" in got or b"Gateway Time-out" in got):
        return "no answer"
    probe = got.endswith(b"probe")
    first = got[: got.rindex(b"HTTP/1.1 ")] if probe and got.count(b"HTTP/1.") > 1 else got
    head, _, body = first.partition(b"\r\n\r\n")
    while head[9:10] == b"1" and body:
        head, _, body = body.partition(b"\r\n\r\n")
    fields = _fields(head)
    if re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head) and body:
        decoded, end = _unchunk(body)
        body = decoded
        if end < 0:
            return f"passes {_head(head, fields)} {_show(body)}, cut off"
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if length is not None and len(body) < int(length[1]) and body:
        return f"passes {_head(head, fields)} {_show(body)}, cut off"
    return f"passes {_head(head, fields)} {_show(body)}"


def messages(data: bytes) -> tuple[list[tuple[bytes, bytes, bytes]], bytes]:
    """The whole requests in a stream (first line, fields, body), and what is left."""
    found = []
    while b"\r\n\r\n" in data:
        head, _, rest = data.partition(b"\r\n\r\n")
        line, _, fields = (head + b"\r\n").partition(b"\r\n")
        if re.search(rb"(?i)(?:^|\n)transfer-encoding:", fields):
            body, end = _unchunk(rest)
        else:
            length = re.search(rb"(?i)(?:^|\n)content-length: *(\d+)", fields)
            end = int(length[1]) if length else 0
            body = rest[:end]
            if len(body) < end:
                end = -1
        if end < 0:
            break
        found.append((line, fields, body))
        data = rest[end:]
    return found, data


def _unchunk(data: bytes) -> tuple[bytes, int]:
    """A chunked body's content, and where it ends; -1 for nowhere."""
    body, at = b"", 0
    while True:
        match = re.compile(rb"([0-9A-Fa-f]+)[^\r\n]*\r\n").match(data, at)
        if match is None:
            return body, -1
        size = int(match[1], 16)
        at = match.end()
        if not size:
            end = re.compile(rb"(?:[^\r\n]+\r\n)*\r\n").match(data, at)
            return body, end.end() if end else -1
        body += data[at : at + size]
        at += size + 2
        if at > len(data):
            return body, -1


def _fields(head: bytes) -> list[tuple[bytes, bytes]]:
    lines = head.split(b"\r\n")[1:]
    pairs = [(name.lower(), value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines if line)]
    return sorted(pair for pair in pairs if pair[0] not in _LEFT_OUT)


def _told(message: tuple[bytes, bytes, bytes]) -> str:
    line, fields, body = message
    host = re.search(rb"(?i)(?:^|\n)host: *([^\r]*)", fields)
    method, _, target = line.rpartition(b" ")[0].partition(b" ")
    told = f"{_text(method)} {_text(target)} of {_text(host[1].strip()) if host else 'no host'}"
    return told + _told_fields(_fields(b"\r\n" + fields)) + (f" {_show(body)}" if body else "")


def _head(head: bytes, fields: list[tuple[bytes, bytes]]) -> str:
    return _text(head.partition(b"\r\n")[0].partition(b" ")[2].strip()) + _told_fields(fields)


def _told_fields(fields: list[tuple[bytes, bytes]]) -> str:
    return "".join(f" [{_text(name)}: {_text(value)}]" for name, value in fields[:4]) + (
        f" and {len(fields) - 4} more" * (len(fields) > 4)
    )


def _show(data: bytes) -> str:
    return f'"{_text(data)}"' if data else "nothing"


def _text(data: bytes) -> str:
    text = repr(data[:_SHOWN_BYTES])[2:-1]
    return text + ("…" if len(data) > _SHOWN_BYTES else "")
