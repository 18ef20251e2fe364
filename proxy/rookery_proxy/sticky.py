"""What ties the requests of one client together: the value of a header field or of a cookie.

Pure. Invariant: nothing of a route or of a client gets into an answer but a name that is an HTTP token.
"""

import re
from dataclasses import dataclass

from rookery.model import Split

from rookery_proxy.head import TOKEN

_NAME = re.compile(TOKEN + rb"++")
_COOKIES = re.compile(rb"(?i)\ncookie:([^\r]*+)\r")
# RFC 6265, 4.1.1: no space, quote, comma, semicolon or backslash; the whole may be quoted.
_COOKIE_VALUE = re.compile(rb'("?)([!#-+\--:<-\[\]-~]++)\1')


@dataclass(frozen=True, slots=True, kw_only=True)
class Sticky:
    """The header field (a pattern for its line) and the name of the cookie; at least one of them."""

    header: re.Pattern[bytes] | None = None
    cookie: bytes = b""


def sticky_of(split: Split) -> Sticky | None:
    """What a split asks for. A name that is no HTTP token is passed over: no request could have it."""
    return sticky_named(split.sticky_header, split.sticky_cookie)


def sticky_named(header_name: str, cookie_name: str) -> Sticky | None:
    """As `sticky_of`, by the names."""
    header, cookie = _name(header_name), _name(cookie_name)
    if not header and not cookie:
        return None
    pattern = re.compile(rb"(?i)\n" + re.escape(header) + rb":([^\r]*+)\r") if header else None
    return Sticky(header=pattern, cookie=cookie)


def value_in(sticky: Sticky, block: bytes) -> bytes:
    """The value in a request's header fields: the header's, else the cookie's. Empty where there is neither."""
    block = b"\n" + block  # each field follows a line end, which is quicker to look for than either that or the beginning
    if sticky.header is not None:
        found = sticky.header.search(block)
        value = found[1].strip(b" \t") if found else b""
        if value:
            return value
    return _cookie_in(block, sticky.cookie) if sticky.cookie else b""


def set_cookie(pair: bytes, lines: bytes) -> bytes:
    """The line that gives a client its cookie `name=value`, until its browser ends.

    Empty where the answer's own lines (with the line end before the first) set that cookie: theirs counts.
    """
    name = pair.partition(b"=")[0]
    if re.search(rb"(?i:\nset-cookie):[ \t]*+" + re.escape(name) + b"=", lines):
        return b""
    return b"Set-Cookie: %b; Path=/; HttpOnly; SameSite=Lax\r\n" % pair


def _cookie_in(block: bytes, name: bytes) -> bytes:
    """The first well-formed value of a cookie."""
    for cookies in _COOKIES.findall(block):
        for pair in cookies.split(b";"):
            key, _, value = pair.strip(b" \t").partition(b"=")
            if key == name:
                found = _COOKIE_VALUE.fullmatch(value)
                if found:
                    return bytes(found[2])
    return b""


def _name(text: str) -> bytes:
    """A field's or cookie's name; empty for one that is none."""
    name = text.encode("utf-8", "replace")
    return name if _NAME.fullmatch(name) else b""
