"""A request's head: what of it decides where the request goes and where it ends, and the lines that go on to the endpoint.

Pure; the grammar is head.py's. Requests of one connection often differ in their first line only: the fields of the request before
can be given, and where the bytes are the same, so is their meaning.
"""

import copy
import re

from rookery_proxy.head import (
    CHUNKED,
    FIELDS,
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    TOKEN,
    Refusal,
    bad_field,
    check_partial,
    cut,
    length_of,
    options_of,
    show,
    without,
)

_LINE = re.compile(rb"([A-Z][A-Z0-9_\-]{0,31}) ([!-\"$-~]++) HTTP/1\.([01])\r\n")
_VALID = re.compile(FIELDS)
_HOST = re.compile(rb"(?:(?:[A-Za-z0-9._~!$&'()*+,;=\-]|%[0-9A-Fa-f]{2})*+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?@]+)((?:[/?].*)?)")
_OTHER_VERSION = re.compile(rb"[^ ]+ [^ ]+ (HTTP/[0-9]\.[0-9])")
_OTHER_METHOD = re.compile(rb"(" + TOKEN + rb"++) [!-\"$-~]++ HTTP/1\.[01]")
_UNUSUAL = frozenset((b"CONNECT", b"OPTIONS", b"TRACE"))
_MAX_FORWARDS = re.compile(rb"(?i)(\nmax-forwards:[ \t]*+([^\r]*+)\r)")

# Fields that this proxy acts on. `_` for `-` is looked for too: some servers take the two for the same. Each is found as its line
# (with the end of the one before, without half of its own), its name, its value.
_OURS = re.compile(
    rb"(?i)(\n(host|connection|content[-_]length|transfer[-_]encoding|keep[-_]alive|proxy[-_]connection|upgrade|expect|te|"
    rb"http2[-_]settings|x[-_]forwarded[-_](?:for|proto|host)|forwarded|proxy[-_]authorization):[ \t]*+([^\r]*+)\r)"
)


class Fields:
    """The header fields of a request. `length` is the body's: bytes, or CHUNKED. `lines` go on to the endpoint, with the line end
    before the first."""

    __slots__ = ("block", "forwarded_for", "host", "keep_alive", "length", "lines", "minor", "upgrade")

    def __init__(self, block: bytes, minor: int) -> None:
        self.block = block
        self.minor = minor  # of the HTTP version
        self.host: str | None = None
        self.keep_alive = minor == 1
        self.length = 0
        self.upgrade = b""  # the protocols to change to; empty when that is not asked for
        self.forwarded_for = b""
        self.lines = b""


class Request:
    """`target` is as it goes on: a path with its query, or `*`."""

    __slots__ = ("fields", "method", "target")

    def __init__(self, method: bytes, target: bytes, fields: Fields) -> None:
        self.method = method
        self.target = target
        self.fields = fields

    @property
    def path(self) -> str:
        return self.target.partition(b"?")[0].decode("ascii")


def parse_request(head: bytes, known: Fields | None = None) -> Request:
    """The request of a whole head, empty line included. `known` are the fields of an earlier one."""
    match = _LINE.match(head)
    if match is None or len(head) > MAX_HEAD_BYTES:
        raise _why_none(head)
    method, target, version = match.groups()
    minor = version[0] - 48
    block = head[match.end() :]
    fields = (
        known if known is not None and known.block == block and known.minor == minor else _parse_fields(head, match.end(), minor)
    )
    if target[0] != 47 or method in _UNUSUAL:  # the path begins with /
        target = _unusual_target(method, target, fields)
        if method in _UNUSUAL:
            fields = _count_forward(fields)
    return Request(method, target, fields)


