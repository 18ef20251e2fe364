"""The strict grammar that requests and answers share (RFC 9110, 9112).

Pure. Invariant: a head is validated to its last byte before any of it goes on, and what goes on has one meaning: one framing, one
host, no field that was meant for this connection alone. All else passes as it came. Nothing but Refusal is raised.
"""

import re

MAX_HEAD_BYTES = 32768
MAX_FIELDS = 128
CHUNKED = -1  # a length: given by the chunks themselves
UNTIL_CLOSE = -2  # a length: the connection's end is the body's (answers only)

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
VALUE = rb"[\t -~\x80-\xff]"
FIELDS = rb"(?:" + TOKEN + rb"++:" + VALUE + rb"*+\r\n)*+\r\n"  # field lines, and the empty line after them

_TRAILERS = re.compile(FIELDS)
_FIELD = re.compile(TOKEN + rb"+:" + VALUE + rb"*")
_ODD_LINE_END = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")
# Fields that decide framing, routing or trust: in a trailer they could only deceive.
_NEVER_TRAILERS = re.compile(
    rb"(?i)(?:^|\n)(?:host|connection|content[-_]length|content[-_]encoding|content[-_]type|content[-_]range|transfer[-_]encoding|"
    rb"trailer|te|upgrade|authorization|cookie|set[-_]cookie|expect|forwarded|x[-_]forwarded[-_][a-z]+):"
)
# Fields for the endpoint or the client: a Connection that names one asks for it to be taken out on the way.
_END_TO_END = frozenset(
    (
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"cookie",
        b"authorization",
        b"content-type",
        b"content-encoding",
        b"expect",
    )
)
_OWN_OPTIONS = frozenset((b"", b"close", b"keep-alive", b"upgrade"))


class Refusal(Exception):
    """A message that is not understood, or that could mean two things: the status for it, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


def check_partial(data: bytes) -> None:
    """Refuses the beginning of a head that no continuation makes a good one."""
    # What is beyond the limit does not count: it may be there or not, as the message was cut.
    if has_odd_line_end(data):
        raise Refusal(400, "a line does not end with CR LF")
    if data.find(b"\0", 0, MAX_HEAD_BYTES) >= 0:
        raise Refusal(400, "the head holds a NUL byte")
    if len(data) > MAX_HEAD_BYTES:
        if data.find(b"\r\n", 0, MAX_HEAD_BYTES) < 0:
            raise Refusal(414, f"the request's first line is longer than {MAX_HEAD_BYTES} bytes")
        raise Refusal(431, f"the head is larger than {MAX_HEAD_BYTES} bytes")


def has_odd_line_end(data: bytes) -> bool:
    """Whether the beginning of a head has a CR or an LF without the other: such a head may have no end."""
    return _ODD_LINE_END.search(data, 0, MAX_HEAD_BYTES) is not None


def check_trailers(data: bytes, status: int) -> None:
    """Refuses a trailer section (empty line included) that is not well formed, or names fields that have no place there."""
    if _TRAILERS.fullmatch(data) is None:
        raise Refusal(status, "the trailer is malformed")
    if _NEVER_TRAILERS.search(data):
        raise Refusal(status, "the trailer holds a field that may not be there")


def length_of(value: bytes, status: int) -> int:
    """The number in a Content-Length."""
    if not value.isdigit() or len(value) > 18:
        raise Refusal(status, f"Content-Length: {show(value)} is no number of bytes")
    return int(value)


def cut(lines: bytes, line: bytes) -> bytes:
    """The lines without that one, which is in them."""
    at = lines.index(line)
    return lines[:at] + lines[at + len(line) :]


def options_of(connection: bytes, status: int) -> set[bytes]:
    """The names in a Connection field, in lower case."""
    options = {option.strip(b" \t") for option in connection.lower().split(b",")}
    for name in options & _END_TO_END:
        raise Refusal(status, f"Connection names {show(name)}, which is not for one connection only")
    return options


def without(lines: bytes, names: set[bytes]) -> bytes:
    """Field lines but those that a Connection field named."""
    others = names - _OWN_OPTIONS
    if not others:
        return lines
    return b"".join(line for line in lines.splitlines(keepends=True) if line.partition(b":")[0].lower() not in others)


def bad_field(fields: bytes) -> str:
    """The first line that is no header field, as it can be shown."""
    for line in fields.split(b"\r\n"):
        if _FIELD.fullmatch(line) is None:
            return show(line)
    return "''"


def show(data: bytes) -> str:
    """Bytes of a stranger as they can be printed."""
    return repr(data[:80])[1:]
