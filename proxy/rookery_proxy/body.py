"""Where a message's body ends: chunks are checked, not taken apart.

Pure. Invariant: what `feed` returns is whole and valid as far as it goes; a size line or a trailer is held back until its end
has come, so nothing unchecked is ever passed on. Chunk extensions are checked and left out.
"""

import re

from rookery_proxy.head import Refusal, check_trailers

_MAX_LINE_BYTES = 512
_MAX_TRAILER_BYTES = 8192
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_SIZE = re.compile(
    rb"([0-9A-Fa-f]{1,15})((?:[ \t]*;[ \t]*"
    + _TOKEN
    + rb"(?:=(?:"
    + _TOKEN
    + rb"|\"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~])*\"))?)*)\r\n"
)


class Chunks:
    """Follows one chunked body. `unwrap`: gives out the data alone, for a peer that knows no chunks."""

    __slots__ = ("_held", "_left", "_state", "_status", "_unwrap", "done")

    def __init__(self, status: int, *, unwrap: bool = False) -> None:
        self._status = status  # of a refusal: 400 for requests, 502 for answers
        self._unwrap = unwrap
        self._held = b""
        self._left = 0
        self._state = "size"
        self.done = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """What may be passed on now, and what came after the body's end."""
        if self._state == "data" and len(data) <= self._left:
            self._left -= len(data)
            if not self._left:
                self._state = "end"
            return data, b""
        if self._held:
            data, self._held = self._held + data, b""
        out: list[bytes] = []
        at = passed = 0  # data[passed:at] is checked and can go on as it came
        size = len(data)
        while at < size:
            if self._state == "data":
                taken = min(self._left, size - at)
                self._left -= taken
                if self._unwrap:
                    out.append(data[at : at + taken])
                at += taken
                if not self._left:
                    self._state = "end"
            elif self._state == "end":
                if size - at < 2:
                    if data[at] != 13:
                        raise Refusal(self._status, "a chunk is longer than its size says")
                    break
                if data[at : at + 2] != b"\r\n":
                    raise Refusal(self._status, "a chunk is longer than its size says")
                at += 2
                self._state = "size"
            elif self._state == "size":
                match = _SIZE.match(data, at)
                if match is None:
                    self._check_partial_line(data, at)
                    break
                digits, extensions = match.groups()
                if extensions and not self._unwrap:
                    out.append(data[passed : match.end(1)])
                    out.append(b"\r\n")
                    passed = match.end()
                at = match.end()
                self._left = int(digits, 16)
                self._state = "data" if self._left else "trailer"
            else:
                stop = self._trailer_end(data, at)
                if stop < 0:
                    break
                check_trailers(data[at:stop], self._status)
                at = stop
                self.done = True
                break
        if not self._unwrap:
            out.append(data[passed:at] if passed or at < size else data)
        if self.done:
            return b"".join(out), data[at:]
        self._held = data[at:]
        return (out[0] if len(out) == 1 else b"".join(out)), b""

    def _check_partial_line(self, data: bytes, at: int) -> None:
        end = data.find(b"\n", at)
        if end >= 0 or len(data) - at > _MAX_LINE_BYTES:
            raise Refusal(self._status, "a chunk size is malformed")
        if not re.match(rb"[0-9A-Fa-f]{1,15}(?:[;\r \t]|\Z)", data[at : at + 17]):
            raise Refusal(self._status, "a chunk size is malformed")

    def _trailer_end(self, data: bytes, at: int) -> int:
        if data.startswith(b"\r\n", at):
            return at + 2
        end = data.find(b"\r\n\r\n", at)
        if end < 0:
            if len(data) - at > _MAX_TRAILER_BYTES:
                raise Refusal(self._status, "the trailer is too large")
            return -1
        if end + 4 - at > _MAX_TRAILER_BYTES:
            raise Refusal(self._status, "the trailer is too large")
        return end + 4
