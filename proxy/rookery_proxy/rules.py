"""What a route does to requests and answers: who may ask, how often, where it is sent instead, and which fields are changed.

Pure: the time is an argument. Invariant: what a client or an endpoint said decides nothing of a message's framing here, and no
line of a head is made of anything that was not checked to be one line.
"""

import base64
import binascii
import functools
import hashlib
import ipaddress
import re
from collections import OrderedDict

from rookery.http_rules import parse_user
from rookery.model import HeaderEdit, HttpRules, RateLimit, Redirect, Route
from rookery.passwords import is_right

from rookery_proxy.outgoing import moved
from rookery_proxy.request import Request

_MOST_CLIENTS = 10_000  # whose requests are counted; those that were heard longest ago are forgotten first
_MOST_KNOWN = 1024  # passwords that were right
_WRONG_PER_S = 5.0  # passwords that are looked at in vain, of each client: each costs some 10 ms of the worker
_AUTHORIZATION = re.compile(rb"(?i)(?:^|\n)authorization:[ \t]*([^\r]*)")


class Verdict:
    """An answer in the proxy's own name. `fields` are its further lines."""

    __slots__ = ("fields", "status", "why")

    def __init__(self, status: int, why: str, fields: bytes = b"") -> None:
        self.status = status
        self.why = why
        self.fields = fields


