"""Published ports, exposed ports and HTTP routes of a service."""

from rookery.compose import units
from rookery.compose.view import View
from rookery.model import HttpRoute, Port, PortMode, PortProtocol

_LOCAL = ("127.", "::1")
_ANY = ("", "0.0.0.0", "::")
_HTTP = ("http", "http1", "ws", "websocket")


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
        app_protocol="" if not protocol else "http" if protocol in _HTTP else "tcp",
    )


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
        target = target_of(view, "port", service)
        if target is None:
            continue
        path = view.text("path")
        if view.flag("strip_path") and path in ("", "/"):
            view.warn("strip_path", "has no effect without a 'path'")
        found.append(
            HttpRoute(
                target=target,
                host=view.text("host").lower(),
                path="" if path == "/" else path,
                published=view.whole("published") or 80,
                strip_path=view.flag("strip_path") and path not in ("", "/"),
            )
        )
    return tuple(found)
