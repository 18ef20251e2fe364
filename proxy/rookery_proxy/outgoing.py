"""What goes on: a request's head as the endpoint gets it, and the proxy's own answers as the client gets them. Pure."""

from typing import Protocol

from rookery.model import Route

from rookery_proxy.request import Fields

_REASONS = {
    200: "OK", 301: "Moved Permanently", 302: "Found", 303: "See Other", 307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    408: "Request Timeout", 414: "URI Too Long", 417: "Expectation Failed", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Timeout", 505: "HTTP Version Not Supported",
}  # fmt: skip


class LineRules(Protocol):
    def request_lines(self, lines: bytes) -> bytes:
        """A request's field lines, with the line end before the first, as the endpoint gets them."""


def outgoing_target(target: bytes, route: Route) -> bytes:
    """The target without the route's path, where that is to be stripped."""
    if not route.path or not route.strip_path:
        return target
    return moved(target, route.path, "")


def moved(target: bytes, path: str, to: str) -> bytes:
    """The target with `to` in the place of `path`, which it begins with. Its query stays."""
    if target[:1] != b"/":
        return target  # `*` is of no path
    rest = to.rstrip("/").encode() + target[len(path.rstrip("/").encode()) :]
    return rest if rest[:1] == b"/" else b"/" + rest


def outgoing_fields(
    fields: Fields,
    route: Route,
    peer: bytes,
    rules: LineRules | None = None,
    *,
    scheme: bytes = b"http",
    forwarded: bool = False,
) -> bytes:
    """The fields, from the line end before the first to the empty line. `peer` is the client's address; with `forwarded` it is
    told in that field, too."""
    own = b""
    if fields.upgrade:
        own = b"Connection: Upgrade\r\nUpgrade: " + fields.upgrade + b"\r\n"
    if fields.host is None:
        own += b"Host: " + route.service.encode("ascii", "replace") + b"\r\n"
    if forwarded:
        own += b"Forwarded: %b\r\n" % _forwarded(fields.host or "", peer, scheme)
    forwarded_for = fields.forwarded_for + b", " + peer if fields.forwarded_for else peer
    lines = fields.lines if rules is None else rules.request_lines(fields.lines)
    return b"%b%bX-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n\r\n" % (
        lines, own, forwarded_for, scheme, (fields.host or "").encode(),
    )  # fmt: skip


def _forwarded(host: str, peer: bytes, scheme: bytes) -> bytes:
    """This proxy's part of what Forwarded says (RFC 7239): what came before it is not known to be true, and is left out."""
    whose = b'"[%b]"' % peer if b":" in peer else peer or b"unknown"
    name = b';host="%b"' % host.encode() if host else b""
    return b"for=%b%b;proto=%b" % (whose, name, scheme)


def retry_after(seconds: int) -> bytes:
    """The line that says when to come again; nothing for 0."""
    return b"Retry-After: %d\r\n" % seconds if seconds else b""


def own_answer(status: int, why: str, connection: bytes, *, head_only: bool, fields: bytes = b"") -> bytes:
    """An answer in the proxy's own name. `connection` is the Connection field's line, or nothing; `fields` are further lines."""
    text = (why + "\n").encode("utf-8", "replace")
    head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(text)}\r\n"
    return head.encode() + fields + connection + b"\r\n" + (b"" if head_only else text)
