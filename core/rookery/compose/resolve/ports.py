"""Published ports, exposed ports and HTTP routes of a service, and how their requests are shared out."""

from collections.abc import Sequence

from rookery.acme_host import host_fault
from rookery.compose import units
from rookery.compose.resolve.http_rules import http_rules
from rookery.compose.view import View
from rookery.model import BalanceMethod, Balancing, HttpRoute, Port, PortMode, PortProtocol

_LOCAL = ("127.", "::1")
_ANY = ("", "0.0.0.0", "::")
_HTTP = ("http", "http1", "http/1.1", "ws", "websocket", "grpc-web")
_OF_HTTP1 = (
    "strip_path", "rewrite", "redirect", "request_headers", "response_headers", "basic_auth", "rate_limit", "allow_from",
)  # fmt: skip
_HTTP2 = ("http2", "h2c", "grpc")
_QUEUE_S = 5.0
_QUEUE_MOST = 1000
_LONGEST_QUEUE_S = 3600.0


def ports(service: View) -> tuple[Port, ...]:
    return tuple(port for view in service.items("ports") if (port := _port(view)) is not None)


def _port(view: View) -> Port | None:
    target, published = view.whole("target"), view.whole("published") or 0
    if target is None or not 1 <= target <= 65535 or not 0 <= published <= 65535:
        return None
    mode = PortMode.HOST if view.text("mode") == "host" else PortMode.INGRESS
    host_ip = view.text("host_ip")
    if mode is PortMode.INGRESS and host_ip.startswith(_LOCAL):
        view.error(
            "host_ip",
            f"{host_ip} can't be kept: proxies listen for every machine",
            "leave the port out, as services reach each other by name, or use the long form with `mode: host`",
        )
    elif mode is PortMode.INGRESS and host_ip not in _ANY:
        view.warn("host_ip", "has no effect: proxies listen on all their addresses", "use `mode: host`")
    protocol = view.text("app_protocol").lower()
    return Port(
        target=target,
        published=published,
        protocol=PortProtocol.UDP if view.text("protocol") == "udp" else PortProtocol.TCP,
        mode=mode,
        host_ip=host_ip if mode is PortMode.HOST else "",
        app_protocol=_spoken(protocol),
    )


def _spoken(protocol: str) -> str:
    """What the proxies take a port's `app_protocol` for."""
    if not protocol:
        return ""
    return "http" if protocol in _HTTP else "http2" if protocol in _HTTP2 else "tcp"


def expose(service: View) -> tuple[int, ...]:
    found: list[int] = []
    for i, written in enumerate(service.scalars("expose")):
        text, _, protocol = written.text.partition("/")
        low, _, high = text.partition("-")
        first, last = units.whole(low), units.whole(high or low)
        where = f"{service.where('expose')}[{i}]"
        if first is None or last is None or not 1 <= first <= last <= 65535 or protocol not in ("", "tcp", "udp"):
            service.problems.error(written.mark, where, f"expected a port from 1 to 65535 or a range, got '{written.text[:40]}'")
        elif last - first > 1000:
            service.problems.error(written.mark, where, "a range spans at most 1000 ports")
        elif protocol == "udp":
            service.problems.warn(
                written.mark, where, "has no effect: containers of one network reach each other's UDP ports anyway"
            )
        else:
            found.extend(range(first, last + 1))
    return tuple(dict.fromkeys(found))


def only_port(service: View) -> int | None:
    """The one TCP port that the service speaks of under `ports:` and `expose:`, if it is one."""
    spoken = {view.whole("target") for view in service.items("ports") if view.text("protocol") != "udp"}
    spoken |= {units.whole(text.partition("/")[0]) for text in service.texts("expose")}
    return spoken.pop() if len(spoken) == 1 else None


def target_of(view: View, key: str, service: View) -> int | None:
    """The port that a route or probe names, else the service's only one; None was reported."""
    port = view.whole(key) if view.has(key) else only_port(service)
    if port is None and not view.has(key):
        view.error("", "'port' is missing", "needed unless the service has exactly one port under `ports:` or `expose:`")
    return port if port is not None and 1 <= port <= 65535 else None


