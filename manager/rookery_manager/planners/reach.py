"""What replicas may reach of the cluster's machines: what their own app publishes, and what others publish and open to them.

A service says itself who else may reach it (`allow`): whoever may change one app can't open another's doors with it.
"""

import ipaddress
from collections.abc import Collection, Iterable, Iterator

from rookery.model import EVERY_APP, Opening, OpenPort, PortMode, PortProtocol, Reach, ServiceSpec


def reach_of(specs: Iterable[tuple[str, ServiceSpec]], addresses: Iterable[str]) -> Reach:
    """`specs` come with their apps' names, several of one service while it is updated; `addresses` are the machines'."""
    open_to: dict[tuple[str, str], set[OpenPort]] = {}
    for app, spec in specs:
        ports = set(published(spec))
        for whom in (app, *spec.allow) if ports else ():
            name, _, service = whom.partition("/")
            open_to.setdefault((name, service), set()).update(ports)
    return Reach(
        machines=tuple(sorted({address for address in addresses if _is_elsewhere(address)})),
        openings=tuple(
            Opening(app=app, service=service, ports=tuple(sorted(ports, key=lambda port: (port.port, port.protocol))))
            for (app, service), ports in sorted(open_to.items())
        ),
    )


def part_of(reach: Reach, apps: Collection[str]) -> Reach:
    """As much of it as a node with replicas of these apps needs."""
    openings = tuple([opening for opening in reach.openings if opening.app in apps or opening.app == EVERY_APP])
    return Reach(machines=reach.machines, openings=openings)


def published(spec: ServiceSpec) -> Iterator[OpenPort]:
    """The ports of the proxies, and of the replicas' own nodes, at which a service is reached from outside."""
    for port in spec.ports:
        number = port.published or (port.target if port.mode is PortMode.INGRESS else 0)
        if number:
            yield OpenPort(port=number, protocol=port.protocol)
    for route in spec.routes:
        yield OpenPort(port=route.published, protocol=PortProtocol.TCP)


def _is_elsewhere(address: str) -> bool:
    """Whether it leads to a machine from another one: no loopback, and no name."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (parsed.is_loopback or parsed.is_unspecified)
