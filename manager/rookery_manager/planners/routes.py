"""What the proxies listen for, and which endpoints stand behind it: those of ready replicas, and no others."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from rookery.model import (
    Balancing,
    Endpoint,
    Hold,
    HttpRoute,
    ListenProtocol,
    ManagedCertificate,
    Node,
    NodeId,
    Port,
    PortMode,
    PortProtocol,
    Replica,
    ReplicaState,
    Route,
    RouteId,
    Service,
    ServiceKey,
    ServiceSpec,
)

from rookery_manager.planners.sharing import served
from rookery_manager.scheduler.constraint import attribute

MOST_WEIGHT = 1000
CHALLENGES = "@acme"


def routes_of(
    service: Service,
    specs: Mapping[int, ServiceSpec],
    replicas: Iterable[Replica],
    nodes: Mapping[NodeId, Node] = MappingProxyType({}),
) -> tuple[Route, ...]:
    """The routes of one service. None of one that is being removed and has nothing left to serve with.

    `specs` has the wanted revision, that of every replica, and that to which the latest rollout returns. `nodes` are asked for
    what the balancing goes by.
    """
    spec = specs[service.revision]
    alive = [replica for replica in replicas if not replica.ended]
    ready = [replica for replica in alive if _serves(replica)]
    if service.removing and not ready:
        return ()
    serving = served(service, specs, ready)
    tell = partial(_told, balancing=spec.balancing, nodes=nodes)
    hold = _hold(service, spec)
    routes = [
        Route(
            id=RouteId(f"{service.key}:{port.published or port.target}{'/udp' if port.protocol is PortProtocol.UDP else ''}"),
            app=service.app,
            service=service.name,
            port=port.published or port.target,
            protocol=_protocol(port.protocol, "tcp" if spec.proxy_protocol else port.app_protocol),
            endpoints=_endpoints(serving.replicas, specs, partial(_same_port, wanted=port), port.protocol, tell),
            why_empty=_why_empty(service, alive),
            split=serving.split,
            balancing=spec.balancing,
            proxy_protocol=spec.proxy_protocol,
            hold=hold,
        )
        for port in spec.ports
        if port.mode is PortMode.INGRESS
    ]
    routes += [
        Route(
            id=RouteId(f"{service.key}:{route.published}{route.host}{route.path}{_selection(route)}"),
            app=service.app,
            service=service.name,
            port=route.published,
            protocol=ListenProtocol.HTTP2 if route.http2 else ListenProtocol.HTTP,
            host=route.host,
            path=route.path,
            strip_path=route.strip_path,
            rules=route.rules,
            tls=route.tls,
            acme=route.acme,
            endpoints=_endpoints(serving.replicas, specs, partial(_same_route, wanted=route), PortProtocol.TCP, tell),
            why_empty=_why_empty(service, alive),
            split=serving.split,
            balancing=spec.balancing,
            hold=hold,
        )
        for route in spec.routes
    ]
    return tuple(routes)


def challenge_routes(certificate: ManagedCertificate | None, port: int) -> tuple[Route, ...]:
    """The route by which the proxies prove that a host is ours (RFC 8555, 8.3): an answer of their own on that port."""
    order = certificate.order if certificate is not None else None
    if certificate is None or order is None or order.challenge is None:
        return ()
    return (
        Route(
            id=RouteId(f"{challenge_key(certificate.host)}:{port}"),
            app=CHALLENGES,
            service=certificate.host,
            port=port,
            protocol=ListenProtocol.HTTP,
            host=certificate.host,
            path=f"/.well-known/acme-challenge/{order.challenge.token}",
            answer=order.challenge.key_authorization,
        ),
    )


def challenge_key(host: str) -> ServiceKey:
    """What the route of a host's challenge goes by in the place of a service: no app is named so."""
    return ServiceKey(f"{CHALLENGES}/{host}")


def _hold(service: Service, spec: ServiceSpec) -> Hold | None:
    """Requests of a service that may be without any replica wait for one."""
    policy = service.autoscale(spec)
    if policy is None or not policy.may_be_zero or service.removing:
        return None
    return Hold(timeout_s=policy.hold_s, most=policy.hold_most)


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
        case "http":
            return ListenProtocol.HTTP
        case "http2":
            return ListenProtocol.HTTP2
        case _:
            return ListenProtocol.TCP


def _endpoints(
    replicas: Sequence[Replica],
    specs: Mapping[int, ServiceSpec],
    target_of: Callable[[ServiceSpec], int],
    protocol: PortProtocol,
    tell: Callable[[Endpoint, Replica], Endpoint],
) -> tuple[Endpoint, ...]:
    """Ordered by replica, so that equal sets are equal values. What answers at another port in an older revision still serves."""
    targets = {replica.revision: target_of(specs[replica.revision]) for replica in replicas if replica.revision in specs}
    found = [
        tell(endpoint, replica)
        for replica in replicas
        for endpoint in replica.endpoints
        if endpoint.target == targets.get(replica.revision) and endpoint.protocol is protocol
    ]
    return tuple(sorted(found, key=lambda e: (e.replica_id, e.address, e.port)))


def _told(endpoint: Endpoint, replica: Replica, *, balancing: Balancing, nodes: Mapping[NodeId, Node]) -> Endpoint:
    """The endpoint with what proxies are told of it beside its address."""
    node = nodes.get(replica.node_id)
    said = attribute(node, balancing.weight) if balancing.weight and node is not None else ""
    weight = int(said) if said.isascii() and said.isdecimal() and len(said) < 10 else 1
    place = attribute(node, balancing.prefer) if balancing.prefer and node is not None else ""
    return replace(endpoint, revision=replica.revision, weight=min(max(1, weight), MOST_WEIGHT), place=place)


def _same_port(spec: ServiceSpec, wanted: Port) -> int:
    """The replica's port behind the published one in another revision; the same one where that did not publish it."""
    published = wanted.published or wanted.target
    same = (p for p in spec.ports if p.mode is PortMode.INGRESS and p.protocol is wanted.protocol)
    return next((port.target for port in same if (port.published or port.target) == published), wanted.target)


def _selection(route: HttpRoute) -> str:
    """What tells the route from others for its host and path, as a part of its id."""
    return f" {route.rules.selection}" if route.rules.is_selective else ""


def _same_route(spec: ServiceSpec, wanted: HttpRoute) -> int:
    """The replica's port behind the HTTP route in another revision; the same one where that did not have it."""
    way = (wanted.published, wanted.host, wanted.path, wanted.rules.selection)
    found = (r.target for r in spec.routes if (r.published, r.host, r.path, r.rules.selection) == way)
    return next(found, wanted.target)


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
    # In the order of the states: equal replicas make an equal route, in whatever order the records were read.
    return f"no replica is ready: {', '.join(f'{states[state]} {state}' for state in ReplicaState if state in states)}"
