"""The cluster as a whole, and its proxies: GetCluster, ListProxies, RemoveProxy, ListRoutes, GetTraffic."""

from rookery.model import Cluster, NodeState, PartKind, ReplicaState, Revocation, TrafficReport
from rookery.v1 import control_pb2, types_pb2
from rookery.wire import encode

from rookery_manager.api.committing import Proposal, commit
from rookery_manager.api.errors import impossible_now, invalid, not_found, shown
from rookery_manager.api.find import find_app, find_service, services_of
from rookery_manager.api.needs import Api
from rookery_manager.records import put


async def get_cluster(api: Api, request: control_pb2.GetClusterRequest) -> control_pb2.Cluster:  # noqa: ARG001
    nodes = api.state.nodes.values()
    replicas = [replica for replica in api.state.replicas.values() if not replica.ended]
    cluster = Cluster(
        id=api.cluster_id,
        manager_version=api.manager_version,
        revision=api.state.revision,
        nodes_ready=sum(node.state is NodeState.READY for node in nodes),
        nodes=len(nodes),
        replicas_ready=sum(replica.ready and replica.state is ReplicaState.RUNNING for replica in replicas),
        replicas=len(replicas),
        started_at=api.started_at,
        refused=dict(api.refused),
    )
    message: control_pb2.Cluster = encode(cluster)
    return message


async def list_proxies(api: Api, request: control_pb2.ListProxiesRequest) -> control_pb2.ListProxiesResponse:  # noqa: ARG001
    return control_pb2.ListProxiesResponse(proxies=[encode(proxy) for proxy in api.proxies.list()])


async def remove_proxy(api: Api, request: control_pb2.RemoveProxyRequest) -> control_pb2.RemoveProxyResponse:
    known = [proxy.info for proxy in api.proxies.list()]
    named = [info for info in known if request.proxy == info.id] or [
        info for info in known if request.proxy and (info.hostname == request.proxy or info.id.startswith(request.proxy))
    ]
    if not named:
        raise not_found("proxy", request.proxy, [info.id for info in known])
    if len(named) > 1:
        raise invalid(
            f"proxy: {shown(request.proxy)} may be any of {', '.join(info.id for info in named[:5])}; say more of its id"
        )
    if api.identities is None:
        raise impossible_now("this manager was started with --insecure, where no proxy has a certificate; stop the proxy")
    life_s = api.identities[0].part_life_s

    def propose() -> Proposal[None]:
        now = api.clock()
        revoked = Revocation(kind=PartKind.PROXY, id=named[0].id, at=now, until=now + life_s)
        return Proposal(answer=None, writes=[put(revoked, "certificates of this proxy are void: it was removed")])

    _, revision = await commit(api, propose, request.actor)
    return control_pb2.RemoveProxyResponse(revision=revision)


async def list_routes(api: Api, request: control_pb2.ListRoutesRequest) -> types_pb2.RouteTable:  # noqa: ARG001
    message: types_pb2.RouteTable = encode(api.proxies.table())
    return message


async def get_traffic(api: Api, request: control_pb2.GetTrafficRequest) -> types_pb2.TrafficReport:
    if request.service:
        services = [find_service(api.state, request.app, request.service)]
    else:
        if request.app:
            find_app(api.state, request.app)
        services = services_of(api.state, request.app)
    report = TrafficReport(
        at=api.clock(),
        latency_bounds_s=api.proxies.latency_bounds_s,
        proxies=api.proxies.reporting(),
        services=api.proxies.traffic_of(services),
    )
    message: types_pb2.TrafficReport = encode(report)
    return message