def _parse_fields(head: bytes, at: int, minor: int) -> Fields:
    """The fields of a head, the first of which begins at `at`."""
    block = head[at:]
    if _VALID.fullmatch(block) is None:
        raise _why_none(head)
    if block.count(b"\n") > MAX_FIELDS + 1:
        raise Refusal(431, f"more than {MAX_FIELDS} header fields")
    fields = Fields(block, minor)
    lines = head[at - 2 : -2]
    host: bytes | None = None
    length = connection = coding = None
    for line, name, value in _OURS.findall(lines):
        name = name.lower()
        value = value.rstrip(b" \t")
        if name == b"host":
            if host is not None:
                raise Refusal(400, "more than one Host")
            host = value
            continue
        if name == b"content-length":
            if length is not None:
                raise Refusal(400, "more than one Content-Length")
            length = length_of(value, 400)
        elif name == b"transfer-encoding":
            if coding is not None:
                raise Refusal(400, "more than one Transfer-Encoding")
            coding = value.lower()
        elif name == b"expect":
            if value.lower() != b"100-continue":
                raise Refusal(417, f"Expect: {show(value)} is not known")
            if minor:
                continue
        elif name == b"connection":
            connection = value if connection is None else connection + b"," + value
        elif name == b"upgrade":
            fields.upgrade = value if not fields.upgrade else fields.upgrade + b"," + value
        elif name == b"x-forwarded-for":
            fields.forwarded_for = value if not fields.forwarded_for else fields.forwarded_for + b", " + value
        elif b"_" in name:
            raise Refusal(400, f"{show(name)} has an underscore where a hyphen is meant")
        # This field is the proxy's business alone, or put in again as it is meant: its line is left out.
        lines = cut(lines, line)
    fields.lines = lines

    if coding is not None:
        if length is not None:
            raise Refusal(400, "both Content-Length and Transfer-Encoding")
        if not minor:
            raise Refusal(400, "Transfer-Encoding in HTTP/1.0")
        if coding != b"chunked":
            raise Refusal(501, f"Transfer-Encoding: {show(coding)} is not known; chunked alone is")
        fields.length = CHUNKED
        fields.lines += b"Transfer-Encoding: chunked\r\n"
    elif length is not None:
        fields.length = length
        fields.lines += b"Content-Length: %d\r\n" % length
    if host is not None:
        if _HOST.fullmatch(host) is None:
            raise Refusal(400, f"the Host {show(host)} is malformed")
        fields.host = host.decode("ascii")
    elif minor:
        raise Refusal(400, "no Host")
    if connection is not None or fields.upgrade:
        _obey_connection(fields, connection or b"")
    return fields


def _obey_connection(fields: Fields, connection: bytes) -> None:
    options = options_of(connection, 400)
    if b"close" in options:
        fields.keep_alive = False
    elif b"keep-alive" in options:
        fields.keep_alive = True
    # An upgrade with a body, or to HTTP/2 in the clear, is not taken up; the request is served as it is.
    if b"upgrade" not in options or not fields.minor or fields.length or fields.upgrade.lower().startswith(b"h2c"):
        fields.upgrade = b""
    fields.lines = without(fields.lines, options)


def _unusual_target(method: bytes, target: bytes, fields: Fields) -> bytes:
    """What goes on to the endpoint for a target that is no path: a URL's path, or `*`."""
    if method == b"CONNECT":
        raise Refusal(405, "CONNECT is not offered")
    if target[0] == 47 or (target == b"*" and method == b"OPTIONS"):
        return target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise Refusal(400, "the request's target is neither a path nor a URL")
    authority, rest = absolute.groups()
    if fields.host is None or fields.host.lower().encode() != authority.lower():
        raise Refusal(400, "the Host is not the one of the request's target")
    return rest if rest[:1] == b"/" else b"/" + rest


def _count_forward(fields: Fields) -> Fields:
    """The fields with one forward less left, where an OPTIONS or a TRACE limits them (RFC 9110, 7.6.2)."""
    found = _MAX_FORWARDS.findall(fields.lines)
    if not found:
        return fields
    line, value = found[0][0], found[0][1].rstrip(b" \t")
    if len(found) > 1 or not value.isdigit() or len(value) > 9:
        raise Refusal(400, "Max-Forwards is no number, or is there more than once")
    if not int(value):
        raise Refusal(501, "Max-Forwards is 0, and the proxy does not answer this method itself")
    counted = copy.copy(fields)
    counted.block = b""  # true of this method only: never taken for another request's
    counted.lines = fields.lines.replace(line, b"\nMax-Forwards: %d\r" % (int(value) - 1))
    return counted


def _why_none(head: bytes) -> Refusal:
    """What is wrong with a head that the grammar does not take."""
    try:
        check_partial(head)
    except Refusal as refusal:
        return refusal
    line, _, fields = head.partition(b"\r\n")
    if _LINE.fullmatch(line + b"\r\n") is not None:
        return Refusal(400, f"a header field is malformed: {bad_field(fields)}")
    method = _OTHER_METHOD.fullmatch(line)
    if method is not None:
        return Refusal(501, f"the method {show(method[1])} is not known; methods are in capitals, of 32 bytes at most")
    other = _OTHER_VERSION.fullmatch(line)
    if other is not None and other[1] not in (b"HTTP/1.0", b"HTTP/1.1"):
        return Refusal(505, f"{show(other[1])} is not spoken here; HTTP/1.1 is")
    return Refusal(400, f"the request line is malformed: {show(line)}")
