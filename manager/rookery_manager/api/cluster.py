"""The cluster as a whole: GetCluster, ListProxies, ListRoutes."""

from rookery.model import Cluster, NodeState, ReplicaState
from rookery.v1 import control_pb2, types_pb2
from rookery.wire import encode

from rookery_manager.api.needs import Api


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
    )
    message: control_pb2.Cluster = encode(cluster)
    return message


async def list_proxies(api: Api, request: control_pb2.ListProxiesRequest) -> control_pb2.ListProxiesResponse:  # noqa: ARG001
    return control_pb2.ListProxiesResponse(proxies=[encode(proxy) for proxy in api.proxies.list()])


async def list_routes(api: Api, request: control_pb2.ListRoutesRequest) -> types_pb2.RouteTable:  # noqa: ARG001
    message: types_pb2.RouteTable = encode(api.proxies.table())
    return message
