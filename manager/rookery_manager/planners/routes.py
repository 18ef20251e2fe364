"""What the proxies listen for, and which endpoints stand behind it: those of ready replicas, and no others."""

from collections import Counter
from collections.abc import Iterable, Sequence

from rookery.model import (
    Endpoint,
    ListenProtocol,
    PortMode,
    PortProtocol,
    Replica,
    ReplicaState,
    Route,
    RouteId,
    Service,
    ServiceSpec,
)


def routes_of(service: Service, spec: ServiceSpec, replicas: Iterable[Replica]) -> tuple[Route, ...]:
    """The routes of one service. None of one that is being removed and has nothing left to serve with."""
    alive = [replica for replica in replicas if not replica.ended]
    if service.removing and not any(_serves(replica) for replica in alive):
        return ()
    routes = [
        Route(
            id=RouteId(f"{service.key}:{port.published or port.target}{'/udp' if port.protocol is PortProtocol.UDP else ''}"),
            app=service.app,
            service=service.name,
            port=port.published or port.target,
            protocol=_protocol(port.protocol, port.app_protocol),
            endpoints=_endpoints(alive, port.target, port.protocol),
            why_empty=_why_empty(service, alive),
        )
        for port in spec.ports
        if port.mode is PortMode.INGRESS
    ]
    routes += [
        Route(
            id=RouteId(f"{service.key}:{route.published}{route.host}{route.path}"),
            app=service.app,
            service=service.name,
            port=route.published,
            protocol=ListenProtocol.HTTP,
            host=route.host,
            path=route.path,
            strip_path=route.strip_path,
            endpoints=_endpoints(alive, route.target, PortProtocol.TCP),
            why_empty=_why_empty(service, alive),
        )
        for route in spec.routes
    ]
    return tuple(routes)


def replica_ids(routes: Iterable[Route]) -> frozenset[str]:
    return frozenset(endpoint.replica_id for route in routes for endpoint in route.endpoints)


def _serves(replica: Replica) -> bool:
    return replica.ready and replica.state is ReplicaState.RUNNING


def _protocol(protocol: PortProtocol, app_protocol: str) -> ListenProtocol:
    if protocol is PortProtocol.UDP:
        return ListenProtocol.UDP
    match app_protocol:
        case "":
            return ListenProtocol.DETECT
        case "http" | "http2" | "grpc" | "ws":
            return ListenProtocol.HTTP
        case _:
            return ListenProtocol.TCP


def _endpoints(replicas: Sequence[Replica], target: int, protocol: PortProtocol) -> tuple[Endpoint, ...]:
    """Ordered by replica, so that equal sets are equal values."""
    found = [
        endpoint
        for replica in replicas
        if _serves(replica)
        for endpoint in replica.endpoints
        if endpoint.target == target and endpoint.protocol is protocol
    ]
    return tuple(sorted(found, key=lambda e: (e.replica_id, e.address, e.port)))


def _why_empty(service: Service, alive: Sequence[Replica]) -> str:
    """The reason that a proxy gives, after the service's name, when no endpoint is left; empty while there is one."""
    if any(_serves(replica) for replica in alive):
        return ""
    if service.replicas == 0:
        return "it is scaled to 0"
    staying = [replica for replica in alive if replica.state not in (ReplicaState.DRAINING, ReplicaState.STOPPING)]
    if not staying:
        return "it has no replica"
    states = Counter(replica.state for replica in staying)
    return f"no replica is ready: {', '.join(f'{count} {state}' for state, count in states.items())}"
