"""An answer's head: its status, where its body ends, and the lines that go on to the client.

Pure; the grammar is head.py's. Every refusal is a 502: nothing that could be read in two ways reaches a client.
"""

import functools
import re

from rookery_proxy.head import (
    CHUNKED,
    FIELDS,
    MAX_HEAD_BYTES,
    UNTIL_CLOSE,
    VALUE,
    Refusal,
    bad_field,
    cut,
    length_of,
    options_of,
    show,
    without,
)

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: (" + VALUE + rb"*+))?")
_FIELDS = re.compile(FIELDS)
# Each is found as its line (with the end of the one before, without half of its own), its name, its value.
_OURS = re.compile(
    rb"(\n([CTKPUctkpu](?i:on(?:nection|tent[-_]length)|ransfer[-_]encoding|eep[-_]alive|roxy[-_]connection|pgrade)):"
    rb"[ \t]*+([^\r]*+)\r)"
)


class Answer:
    """`length` is the body's: bytes, CHUNKED (which the lines don't say) or UNTIL_CLOSE.

    `start` (without its line end) and `lines` (with the line end before the first) are the status line and fields to pass on;
    `head` is the two with the empty line, for a client that is told nothing beside.
    """

    __slots__ = ("head", "keep_alive", "length", "lines", "start", "status", "upgrade")

    def __init__(self, status: int, start: bytes, keep_alive: bool) -> None:
        self.status = status
        self.start = start
        self.keep_alive = keep_alive
        self.length = UNTIL_CLOSE
        self.upgrade = b""
        self.lines = b""
        self.head = b""


def parse_answer(head: bytes, method: bytes) -> Answer:
    """The answer to a request with that method, of a whole head, empty line included."""
    at = head.find(b"\r\n")
    known = _status_line(head[:at])
    if known is None or _FIELDS.fullmatch(head, at + 2) is None or len(head) > MAX_HEAD_BYTES:
        raise Refusal(502, _why_none(head))
    status, start, keep_alive = known
    answer = Answer(status, start, keep_alive)
    lines = head[at:-2]
    length = connection = coding = None
    told_plainly = True  # the length, in the one way that nobody misreads
    for line, name, value in _OURS.findall(lines):
        name = name.lower()
        if name == b"content-length":
            if length is not None:
                raise Refusal(502, "the endpoint's answer has more than one Content-Length")
            length = length_of(value.rstrip(b" \t"), 502)
            told_plainly = line.endswith(b": %d\r" % length)
            if told_plainly and status >= 200 and status != 204:
                continue
        elif name == b"connection":
            connection = value if connection is None else connection + b"," + value
        elif name == b"transfer-encoding":
            if coding is not None:
                raise Refusal(502, "the endpoint's answer has more than one Transfer-Encoding")
            coding = value.rstrip(b" \t").lower()
        elif name == b"upgrade":
            answer.upgrade = value.rstrip(b" \t")
        elif b"_" in name:
            raise Refusal(502, f"the endpoint's answer has {show(name)} with an underscore where a hyphen is meant")
        lines = cut(lines, line)
    answer.lines = lines

    if coding is not None:
        if length is not None:
            raise Refusal(502, "the endpoint's answer has both Content-Length and Transfer-Encoding")
        if not keep_alive or coding != b"chunked":
            version = "1.1" if keep_alive else "1.0"
            raise Refusal(502, f"the endpoint's answer has Transfer-Encoding: {show(coding)} in HTTP/{version}")
        if status < 200 or status == 204:
            raise Refusal(502, f"the endpoint's answer {status} has a Transfer-Encoding, but can't have a body")
        answer.length = CHUNKED
    elif length is not None:
        answer.length = length
        if not told_plainly and status >= 200 and status != 204:
            answer.lines += b"Content-Length: %d\r\n" % length
    if method == b"HEAD" or status < 200 or status == 204 or status == 304:
        answer.length = 0
    if connection is not None:
        _obey_connection(answer, connection)
    if answer.length == UNTIL_CLOSE:
        answer.keep_alive = False
    answer.head = b"%b%b\r\n" % (start, answer.lines)
    return answer


@functools.lru_cache(maxsize=256)
def _status_line(line: bytes) -> tuple[int, bytes, bool] | None:
    """Of a status line: the status, the line to pass on, and whether its version keeps connections by default."""
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        return None
    minor, code, reason = match.groups()
    return int(code), b"HTTP/1.1 %b %b" % (code, reason or b""), minor == b"1"


def _obey_connection(answer: Answer, connection: bytes) -> None:
    option = connection.strip(b" \t").lower()
    if option == b"keep-alive":
        answer.keep_alive = True
    elif option == b"close":
        answer.keep_alive = False
    else:
        options = options_of(connection, 502)
        answer.keep_alive = b"close" not in options and (answer.keep_alive or b"keep-alive" in options)
        answer.lines = without(answer.lines, options)


def _why_none(head: bytes) -> str:
    if len(head) > MAX_HEAD_BYTES:
        return f"the head of the endpoint's answer is larger than {MAX_HEAD_BYTES} bytes"
    line, _, fields = head.partition(b"\r\n")
    if _STATUS_LINE.fullmatch(line) is None:
        return f"the endpoint's answer does not begin with an HTTP status line: {show(line)}"
    return f"the endpoint's answer has a malformed header field: {bad_field(fields)}"
