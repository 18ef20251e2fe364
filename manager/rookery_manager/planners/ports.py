"""Who may have which port of the proxies: a port, host and path belong to one service.

Invariant: two services that both passed here can be told apart by what a request says. A port that is not declared HTTP takes the
whole port for itself, since what comes in on it says nothing else.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from rookery.model import AppSpec, HttpRules, PortMode, ServiceSpec
from rookery.model.http_rules import can_be_confused

Claim = tuple[int, str, str, str]  # port that the proxies listen on, protocol, host, path
_WHOLE = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    claim: Claim
    rules: HttpRules
    tls: bool
    http2: bool
    whose: str


def claims(spec: ServiceSpec) -> Iterator[_Wanted]:
    """What a service wants of the proxies, each with its path in the spec."""
    for index, port in enumerate(spec.ports):
        if port.mode is PortMode.INGRESS and port.published:
            whole = port.app_protocol not in ("http", "http2")
            claim = (port.published, str(port.protocol), _WHOLE if whole else "", "/")
            yield _Wanted(
                claim=claim,
                rules=HttpRules(),
                tls=False,
                http2=port.app_protocol == "http2",
                whose=f"ports[{index}].published",
            )
    for index, route in enumerate(spec.routes):
        claim = (route.published, "tcp", route.host.lower(), route.path.rstrip("/") or "/")
        yield _Wanted(claim=claim, rules=route.rules, tls=route.tls, http2=route.http2, whose=f"routes[{index}].published")


def own_clashes(spec: AppSpec) -> Iterator[str]:
    """Ports that two services of the app, or one of them twice, want."""
    taken: dict[tuple[int, str], list[_Wanted]] = {}
    for service in spec.services:
        for claim in claims(service):
            wanted = replace(claim, whose=f"services.{service.name}.{claim.whose}")
            others = taken.setdefault(wanted.claim[:2], [])
            clash = _clash(wanted, others)
            if clash:
                yield f"{wanted.whose}: {clash} already"
            others.append(wanted)


def foreign_clashes(spec: AppSpec, others: Iterable[tuple[str, ServiceSpec]]) -> Iterator[str]:
    """Ports of the app that services of others have; `others` come with their names (`shop/web`)."""
    taken: dict[tuple[int, str], list[_Wanted]] = {}
    for owner, other in others:
        for claim in claims(other):
            whose = f"{owner} ({claim.whose.rpartition('.')[0]})"
            taken.setdefault(claim.claim[:2], []).append(replace(claim, whose=whose))
    for service in spec.services:
        for claim in claims(service):
            clash = _clash(claim, taken.get(claim.claim[:2], []))
            if clash:
                yield f"services.{service.name}.{claim.whose}: {clash}; publish another one"


def _clash(wanted: _Wanted, taken: Iterable[_Wanted]) -> str:
    """Why it can't be had; empty where it can."""
    for other in taken:
        same = wanted.claim == other.claim and can_be_confused(wanted.rules, other.rules)
        if same or _WHOLE in (wanted.claim[2], other.claim[2]):
            return f"{_named(wanted.claim, wanted.rules)} is taken by {other.whose}"
        for what, here, there in (("TLS", wanted.tls, other.tls), ("HTTP/2", wanted.http2, other.http2)):
            if here != there:
                how, how_other = ("with", "without") if here else ("without", "with")
                return f"port {wanted.claim[0]} is wanted {how} {what} here, and is taken {how_other} it by {other.whose}"
    return ""


def _named(claim: Claim, rules: HttpRules) -> str:
    port, protocol, host, path = claim
    which = f" with {rules.selection}" if rules.is_selective else ""
    if host in ("", _WHOLE) and path == "/" and not which:
        return f"port {port}/{protocol}"
    return f"port {port}/{protocol} for {host if host != _WHOLE else ''}{path}{which}"
