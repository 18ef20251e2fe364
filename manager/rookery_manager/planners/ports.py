"""Who may have which port of the proxies: a port, host and path belong to one service.

Invariant: two services that both passed here can be told apart by what a request says. A port that is not declared HTTP takes the
whole port for itself, since what comes in on it says nothing else.
"""

from collections.abc import Iterable, Iterator

from rookery.model import AppSpec, PortMode, ServiceSpec

Claim = tuple[int, str, str, str]  # port that the proxies listen on, protocol, host, path
_WHOLE = "*"


def claims(spec: ServiceSpec) -> Iterator[tuple[Claim, str]]:
    """What a service wants of the proxies, each with its path in the spec."""
    for index, port in enumerate(spec.ports):
        if port.mode is PortMode.INGRESS and port.published:
            whole = port.app_protocol != "http"
            yield (port.published, str(port.protocol), _WHOLE if whole else "", "/"), f"ports[{index}].published"
    for index, route in enumerate(spec.routes):
        yield (route.published, "tcp", route.host.lower(), route.path or "/"), f"routes[{index}].published"


def own_clashes(spec: AppSpec) -> Iterator[str]:
    """Ports that two services of the app, or one of them twice, want."""
    taken: dict[tuple[int, str], list[tuple[Claim, str]]] = {}
    for service in spec.services:
        for claim, path in claims(service):
            path = f"services.{service.name}.{path}"
            clash = _find(claim, taken.get(claim[:2], []))
            if clash:
                yield f"{path}: {_named(claim)} is taken by {clash} already"
            taken.setdefault(claim[:2], []).append((claim, path))


def foreign_clashes(spec: AppSpec, others: Iterable[tuple[str, ServiceSpec]]) -> Iterator[str]:
    """Ports of the app that services of others have; `others` come with their names (`shop/web`)."""
    taken: dict[tuple[int, str], list[tuple[Claim, str]]] = {}
    for owner, other in others:
        for claim, _ in claims(other):
            taken.setdefault(claim[:2], []).append((claim, owner))
    for service in spec.services:
        for claim, path in claims(service):
            owner = _find(claim, taken.get(claim[:2], []))
            if owner:
                yield f"services.{service.name}.{path}: {_named(claim)} is taken by {owner}; publish another one"


def _find(claim: Claim, taken: Iterable[tuple[Claim, str]]) -> str:
    """Whose claim excludes this one; empty where it is free."""
    return next((whose for other, whose in taken if claim == other or _WHOLE in (claim[2], other[2])), "")


def _named(claim: Claim) -> str:
    port, protocol, host, path = claim
    return f"port {port}/{protocol}" if host in ("", _WHOLE) and path == "/" else f"port {port}/{protocol} for {host}{path}"