class LiveRules:
    """Of one route in one worker, with what is counted for it."""

    def __init__(self, route: Route) -> None:
        rules = route.rules
        self._path = route.path
        self._answer = Verdict(200, route.answer) if route.answer else None
        self._rewrite = rules.rewrite
        self._redirect = rules.redirect
        self._networks = tuple(ipaddress.ip_network(network) for network in rules.allow_from)
        self._bucket = Buckets(rules.rate_limit) if rules.rate_limit is not None else None
        self._users = _Users(rules.users) if rules.users else None
        self._request_edit = _Edit(rules.request_headers, also_remove=("authorization",) if rules.users else ())
        self._answer_edit = _Edit(rules.response_headers)

    def judge(self, request: Request, peer: bytes, now: float, *, scheme: bytes = b"http") -> Verdict | None:
        """The answer to a request that is not passed on; None for one that is. `peer` is the client's address."""
        if self._networks and not self._allows(peer):
            return Verdict(403, "requests from this address are not allowed here")
        if self._bucket is not None:
            wait_s = self._bucket.take(peer, now)
            if wait_s:
                return Verdict(429, "too many requests", b"Retry-After: %d\r\n" % max(1, -int(-wait_s // 1)))
        if self._users is not None:
            verdict = self._users.judge(request.fields.block, peer, now)
            if verdict is not None:
                return verdict
        if self._redirect is not None:
            return _redirected(self._redirect, request, self._path, scheme)
        return self._answer

    def target(self, target: bytes) -> bytes:
        """The request's target as the endpoint gets it."""
        return moved(target, self._path, self._rewrite) if self._rewrite else target

    def request_lines(self, lines: bytes) -> bytes:
        """A request's field lines, with the line end before the first, as the endpoint gets them."""
        return self._request_edit.apply(lines)

    def answer_lines(self, lines: bytes) -> bytes:
        """As `request_lines`, of an answer and for the client."""
        return self._answer_edit.apply(lines)

    def _allows(self, peer: bytes) -> bool:
        address = address_of(peer)
        return address is not None and any(address in network for network in self._networks)


def live_rules(route: Route) -> LiveRules | None:
    """The rules of a route; None for one that takes requests and passes them on as they are."""
    rules = route.rules
    plain = HttpRules(methods=rules.methods, headers=rules.headers)
    return LiveRules(route) if rules != plain or route.answer else None


class Buckets:
    """Token buckets (of a client each, or one): so many requests a second, and a burst at once."""

    def __init__(self, limit: RateLimit) -> None:
        self._per_s = limit.per_s
        self._burst = float(limit.burst)
        self._by_client = limit.by_client
        self._held: OrderedDict[bytes, tuple[float, float]] = OrderedDict()  # tokens, and when they were counted

    def take(self, client: bytes, now: float) -> float:
        """Takes a token. Returns 0, or how long it is until there is one, in seconds."""
        key = client if self._by_client else b""
        tokens, at = self._held.pop(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - at) * self._per_s)
        left = tokens - 1.0 if tokens >= 1.0 else tokens
        self._held[key] = left, now
        if len(self._held) > _MOST_CLIENTS:
            self._held.popitem(last=False)
        return 0.0 if tokens >= 1.0 else (1.0 - tokens) / self._per_s


class _Users:
    """Who may ask, by Basic authentication (RFC 7617)."""

    def __init__(self, users: tuple[str, ...]) -> None:
        self._users = {parsed[0].encode(): parsed[1:] for user in users if (parsed := parse_user(user)) is not None}
        self._known: OrderedDict[bytes, None] = OrderedDict()  # digests of what was right
        self._wrong = Buckets(RateLimit(per_s=_WRONG_PER_S, burst=10))

    def judge(self, block: bytes, peer: bytes, now: float) -> Verdict | None:
        found = _AUTHORIZATION.findall(block)
        if len(found) != 1 or found[0][:6].lower() != b"basic ":
            return self._ask("this needs a name and a password")
        said = hashlib.sha256(found[0]).digest()
        if said in self._known:
            self._known.move_to_end(said)
            return None
        wait_s = self._wrong.take(peer, now)
        if wait_s:
            return Verdict(429, "too many passwords that were not right", b"Retry-After: 1\r\n")
        if not self._is_right(found[0][6:]):
            return self._ask("the name or the password is not right")
        self._known[said] = None
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return None

    def _is_right(self, text: bytes) -> bool:
        try:
            name, colon, password = base64.b64decode(text.strip(), validate=True).partition(b":")
        except binascii.Error:
            return False
        # A name that is not known costs the same time: whether it is one can't be told from outside.
        salt, digest = self._users.get(name, (b"nobody", b"x" * 24))
        return is_right(password, salt, digest) and bool(colon) and name in self._users

    @staticmethod
    def _ask(why: str) -> Verdict:
        return Verdict(401, why, b'WWW-Authenticate: Basic realm="restricted", charset="UTF-8"\r\n')


class _Edit:
    """Changes of field lines."""

    def __init__(self, edit: HeaderEdit, also_remove: tuple[str, ...] = ()) -> None:
        names = [*(field.name for field in edit.set), *edit.remove, *also_remove]
        # A line, with the end of the one before and without half of its own.
        # `_` for `-` goes too: some servers take the two for the same, and would be told by a client what is the route's to say.
        any_of = b"|".join(re.escape(name.encode()).replace(rb"\-", b"[-_]") for name in names)
        pattern = rb"(?i)\n(?:" + any_of + rb"):[^\r]*\r"
        self._gone = re.compile(pattern) if names else None
        self._added = b"".join(b"%b: %b\r\n" % (field.name.encode(), field.value.encode()) for field in edit.set)

    def apply(self, lines: bytes) -> bytes:
        if self._gone is None:
            return lines
        return self._gone.sub(b"", lines) + self._added


def _redirected(redirect: Redirect, request: Request, path: str, scheme: bytes) -> Verdict:
    host = request.fields.host or ""
    if not redirect.host and not host:
        return Verdict(400, "the request names no host, and is to be sent to the same one")
    name, port = redirect.host, f":{redirect.port}" if redirect.port else ""
    if not name:
        name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
        if not port and not redirect.scheme:
            port = host[len(name) :]
    target = moved(request.target, path, redirect.path) if redirect.path else request.target
    if target == b"*":
        target = b"/"
    location = b"%b://%b%b%b" % (redirect.scheme.encode() or scheme, name.encode(), port.encode(), target)
    return Verdict(redirect.status, f"it is at {location.decode('ascii')}", b"Location: %b\r\n" % location)


@functools.lru_cache(maxsize=4096)
def address_of(peer: bytes) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a text is; that of IPv4 where it is one in IPv6's form."""
    try:
        address = ipaddress.ip_address(peer.decode())
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
