"""The strict grammar of HTTP/1 heads (RFC 9112), and what balancing needs to know of them.

Pure. Invariant: a head is validated to its last byte before any of it goes on, and what goes on has one meaning: one framing,
one host, no field that was meant for this connection alone. All else passes as it came. Nothing but Refusal is raised.
"""

import re

MAX_HEAD_BYTES = 32768
MAX_FIELDS = 128
CHUNKED = -1  # a length: given by the chunks themselves
UNTIL_CLOSE = -2  # a length: the connection's end is the body's (answers only)

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_VALUE = rb"[\t -~\x80-\xff]"
_FIELDS = rb"((?:" + _TOKEN + rb"++:" + _VALUE + rb"*+\r\n)*+)\r\n"

_REQUEST = re.compile(rb"([A-Z][A-Z0-9_\-]{0,31}) ([!-\"$-~]++) HTTP/1\.([01])\r\n" + _FIELDS)
_ANSWER = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: (" + _VALUE + rb"*+))?\r\n" + _FIELDS)
_TRAILERS = re.compile(_FIELDS)
_HOST = re.compile(rb"(?:[A-Za-z0-9._~%!$&'()*+,;=\-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?@]+)(.*)")
_LENGTH = re.compile(rb"[0-9]{1,18}")

# Fields that this proxy acts on. `_` for `-` is looked for too: some servers take the two for the same.
_REQUEST_FIELDS = re.compile(
    rb"(?i)\n(host|connection|content[-_]length|transfer[-_]encoding|keep[-_]alive|proxy[-_]connection|upgrade|expect|te|"
    rb"http2[-_]settings|x[-_]forwarded[-_](?:for|proto|host)|forwarded|proxy[-_]authorization):[ \t]*+([^\r]*+)\r"
)
_ANSWER_FIELDS = re.compile(
    rb"(?i)\n(connection|content[-_]length|transfer[-_]encoding|keep[-_]alive|proxy[-_]connection|upgrade):[ \t]*+([^\r]*+)\r"
)
# Fields that decide framing or routing: in a trailer, or named by Connection, they could only deceive.
_NEVER_TRAILERS = re.compile(
    rb"(?i)(?:^|\n)(?:host|connection|content[-_]length|content[-_]encoding|content[-_]type|content[-_]range|transfer[-_]encoding|"
    rb"trailer|te|upgrade|authorization|set[-_]cookie|expect|x[-_]forwarded[-_][a-z]+):"
)
_KEPT = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"cookie", b"authorization", b"content-type", b"content-encoding")
)
_ODD_LINE_END = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")


