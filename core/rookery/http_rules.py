"""What is wrong with an HTTP route's rules, wherever they come from: a compose file, an API client, or a manager's table.

Pure. Invariant: rules without a fault here can be carried out by a proxy, and can't be used to forge a message's framing.
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterator

from rookery.model.http_rules import HeaderEdit, HttpRules, Redirect

MOST_FIELDS = 32
MOST_USERS = 256
MOST_NETWORKS = 256
MOST_VALUE = 2048

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_VALUE = re.compile(r"[!-~\x80-\U0010ffff](?:[ \t!-~\x80-\U0010ffff]*[!-~\x80-\U0010ffff])?|")
_METHOD = re.compile(r"[A-Z][A-Z0-9_-]{0,31}")
_PATH = re.compile(r"/[!\"$->@-~]*")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*")
_USER = re.compile(r"([!-9<-~]{1,64}):scrypt\.([A-Za-z0-9_-]{8,64})\.([A-Za-z0-9_-]{16,128})")

# Where a message ends, and on which way it goes, is the proxy's to say.
_ITS_OWN = frozenset((
    "connection", "content-length", "transfer-encoding", "keep-alive", "proxy-connection", "upgrade", "te", "trailer", "expect",
    "http2-settings", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "proxy-authorization",
    "proxy-authenticate",
))  # fmt: skip

STATUSES = (301, 302, 303, 307, 308)


def rules_faults(rules: HttpRules, path: str) -> Iterator[tuple[str, str]]:
    """Each fault with the field it is in. `path` is the route's own."""
    for method in rules.methods:
        if not _METHOD.fullmatch(method):
            yield "methods", f"{method[:40]!r} is no method; methods are in capitals"
        elif method == "CONNECT":
            yield "methods", "CONNECT is not offered"
    if len(rules.headers) > MOST_FIELDS:
        yield "headers", f"{len(rules.headers)} of them; a route asks for {MOST_FIELDS} at most"
    names = [field.name.lower() for field in rules.headers]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield "headers", f"{name[:40]} is asked for twice"
    for field in rules.headers:
        yield from ((("headers"), fault) for fault in _field_faults(field.name, field.value))
    if rules.rewrite and not _PATH.fullmatch(rules.rewrite):
        yield "rewrite", f"{rules.rewrite[:80]!r} is no path; it begins with / and has neither query nor spaces"
    yield from _edit_faults(rules.request_headers, "request_headers")
    yield from _edit_faults(rules.response_headers, "response_headers")
    if len(rules.users) > MOST_USERS:
        yield "basic_auth", f"{len(rules.users)} users; a route has {MOST_USERS} at most"
    for user in rules.users:
        if parse_user(user) is None:
            yield "basic_auth", f"{user.partition(':')[0][:40]!r} is no user as 'rookery password NAME' prints one"
    if rules.rate_limit is not None and not 0 < rules.rate_limit.per_s <= 1e6:
        yield "rate_limit", f"{rules.rate_limit.per_s:g} requests a second are no limit; it is above 0 and a million at most"
    if rules.rate_limit is not None and not 1 <= rules.rate_limit.burst <= 1_000_000:
        yield "rate_limit", f"a burst of {rules.rate_limit.burst} is none; it is 1 to 1000000"
    if len(rules.allow_from) > MOST_NETWORKS:
        yield "allow_from", f"{len(rules.allow_from)} networks; a route has {MOST_NETWORKS} at most"
    for network in rules.allow_from:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            yield "allow_from", f"{network[:60]!r} is no network such as 10.0.0.0/8, and no address"
    if rules.redirect is not None:
        yield from (("redirect", fault) for fault in _redirect_faults(rules.redirect, path))
        if rules.rewrite:
            yield "rewrite", "has no meaning where requests are redirected: they reach no replica"


def parse_user(text: str) -> tuple[str, bytes, bytes] | None:
    """Name, salt and digest of `NAME:scrypt.SALT.HASH`; None for what is none."""
    found = _USER.fullmatch(text)
    if found is None:
        return None
    try:
        salt, digest = (base64.b64decode(part + "=" * (-len(part) % 4), b"-_", validate=True) for part in found.groups()[1:])
    except binascii.Error:
        return None
    return found[1], salt, digest


def _field_faults(name: str, value: str) -> Iterator[str]:
    if not _TOKEN.fullmatch(name):
        yield f"{name[:40]!r} is no name of a header"
    if len(value) > MOST_VALUE or not _VALUE.fullmatch(value):
        yield f"the value of {name[:40]} is none: up to {MOST_VALUE} characters on one line, without spaces at its ends"


def _edit_faults(edit: HeaderEdit, where: str) -> Iterator[tuple[str, str]]:
    if len(edit.set) + len(edit.remove) > MOST_FIELDS:
        yield where, f"{len(edit.set) + len(edit.remove)} fields; a route changes {MOST_FIELDS} at most"
    for field in edit.set:
        yield from ((f"{where}.set", fault) for fault in _field_faults(field.name, field.value))
    names = [field.name for field in edit.set]
    for name in edit.remove:
        yield from ((f"{where}.remove", fault) for fault in _field_faults(name, ""))
    for name in (*names, *edit.remove):
        if name.lower() in _ITS_OWN:
            yield where, f"{name} is the proxy's own to say; leave it out"
    lower = [name.lower() for name in (*names, *edit.remove)]
    for name in sorted({name for name in lower if lower.count(name) > 1}):
        yield where, f"{name[:40]} is named twice"


def _redirect_faults(redirect: Redirect, path: str) -> Iterator[str]:
    if redirect.scheme not in ("", "http", "https"):
        yield f"the scheme {redirect.scheme[:20]!r} is neither http nor https"
    if redirect.host and (len(redirect.host) > 253 or not _HOST.fullmatch(redirect.host)):
        yield f"{redirect.host[:80]!r} is no host name"
    if redirect.port and not 1 <= redirect.port <= 65535:
        yield f"{redirect.port} is no port"
    if redirect.path and not _PATH.fullmatch(redirect.path):
        yield f"{redirect.path[:80]!r} is no path; it begins with / and has neither query nor spaces"
    if redirect.status not in STATUSES:
        yield f"{redirect.status} is no status of a redirect; use {', '.join(map(str, STATUSES))}"
    moves = redirect.path and redirect.path.rstrip("/") != path.rstrip("/")
    if not (redirect.scheme or redirect.host or redirect.port or moves):
        yield "leads to where it came from; name a scheme, a host, a port or another path"
