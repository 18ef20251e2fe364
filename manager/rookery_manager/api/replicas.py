"""ListReplicas and GetReplica."""

import asyncio
from collections.abc import Iterable

from rookery.model import NodeId, Replica, ReplicaDetail
from rookery.v1 import control_pb2
from rookery.wire import encode

from rookery_manager.api.errors import invalid
from rookery_manager.api.find import find_app, find_node, find_replica, find_service
from rookery_manager.api.needs import Api

BREATHE_EVERY = 500  # replicas after which others get a turn of the event loop


async def list_replicas(api: Api, request: control_pb2.ListReplicasRequest) -> control_pb2.ListReplicasResponse:
    found = _chosen(api, request)
    if not request.ended:
        found = [replica for replica in found if not replica.ended]
    ordered = sorted(found, key=lambda r: (r.app, r.service, r.slot, r.node_name, r.created_at, r.id))
    answer = control_pb2.ListReplicasResponse()
    for number, replica in enumerate(ordered):
        answer.replicas.append(encode(detail_of(api, replica)))
        if number % BREATHE_EVERY == BREATHE_EVERY - 1:
            await asyncio.sleep(0)
    return answer


async def get_replica(api: Api, request: control_pb2.GetReplicaRequest) -> control_pb2.ReplicaDetail:
    message: control_pb2.ReplicaDetail = encode(detail_of(api, find_replica(api.state, request.replica)))
    return message


def detail_of(api: Api, replica: Replica) -> ReplicaDetail:
    revision = api.state.revision_of(replica.key, replica.revision)
    node = api.state.nodes.get(replica.node_id)
    return ReplicaDetail(
        replica=replica,
        image=revision.spec.container.image if revision else "",
        node_name=node.name if node else replica.node_name,
        stats=None if replica.ended else api.nodes.replica_stats(replica.id),
    )


def _chosen(api: Api, request: control_pb2.ListReplicasRequest) -> Iterable[Replica]:
    if request.service and not request.app:
        raise invalid("app: missing; a service is named within its app")
    node_id = find_node(api.state, request.node_id).id if request.node_id else NodeId("")
    found: Iterable[Replica]
    if request.service:
        found = api.state.replicas_of(find_service(api.state, request.app, request.service).key).values()
    elif node_id:
        found = api.state.replicas_on(node_id).values()
    else:
        found = api.state.replicas.values()
    if request.app:
        find_app(api.state, request.app)
        found = [replica for replica in found if replica.app == request.app]
    return [replica for replica in found if not node_id or replica.node_id == node_id]
