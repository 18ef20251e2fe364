"""What an endpoint's answer to a call may be beyond what the library looks at, and what the proxy answers in its own name.

Pure. Invariant: of an answer that is malformed (RFC 9113, 8.1.1) nothing is passed on from where that shows.
"""

import re
from urllib.parse import quote

from rookery_proxy.head import Refusal, show

Headers = list[tuple[bytes, bytes]]

_STATUS = re.compile(rb"[1-5][0-9][0-9]")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_MOST_INTERIM = 16
_NO_LENGTH = -1
# Of what the proxy itself answers (https://grpc.github.io/grpc/core/md_doc_statuscodes.html).
_GRPC_STATUS = {400: b"13", 404: b"12", 502: b"14", 503: b"14", 504: b"14"}


class Answer:
    """An answer so far. `status` is 0 until its head came; interim ones are none. Raises Refusal (502) for what may not be."""

    __slots__ = ("_has_no_body", "_interim", "_is_head", "_left", "status")

    def __init__(self, method: bytes) -> None:
        self._is_head = method == b"HEAD"
        self._has_no_body = False
        self._interim = 0
        self._left = _NO_LENGTH
        self.status = 0

    @property
    def has_begun(self) -> bool:
        return bool(self.status or self._interim)

    def interim(self, headers: Headers) -> None:
        status = _status(headers)
        if status == 101:
            raise Refusal(502, "the endpoint's answer switches protocols, which HTTP/2 does not have")
        self._interim += 1
        if self._interim > _MOST_INTERIM:
            raise Refusal(502, "the endpoint sends one interim answer after the other")

    def head(self, headers: Headers, *, ended: bool) -> None:
        status = _status(headers)
        self._has_no_body = self._is_head or status in (204, 304)
        self._left = _NO_LENGTH if self._has_no_body else _length(headers)
        if ended and self._left > 0:
            raise Refusal(502, f"the endpoint's answer has no body, though its Content-Length is {self._left}")
        self.status = status

    def more(self, count: int) -> None:
        if not count:
            return
        if self._has_no_body:
            raise Refusal(502, f"the endpoint's answer {self.status} has a body, which it can't have")
        if self._left != _NO_LENGTH:
            self._left -= count
            if self._left < 0:
                raise Refusal(502, "the endpoint's answer is longer than its Content-Length")

    def end(self) -> None:
        if self._left > 0:
            raise Refusal(502, f"the endpoint's answer ends {self._left} bytes before its Content-Length")


def own_answer(status: int, why: str, retry_after_s: int, *, is_grpc: bool) -> tuple[Headers, bytes]:
    """The head and the body of what the proxy says itself; a gRPC client is told in its own terms, in the head alone."""
    if is_grpc:
        return [
            (b":status", b"200"),
            (b"content-type", b"application/grpc"),
            (b"grpc-status", _GRPC_STATUS[status]),
            (b"grpc-message", quote(why).encode()),
        ], b""
    text = (why + "\n").encode()
    headers = [
        (b":status", b"%d" % status),
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(text)),
    ]
    if retry_after_s:
        headers.append((b"retry-after", b"%d" % retry_after_s))
    return headers, text


def _status(headers: Headers) -> int:
    value = next((value for name, value in headers if name == b":status"), b"")
    if _STATUS.fullmatch(value) is None:
        raise Refusal(502, f"the endpoint's answer has the status {show(value)}")
    return int(value)


def _length(headers: Headers) -> int:
    for name, value in headers:
        if name == b"content-length":
            if _LENGTH.fullmatch(value) is None:
                raise Refusal(502, f"the endpoint's answer has the Content-Length {show(value)}")
            return int(value)
    return _NO_LENGTH