class Refusal(Exception):
    """A message that is not understood, or that could mean two things: the status for it, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class Request:
    """A request's head. `length` is the body's: bytes, or CHUNKED. `fields` are the lines to pass on, each with its end."""

    __slots__ = (
        "expects_continue", "fields", "forwarded_for", "host", "keep_alive", "lacks_host", "length", "method", "minor", "path",
        "target", "upgrade",
    )  # fmt: skip

    def __init__(self, method: bytes, target: bytes, minor: int) -> None:
        self.method = method
        self.target = target
        self.minor = minor
        self.host = ""
        self.lacks_host = False
        self.path = ""
        self.keep_alive = minor == 1
        self.length = 0
        self.expects_continue = False
        self.upgrade = b""
        self.forwarded_for = b""
        self.fields = b""


class Answer:
    """An answer's head. `length` is the body's: bytes, CHUNKED or UNTIL_CLOSE; `start` is the status line to pass on."""

    __slots__ = ("fields", "keep_alive", "length", "minor", "start", "status", "upgrade")

    def __init__(self, status: int, minor: int) -> None:
        self.status = status
        self.minor = minor
        self.start = b""
        self.keep_alive = minor == 1
        self.length = UNTIL_CLOSE
        self.upgrade = b""
        self.fields = b""


def check_partial(data: bytes) -> None:
    """Refuses the beginning of a head that no continuation makes a good one."""
    if len(data) > MAX_HEAD_BYTES:
        raise Refusal(431, f"the head is larger than {MAX_HEAD_BYTES} bytes")
    if _ODD_LINE_END.search(data):
        raise Refusal(400, "a line does not end with CR LF")
    if b"\0" in data:
        raise Refusal(400, "the head holds a NUL byte")


def parse_request(head: bytes) -> Request:
    """The request of a whole head, blank line included."""
    match = _REQUEST.fullmatch(head)
    if match is None:
        raise _why_no_request(head)
    method, target, minor, fields = match.groups()
    if len(head) > MAX_HEAD_BYTES:
        raise Refusal(431, f"the head is larger than {MAX_HEAD_BYTES} bytes")
    request = Request(method, target, minor[0] - 48)

    start = len(head) - len(fields) - 4  # of the line end before the first field
    keep_from = start + 2
    kept: list[bytes] = []
    host: bytes | None = None
    length = connection = coding = None
    lines = 0
    for found in _REQUEST_FIELDS.finditer(head, start):
        name, value = found.groups()
        name = name.lower()
        if name == b"host":
            if host is not None:
                raise Refusal(400, "more than one Host")
            host = value.rstrip(b" \t")
            continue
        if b"_" in name:
            raise Refusal(400, f"{_show(name)} with an underscore")
        value = value.rstrip(b" \t")
        if name == b"content-length":
            if length is not None:
                raise Refusal(400, "more than one Content-Length")
            length = _length(value, 400)
            continue
        if name == b"transfer-encoding":
            if coding is not None:
                raise Refusal(400, "more than one Transfer-Encoding")
            coding = value.lower()
            continue
        if name == b"expect":
            if value.lower() != b"100-continue":
                raise Refusal(417, f"Expect: {_show(value)} is not known")
            request.expects_continue = True
            if request.minor == 1:
                continue
        elif name == b"connection":
            connection = value if connection is None else connection + b"," + value
        elif name == b"upgrade":
            request.upgrade = value if not request.upgrade else request.upgrade + b"," + value
        elif name == b"x-forwarded-for":
            request.forwarded_for = value if not request.forwarded_for else request.forwarded_for + b", " + value
        # The field is this proxy's business alone: its line is left out.
        kept.append(head[keep_from : found.start() + 1])
        keep_from = found.end() + 1
        lines += 1
    if lines:
        kept.append(head[keep_from:-2])
        request.fields = b"".join(kept)
    else:
        request.fields = fields
    if fields.count(b"\n") > MAX_FIELDS:
        raise Refusal(431, f"more than {MAX_FIELDS} header fields")

    if coding is not None:
        if length is not None:
            raise Refusal(400, "both Content-Length and Transfer-Encoding")
        if request.minor == 0:
            raise Refusal(400, "Transfer-Encoding in HTTP/1.0")
        if coding != b"chunked":
            raise Refusal(501, f"Transfer-Encoding: {_show(coding)} is not known; chunked alone is")
        request.length = CHUNKED
    elif length is not None:
        request.length = length
    _route_by(request, host)
    if connection is not None or request.upgrade:
        _connection_of_request(request, connection or b"")
    return request


def parse_answer(head: bytes, method: bytes) -> Answer:
    """The answer to a request with that method, of a whole head, blank line included. Every refusal is a 502."""
    match = _ANSWER.fullmatch(head)
    if match is None or len(head) > MAX_HEAD_BYTES:
        raise Refusal(502, _why_no_answer(head))
    minor, code, reason, fields = match.groups()
    status = int(code)
    answer = Answer(status, minor[0] - 48)
    answer.start = b"HTTP/1.1 %b %b\r\n" % (code, reason or b"")

    start = len(head) - len(fields) - 4
    keep_from = start + 2
    kept: list[bytes] = []
    length = connection = coding = None
    for found in _ANSWER_FIELDS.finditer(head, start):
        name, value = found.groups()
        name = name.lower()
        value = value.rstrip(b" \t")
        if name == b"content-length":
            if length is not None:
                raise Refusal(502, "the endpoint's answer has more than one Content-Length")
            length = _length(value, 502)
            if status >= 200 and status != 204:
                continue
        elif name == b"transfer-encoding":
            if coding is not None:
                raise Refusal(502, "the endpoint's answer has more than one Transfer-Encoding")
            coding = value.lower()
            continue
        elif name == b"connection":
            connection = value if connection is None else connection + b"," + value
        elif name == b"upgrade":
            answer.upgrade = value
        elif b"_" in name:
            continue
        kept.append(head[keep_from : found.start() + 1])
        keep_from = found.end() + 1
    if kept:
        kept.append(head[keep_from:-2])
        answer.fields = b"".join(kept)
    else:
        answer.fields = fields

    if coding is not None:
        if length is not None:
            raise Refusal(502, "the endpoint's answer has both Content-Length and Transfer-Encoding")
        if answer.minor == 0 or coding != b"chunked":
            raise Refusal(502, f"the endpoint's answer has Transfer-Encoding: {_show(coding)}, which can't be passed on")
        if status < 200 or status == 204:
            raise Refusal(502, f"the endpoint's answer {status} has a Transfer-Encoding, but can't have a body")
        answer.length = CHUNKED
    elif length is not None:
        answer.length = length
    if method == b"HEAD" or status < 200 or status == 204 or status == 304:
        answer.length = 0
    if connection is not None:
        options = _options(connection, 502)
        if b"close" in options:
            answer.keep_alive = False
        elif b"keep-alive" in options:
            answer.keep_alive = True
        answer.fields = _without(answer.fields, options)
    if answer.length == UNTIL_CLOSE:
        answer.keep_alive = False
    return answer


def check_trailers(data: bytes, status: int) -> None:
    """Refuses a trailer section (blank line included) that is not well formed, or names fields that have no place there."""
    if _TRAILERS.fullmatch(data) is None:
        raise Refusal(status, "the trailer is malformed")
    if _NEVER_TRAILERS.search(data):
        raise Refusal(status, "the trailer holds a field that may not be there")


def _route_by(request: Request, host: bytes | None) -> None:
    """Fills in host and path from the target and the Host field."""
    target = request.target
    if target[0] != 47:  # not /
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is not None:
            authority, rest = absolute.groups()
            if host is not None and host.lower() != authority.lower():
                raise Refusal(400, "the Host is not the one of the request's target")
            if host is None and request.minor == 0:
                host = authority
                request.fields += b"Host: " + authority + b"\r\n"
            request.target = target = rest if rest[:1] == b"/" else b"/" + rest
        elif target == b"*" and request.method == b"OPTIONS":
            pass
        elif request.method == b"CONNECT":
            raise Refusal(405, "CONNECT is not offered")
        else:
            raise Refusal(400, "the request's target is neither a path nor a URL")
    elif request.method == b"CONNECT":
        raise Refusal(405, "CONNECT is not offered")
    if host is None:
        if request.minor == 1:
            raise Refusal(400, "no Host")
        request.lacks_host = True
    else:
        if _HOST.fullmatch(host) is None:
            raise Refusal(400, f"the Host {_show(host)} is malformed")
        request.host = host.decode("ascii")
    request.path = target.partition(b"?")[0].decode("ascii")


def _connection_of_request(request: Request, connection: bytes) -> None:
    options = _options(connection, 400)
    if b"close" in options:
        request.keep_alive = False
    elif b"keep-alive" in options:
        request.keep_alive = True
    # An upgrade with a body, or to HTTP/2 in the clear, is not taken up; the request is served as it is.
    if b"upgrade" not in options or request.minor == 0 or request.length or request.upgrade.lower().startswith(b"h2c"):
        request.upgrade = b""
    request.fields = _without(request.fields, options)


def _options(connection: bytes, status: int) -> set[bytes]:
    """The names in a Connection field, in lower case."""
    options = {option.strip(b" \t") for option in connection.lower().split(b",")}
    for name in options & _KEPT:
        raise Refusal(status, f"Connection names {_show(name)}, which is not for one connection only")
    return options


def _without(fields: bytes, names: set[bytes]) -> bytes:
    """The field lines but those that a Connection field named."""
    others = names - {b"", b"close", b"keep-alive", b"upgrade"}
    if not others:
        return fields
    lines = fields.split(b"\r\n")
    return b"\r\n".join(line for line in lines if line.partition(b":")[0].lower() not in others)


def _length(value: bytes, status: int) -> int:
    if _LENGTH.fullmatch(value) is None:
        raise Refusal(status, f"Content-Length: {_show(value)} is no number of bytes")
    return int(value)


def _why_no_request(head: bytes) -> Refusal:
    """What is wrong with a head that the grammar does not take."""
    try:
        check_partial(head)
    except Refusal as refusal:
        return refusal
    line, _, fields = head.partition(b"\r\n")
    words = line.split(b" ")
    if len(words) == 3 and re.fullmatch(rb"HTTP/[0-9]\.[0-9]", words[2]) and words[2] not in (b"HTTP/1.0", b"HTTP/1.1"):
        return Refusal(505, f"{_show(words[2])} is not spoken here; HTTP/1.1 is")
    if re.fullmatch(rb"([A-Z][A-Z0-9_\-]{0,31}) ([!-\"$-~]+) HTTP/1\.([01])", line) is None:
        return Refusal(400, f"the request line is malformed: {_show(line)}")
    return Refusal(400, f"a header field is malformed: {_show(_bad_field(fields))}")


def _why_no_answer(head: bytes) -> str:
    if len(head) > MAX_HEAD_BYTES:
        return f"the head of the endpoint's answer is larger than {MAX_HEAD_BYTES} bytes"
    line, _, fields = head.partition(b"\r\n")
    if re.fullmatch(rb"HTTP/1\.[01] [1-5][0-9][0-9](?: " + _VALUE + rb"*)?", line) is None:
        return f"the endpoint's answer does not begin with an HTTP status line: {_show(line)}"
    return f"the endpoint's answer has a malformed header field: {_show(_bad_field(fields))}"


def _bad_field(fields: bytes) -> bytes:
    for line in fields.split(b"\r\n"):
        if re.fullmatch(_TOKEN + rb"+:" + _VALUE + rb"*", line) is None:
            return line
    return b""


def _show(data: bytes) -> str:
    """Bytes of a stranger as they can be printed."""
    return repr(data[:80])[1:]
