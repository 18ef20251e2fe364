"""ListNodes, GetNode, UpdateNode, RemoveNode."""

import dataclasses
import re
from collections.abc import Iterable

from rookery.model import Availability, Node, NodeDetail, NodeState, PartKind, Replica, ReplicaState, Resources, Revocation
from rookery.v1 import control_pb2, types_pb2
from rookery.wire import encode

from rookery_manager.api.committing import Proposal, commit
from rookery_manager.api.errors import impossible_now, invalid, shown
from rookery_manager.api.find import find_node
from rookery_manager.api.needs import Api
from rookery_manager.records import node_key, put
from rookery_manager.store import Delete, Write

_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_./-]{0,126}[A-Za-z0-9])?")
MAX_LABEL_VALUE = 256
MAX_LABELS = 200

_AVAILABILITY = {
    types_pb2.AVAILABILITY_ACTIVE: Availability.ACTIVE,
    types_pb2.AVAILABILITY_DRAINED: Availability.DRAINED,
}


async def list_nodes(api: Api, request: control_pb2.ListNodesRequest) -> control_pb2.ListNodesResponse:  # noqa: ARG001
    ordered = sorted(api.state.nodes.values(), key=lambda node: (node.name, node.id))
    return control_pb2.ListNodesResponse(nodes=[encode(detail_of(api, node)) for node in ordered])


async def get_node(api: Api, request: control_pb2.GetNodeRequest) -> control_pb2.NodeDetail:
    return _answer(api, find_node(api.state, request.node))


async def update_node(api: Api, request: control_pb2.UpdateNodeRequest) -> control_pb2.NodeDetail:
    faults = [*_label_faults(request)]
    if request.availability and request.availability not in _AVAILABILITY:
        faults.append(f"availability: there is none with the number {request.availability}")
    if faults:
        raise invalid("\n".join(faults))

    def propose() -> Proposal[Node]:
        node = find_node(api.state, request.node)
        kept = {key: value for key, value in node.labels.items() if key not in request.remove_labels}
        after = dataclasses.replace(
            node,
            availability=_AVAILABILITY.get(request.availability, node.availability),
            labels={**kept, **request.set_labels},
        )
        if len(after.labels) > MAX_LABELS:
            raise invalid(f"set_labels: a node has at most {MAX_LABELS} labels")
        if after == node:
            return Proposal(answer=node)
        why = _why(node, after)
        return Proposal(answer=after, writes=[put(after, why)], conditions=[api.state.condition(node_key(node.id))])

    after, _ = await commit(api, propose, request.actor)
    return _answer(api, api.state.nodes.get(after.id, after))


async def remove_node(api: Api, request: control_pb2.RemoveNodeRequest) -> control_pb2.RemoveNodeResponse:
    def propose() -> Proposal[None]:
        node = find_node(api.state, request.node)
        replicas = _alive(api.state.replicas_on(node.id).values())
        if node.state is NodeState.READY and replicas and not request.force:
            held = f"node {node.name} is up and has {len(replicas)} replicas"
            raise impossible_now(f"{held}; drain it first, or have it removed by force")
        now = api.clock()
        why = "removed by force" if replicas and node.state is NodeState.READY else "removed"
        lost = [_lost(replica, f"node {node.name} was removed", now) for replica in replicas]
        writes: list[Write] = [*(put(replica, replica.why) for replica in lost), Delete(key=node_key(node.id), why=why)]
        if api.identities is not None:
            until = now + api.identities[0].part_life_s
            revoked = Revocation(kind=PartKind.AGENT, id=node.id, at=now, until=until)
            writes.append(put(revoked, f"certificates of node {node.name} are void: it was removed"))
        return Proposal(
            answer=None,
            writes=writes,
            conditions=api.state.conditions([node, *replicas]),
        )

    _, revision = await commit(api, propose, request.actor)
    return control_pb2.RemoveNodeResponse(revision=revision)


def detail_of(api: Api, node: Node) -> NodeDetail:
    replicas = _alive(api.state.replicas_on(node.id).values())
    reserved = Resources()
    for replica in replicas:
        revision = api.state.revision_of(replica.key, replica.revision)
        if revision is not None:
            reserved += revision.spec.reservations
    return NodeDetail(
        node=node,
        stats=api.nodes.stats(node.id) if node.state is NodeState.READY else None,
        replicas=len(replicas),
        reserved=reserved,
        last_seen_at=api.nodes.last_seen(node.id),
    )


def _answer(api: Api, node: Node) -> control_pb2.NodeDetail:
    message: control_pb2.NodeDetail = encode(detail_of(api, node))
    return message


def _lost(replica: Replica, why: str, now: float) -> Replica:
    return dataclasses.replace(replica, state=ReplicaState.LOST, ready=False, ready_at=0.0, endpoints=(), changed_at=now, why=why)


def _alive(replicas: Iterable[Replica]) -> list[Replica]:
    return [replica for replica in replicas if not replica.ended]


def _label_faults(request: control_pb2.UpdateNodeRequest) -> Iterable[str]:
    for key in sorted(request.set_labels):
        value = request.set_labels[key]
        if not _LABEL.fullmatch(key):
            yield f"set_labels: {shown(key)} is no name of a label: use letters, digits, and . _ - / between them"
        if len(value) > MAX_LABEL_VALUE or (value and not value.isprintable()):
            yield f"set_labels.{shown(key)}: must be at most {MAX_LABEL_VALUE} printable characters"
        if key in request.remove_labels:
            yield f"remove_labels: {shown(key)} is to be set and removed at once"


def _why(before: Node, after: Node) -> str:
    said = []
    if before.availability is not after.availability:
        said.append("to be drained" if after.availability is Availability.DRAINED else "active again")
    for key in sorted({*before.labels, *after.labels}):
        if key not in after.labels:
            said.append(f"loses label {key}")
        elif before.labels.get(key) != after.labels[key]:
            said.append(f"gets label {key}={after.labels[key]}")
    return ", ".join(said)