def routes(service: View) -> tuple[HttpRoute, ...]:
    found: list[HttpRoute] = []
    for view in service.child("x-rookery").items("http"):
        path = view.text("path")
        rules = http_rules(view, path)
        target = 0 if rules.redirect is not None else target_of(view, "port", service)
        if target is None:
            continue
        if rules.redirect is not None and view.has("port"):
            view.warn("port", "has no effect: redirected requests reach no replica")
        acme = view.flag("acme")
        if acme and (fault := host_fault(view.text("host").lower())):
            view.error("acme", fault)
        if acme and view.has("tls") and not view.flag("tls"):
            view.error("acme", "certificates are for TLS, and `tls` is false", "leave one of them out")
        tls = acme or view.flag("tls")
        if view.flag("http2"):
            for key in _OF_HTTP1:
                if view.has(key):
                    view.error(key, "can't be had with `http2: true`: calls are passed on as they are", "leave one of them out")
        if rules.rewrite and view.flag("strip_path"):
            view.error("rewrite", "it and 'strip_path' both say what becomes of the path", "leave one of them out")
        if view.flag("strip_path") and path in ("", "/"):
            view.warn("strip_path", "has no effect without a 'path'")
        found.append(
            HttpRoute(
                target=target,
                host=view.text("host").lower(),
                path="" if path == "/" else path,
                published=view.whole("published") or (443 if tls else 80),
                tls=tls,
                acme=acme,
                http2=view.flag("http2"),
                strip_path=view.flag("strip_path") and path not in ("", "/") and not rules.rewrite,
                rules=rules,
            )
        )
    return tuple(found)


def balancing(view: View) -> Balancing:
    known = {method.value: method for method in BalanceMethod}
    method = known.get(view.text("method"), BalanceMethod.TWO_CHOICES)
    kind, _, name = view.text("by").partition(" ")
    if view.has("by") and method is not BalanceMethod.HASH:
        view.error("by", f"is of the method hash, but the method is {method}", "leave it out, or write `method: hash`")
        kind = ""
    slow_start = view.seconds("slow_start") or 0.0
    if slow_start > 3600:
        view.error("slow_start", "more than an hour is too long")
        slow_start = 0.0
    if slow_start and method is BalanceMethod.HASH:
        view.warn("slow_start", "has no effect for the method hash")
    queue_s, queue_most = _queue(view)
    return Balancing(
        method=method,
        hash_header=name if kind == "header" else "",
        hash_cookie=name if kind == "cookie" else "",
        weight=view.text("weight"),
        prefer=view.text("prefer"),
        slow_start_s=slow_start,
        max_in_flight=view.whole("max_in_flight") or 0,
        queue_s=queue_s,
        queue_most=queue_most,
    )


def _queue(view: View) -> tuple[float, int]:
    """How long a request waits for a replica that has less than `max_in_flight`, in seconds, and how many do."""
    if not view.has("max_in_flight"):
        if view.has("queue"):
            view.error("queue", "nobody waits without a 'max_in_flight'", "say how many requests a replica may have in flight")
        return 0.0, 0
    queue = view.child("queue")
    wait_s, most = queue.seconds("for"), queue.whole("most")
    wait_s, most = _QUEUE_S if wait_s is None else wait_s, _QUEUE_MOST if most is None else most
    if not 0 < wait_s <= _LONGEST_QUEUE_S:
        queue.error("for", "is not more than 0s and at most 1h")
    return (wait_s, most) if most else (0.0, 0)


def proxy_protocol(rookery: View, published: Sequence[Port], routes: Sequence[HttpRoute]) -> int:
    """The version of the header that replicas get; 0 is none."""
    version = {"v1": 1, "v2": 2}.get(rookery.text("proxy_protocol"), 0)
    if not version:
        return 0
    if routes or any(port.app_protocol in ("http", "http2") for port in published):
        hint = "leave it out: X-Forwarded-For says who asks"
        rookery.error("proxy_protocol", "is for TCP, but the service has HTTP routes or ports", hint)
    elif not any(port.mode is PortMode.INGRESS and port.protocol is PortProtocol.TCP for port in published):
        rookery.error("proxy_protocol", "no connection passes the proxies", "publish a TCP port under `ports:`")
    else:
        return version
    return 0
