"""Names for requests: `X-Request-Id`, by which a request is found again in the logs of all that had to do with it.

Invariant: each request goes on with one id that is a plain word; a client's own is kept where it is one.
"""

import itertools
import re
import secrets

_LINES = re.compile(rb"(?i)\n(?:x[-_]request[-_]id):([^\r]*)\r")
_WORD = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")


class RequestIds:
    """Of one worker. An id costs no system call: a random beginning, and a number."""

    def __init__(self) -> None:
        self._beginning = secrets.token_hex(8).encode()
        self._numbers = itertools.count()

    def choose(self, said: list[bytes]) -> tuple[bytes, bool]:
        """The id for a request that came with these, and whether it is its own."""
        word = said[0].strip(b" \t") if len(said) == 1 else b""
        if _WORD.fullmatch(word):
            return word, True
        return b"%b-%x" % (self._beginning, next(self._numbers)), False

    def mark(self, tail: bytes) -> tuple[bytes, bytes]:
        """The id, and the lines with it. `tail` begins with the line end before the first line."""
        found = _LINES.findall(tail)
        made, is_own = self.choose(found)
        if is_own:
            return made, tail
        if found:
            tail = _LINES.sub(b"", tail)
        return made, b"\r\nX-Request-Id: %b%b" % (made, tail)
