"""Routes are made of ready replicas, and say why there is none."""

from dataclasses import replace

from rookery.model import (
    Balancing,
    Endpoint,
    HttpRoute,
    ListenProtocol,
    Node,
    NodeId,
    NodeInfo,
    Port,
    PortMode,
    PortProtocol,
    Replica,
    ReplicaId,
    ReplicaState,
    Service,
    ServiceSpec,
)
from rookery_manager.planners.routes import replica_ids, routes_of

SERVICE = Service(app="shop", name="web", revision=1, replicas=2)
SPEC = ServiceSpec(name="web", ports=(Port(target=80, published=8080), Port(target=9, published=9, mode=PortMode.HOST)))


def replica(name: str, *, ready: bool = True, state: ReplicaState = ReplicaState.RUNNING) -> Replica:
    endpoint = Endpoint(replica_id=ReplicaId(name), address="10.0.0.1", port=30000, target=80)
    return Replica(
        id=ReplicaId(name),
        app="shop",
        service="web",
        slot=1,
        revision=1,
        node_id=NodeId("n"),
        state=state,
        ready=ready,
        endpoints=(endpoint,),
    )


def test_a_published_port_is_a_route_to_the_ready_replicas_alone() -> None:
    draining = replica("c", ready=False, state=ReplicaState.DRAINING)
    (route,) = routes_of(SERVICE, {1: SPEC}, [replica("b"), replica("a"), replica("d", ready=False), draining])
    assert (route.id, route.port, route.protocol) == ("shop/web:8080", 8080, ListenProtocol.DETECT)
    assert [endpoint.replica_id for endpoint in route.endpoints] == ["a", "b"]
    assert replica_ids([route]) == {"a", "b"}
    assert route.why_empty == ""


def test_an_http_route_has_host_and_path() -> None:
    spec = ServiceSpec(name="web", routes=(HttpRoute(target=80, host="shop.test", path="/api", published=80),))
    (route,) = routes_of(SERVICE, {1: spec}, [replica("a")])
    assert (route.id, route.host, route.path, route.protocol) == (
        "shop/web:80shop.test/api",
        "shop.test",
        "/api",
        ListenProtocol.HTTP,
    )


def test_an_empty_route_says_why() -> None:
    def why(service: Service, *replicas: Replica) -> str:
        return routes_of(service, {1: SPEC}, replicas)[0].why_empty

    assert why(SERVICE) == "it has no replica"
    assert why(replace(SERVICE, replicas=0)) == "it is scaled to 0"
    starting = replica("a", ready=False, state=ReplicaState.STARTING)
    assert why(SERVICE, starting) == "no replica is ready: 1 starting"
    preparing = replica("b", ready=False, state=ReplicaState.PREPARING)
    assert why(SERVICE, starting, preparing, starting) == "no replica is ready: 1 preparing, 2 starting"
    assert why(SERVICE, starting, preparing) == why(SERVICE, preparing, starting)


def test_the_application_protocol_decides_how_the_port_is_read() -> None:
    def protocol(port: Port) -> ListenProtocol:
        return routes_of(SERVICE, {1: ServiceSpec(name="web", ports=(port,))}, [])[0].protocol

    assert protocol(Port(target=1, app_protocol="http")) is ListenProtocol.HTTP
    assert protocol(Port(target=1, app_protocol="postgres")) is ListenProtocol.TCP
    assert protocol(Port(target=1, protocol=PortProtocol.UDP)) is ListenProtocol.UDP


def test_a_removed_service_keeps_its_routes_until_nothing_serves() -> None:
    removing = replace(SERVICE, removing=True)
    assert len(routes_of(removing, {1: SPEC}, [replica("a")])) == 1
    assert routes_of(removing, {1: SPEC}, [replica("a", ready=False, state=ReplicaState.DRAINING)]) == ()


def test_an_older_replica_that_answers_at_another_port_still_serves() -> None:
    old = ServiceSpec(name="web", ports=(Port(target=80, published=8080),))
    new = ServiceSpec(name="web", ports=(Port(target=81, published=8080),))
    (route,) = routes_of(replace(SERVICE, revision=2), {1: old, 2: new}, [replica("a")])
    assert [(endpoint.replica_id, endpoint.target) for endpoint in route.endpoints] == [("a", 80)]


def test_endpoints_are_told_their_nodes_weight_and_place_where_the_balancing_asks_for_it() -> None:
    balancing = Balancing(weight="node.labels.power", prefer="node.labels.zone")
    spec = replace(SPEC, balancing=balancing)
    info = NodeInfo(hostname="n1", labels={"zone": "a"})
    nodes = {NodeId("n1"): Node(id=NodeId("n1"), info=info, labels={"power": "5"})}
    replicas = [replace(replica("a"), node_id=NodeId("n1")), replace(replica("b"), node_id=NodeId("gone"))]
    (route,) = routes_of(SERVICE, {1: spec}, replicas, nodes)
    assert route.balancing == balancing
    assert [(e.replica_id, e.weight, e.place) for e in route.endpoints] == [("a", 5, "a"), ("b", 1, "")]
    for said, weight in (("0", 1), ("-3", 1), ("x", 1), ("99999", 1000), ("²", 1)):
        odd = {NodeId("n1"): Node(id=NodeId("n1"), info=info, labels={"power": said})}
        assert routes_of(SERVICE, {1: spec}, replicas, odd)[0].endpoints[0].weight == weight
    assert routes_of(SERVICE, {1: SPEC}, replicas, nodes)[0].endpoints[0].weight == 1
