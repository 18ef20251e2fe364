"""What the kernel is told of this node's replicas, as a script for nft.

Pure. Invariant: only what comes out of the bridges named here is judged, in a table of the agent's own. A reply is never stopped.
Of the machines of the cluster (this one, and those of `Reach`) nothing is open but what an opening says, name servers, and ping;
what is no machine of the cluster is nobody's business here.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from rookery.model import EVERY_APP, PortProtocol, Reach

DNS_PORT = 53  # engines hand the containers' questions on to the machine's name server, which may be a machine of the cluster
_BRIDGE = re.compile(r"[A-Za-z0-9_.-]{1,15}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Where a running replica is on its engine: its addresses on all its networks."""

    app: str
    service: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """This node's replicas as the kernel sees them: the bridges of their networks, each with the app it is of, and who has which
    address on these. Other agents may share the engine, and so the bridges: theirs have seats, too."""

    bridges: Mapping[str, str] = field(default_factory=dict)
    seats: tuple[Seat, ...] = ()


def table_name(node_id: str) -> str:
    """Each agent has a table of its own: several may share a machine."""
    return "rookery-" + re.sub(r"[^A-Za-z0-9]", "", node_id)[:32]


def ruleset(table: str, inside: Inside, reach: Reach, *, ports: Iterable[int] = ()) -> str:
    """The script that puts all of it in force at once, in place of what the table held. `ports` are open to every replica."""
    bridges = {name: app for name, app in sorted(inside.bridges.items()) if _BRIDGE.fullmatch(name)}
    machines = sorted({address for given in reach.machines for address in _addresses(given)}, key=str)
    by_app = [f"{_quoted(name)} . {port}" for name, app in bridges.items() for port in _ports(reach, (EVERY_APP, ""), (app, ""))]
    by_service = sorted(set(_of_seats(inside.seats, reach)))
    always = ", ".join(map(str, sorted({DNS_PORT, *ports})))
    return f"""\
table inet {table}
delete table inet {table}
table inet {table} {{
{_set("bridges", "ifname", [_quoted(name) for name in bridges])}
{_set("pairs", "ifname . ifname", [f"{_quoted(name)} . {_quoted(name)}" for name in bridges])}
{_set("machines4", "ipv4_addr", [str(address) for address in machines if address.version == 4])}
{_set("machines6", "ipv6_addr", [str(address) for address in machines if address.version == 6])}
{_set("open", "ifname . inet_proto . inet_service", by_app)}
{_set("open4", "ipv4_addr . inet_proto . inet_service", [text for version, text in by_service if version == 4])}
{_set("open6", "ipv6_addr . inet_proto . inet_service", [text for version, text in by_service if version == 6])}
chain judge {{
ct state established,related accept
meta l4proto {{ icmp, ipv6-icmp }} accept
meta l4proto {{ tcp, udp }} th dport {{ {always} }} accept
iifname . meta l4proto . th dport @open accept
ip saddr . meta l4proto . th dport @open4 accept
ip6 saddr . meta l4proto . th dport @open6 accept
meta l4proto tcp reject with tcp reset
reject with icmpx admin-prohibited
}}
chain input {{
type filter hook input priority filter - 5; policy accept;
iifname @bridges jump judge
}}
chain forward {{
type filter hook forward priority filter - 5; policy accept;
ct state established,related accept
iifname . oifname @pairs accept
iifname @bridges oifname @bridges reject with icmpx admin-prohibited
iifname @bridges ip daddr @machines4 jump judge
iifname @bridges ip6 daddr @machines6 jump judge
}}
}}
"""


def removal(table: str) -> str:
    """The script that removes a table, whether it is there or not."""
    return f"table inet {table}\ndelete table inet {table}\n"


def bridges_in(listing: str) -> frozenset[str]:
    """The bridges that a table as nft lists it is about."""
    _, _, rest = listing.partition("set bridges {")
    return frozenset(re.findall(r'"([^"]+)"', rest.partition("}\n")[0]))


def _ports(reach: Reach, *whom: tuple[str, str]) -> list[str]:
    """Protocol and number of what is open to these, as elements of sets say it."""
    found = {port for opening in reach.openings if (opening.app, opening.service) in whom for port in opening.ports}
    return sorted(f"{'udp' if port.protocol is PortProtocol.UDP else 'tcp'} . {port.port}" for port in found)


def _of_seats(seats: Iterable[Seat], reach: Reach) -> Iterator[tuple[int, str]]:
    """IP version and element of what is open to one service only, for each address of its replicas."""
    for seat in seats:
        for port in _ports(reach, (seat.app, seat.service)) if seat.service else ():
            for text in seat.addresses:
                for address in _addresses(text):
                    yield address.version, f"{address} . {port}"


def _addresses(text: str) -> Iterator[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The address, unless the text is none that a packet from a container could be for."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return
    if not (address.is_loopback or address.is_unspecified):
        yield address


def _set(name: str, type: str, elements: list[str]) -> str:
    held = f" elements = {{ {', '.join(elements)} }}" if elements else ""
    return f"set {name} {{ type {type};{held} }}"


def _quoted(name: str) -> str:
    return f'"{name}"'
