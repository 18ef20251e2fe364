"""Every call of ControlService, once: how its request is made and how its answer is read. The two clients are made of this.

Unary calls give a Call, streaming ones a Stream; neither does any I/O.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from rookery.client.values import Applied, Changes, Explanation, LogEntry, LogFailure, LogLine, Planned, RolledBack, Scaled
from rookery.model import (
    App,
    AppSpec,
    AppStatus,
    Availability,
    Cluster,
    Event,
    Node,
    NodeDetail,
    NodeVerdict,
    PlannedReplica,
    Proxy,
    Replica,
    ReplicaDetail,
    RouteTable,
    ServiceChange,
    ServiceDetail,
    ServiceStatus,
)
from rookery.v1 import control_pb2 as pb
from rookery.v1 import types_pb2
from rookery.wire import decode, encode

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A unary call; `timeout_s` None is the client's own."""

    method: str
    request: Message
    read: Callable[[Any], T]
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Stream(Generic[T]):
    """A streaming call; one message may be several values.

    One that goes on over a lost connection has `resume`, the request that goes on after a value, and `afresh`, the request that
    begins again where the manager no longer knows what came after that value.
    """

    method: str
    request: Message
    read: Callable[[Any], tuple[T, ...]]
    resume: Callable[[T], Message] | None = None
    afresh: Message | None = None


_PLANNING_S = 60.0  # an app of thousands of replicas is planned within the call


def get_cluster() -> Call[Cluster]:
    """The cluster as a whole."""
    return Call("GetCluster", pb.GetClusterRequest(), lambda m: decode(Cluster, m))


def apply(app: AppSpec, *, prune: bool = False) -> Call[Applied]:
    """Makes an app what its spec says; with `prune`, services that it no longer names are removed. Idempotent."""
    return Call("Apply", pb.ApplyRequest(app=encode(app), prune=prune), _applied, _PLANNING_S)


def plan(app: AppSpec, *, prune: bool = False) -> Call[Planned]:
    """What `apply` would change, and where new replicas would go. Changes nothing."""
    return Call("Plan", pb.ApplyRequest(app=encode(app), prune=prune), _planned, _PLANNING_S)


def remove_app(app: str) -> Call[int]:
    """Begins to remove an app; the store's revision of that."""
    return Call("RemoveApp", pb.RemoveAppRequest(app=app), _revision)


def list_apps() -> Call[tuple[AppStatus, ...]]:
    return Call("ListApps", pb.ListAppsRequest(), lambda m: _all(AppStatus, m.apps))


def get_app(app: str) -> Call[AppStatus]:
    return Call("GetApp", pb.GetAppRequest(app=app), lambda m: decode(AppStatus, m))


def list_services(app: str = "") -> Call[tuple[ServiceStatus, ...]]:
    """The services of an app, or all."""
    return Call("ListServices", pb.ListServicesRequest(app=app), lambda m: _all(ServiceStatus, m.services))


def get_service(app: str, service: str) -> Call[ServiceDetail]:
    return Call("GetService", pb.GetServiceRequest(app=app, service=service), lambda m: decode(ServiceDetail, m))


def scale(app: str, service: str, replicas: int) -> Call[Scaled]:
    """Sets how many replicas are wanted of a service."""
    return Call("Scale", pb.ScaleRequest(app=app, service=service, replicas=replicas), _scaled)


def rollback(app: str, service: str, to: int = 0) -> Call[RolledBack]:
    """Returns a service to one of its revisions; 0 is what ran before the one in force."""
    return Call("Rollback", pb.RollbackRequest(app=app, service=service, to=to), _rolled_back)


def list_replicas(app: str = "", service: str = "", *, node_id: str = "", ended: bool = False) -> Call[tuple[ReplicaDetail, ...]]:
    """Replicas of an app, a service or a node, or all; with `ended`, also stopped, failed and lost ones."""
    request = pb.ListReplicasRequest(app=app, service=service, node_id=node_id, ended=ended)
    return Call("ListReplicas", request, lambda m: _all(ReplicaDetail, m.replicas))


def get_replica(replica: str) -> Call[ReplicaDetail]:
    """A replica by its id, the unique beginning of that, or its name (`shop/web.3`)."""
    return Call("GetReplica", pb.GetReplicaRequest(replica=replica), lambda m: decode(ReplicaDetail, m))


def list_nodes() -> Call[tuple[NodeDetail, ...]]:
    return Call("ListNodes", pb.ListNodesRequest(), lambda m: _all(NodeDetail, m.nodes))


def get_node(node: str) -> Call[NodeDetail]:
    """A node by its id, the unique beginning of that, or its hostname."""
    return Call("GetNode", pb.GetNodeRequest(node=node), lambda m: decode(NodeDetail, m))


def update_node(
    node: str,
    *,
    availability: Availability | None = None,
    set_labels: Mapping[str, str] | None = None,
    remove_labels: Iterable[str] = (),
) -> Call[NodeDetail]:
    """Sets what the operator wants of a node; what is left out stays as it is."""
    wanted = types_pb2.Availability.Value(f"AVAILABILITY_{availability.name if availability else 'UNSPECIFIED'}")
    request = pb.UpdateNodeRequest(node=node, availability=wanted, set_labels=set_labels or {}, remove_labels=list(remove_labels))
    return Call("UpdateNode", request, lambda m: decode(NodeDetail, m))


def remove_node(node: str, *, force: bool = False) -> Call[int]:
    """Forgets a node; with `force`, although it is not down or empty."""
    return Call("RemoveNode", pb.RemoveNodeRequest(node=node, force=force), _revision)


def list_proxies() -> Call[tuple[Proxy, ...]]:
    return Call("ListProxies", pb.ListProxiesRequest(), lambda m: _all(Proxy, m.proxies))


def list_routes() -> Call[RouteTable]:
    return Call("ListRoutes", pb.ListRoutesRequest(), lambda m: decode(RouteTable, m))


def explain(app: str, service: str, replica: str = "") -> Call[Explanation]:
    """Why a replica is where it is; without one, where one more replica of the service would go."""
    return Call("Explain", pb.ExplainRequest(app=app, service=service, replica=replica), _explanation)


def list_events(subject: str = "", *, limit: int = 0, after_revision: int = 0) -> Call[tuple[Event, ...]]:
    """The newest events of a subject, or of all, oldest first; a limit of 0 is the manager's (100)."""
    request = pb.ListEventsRequest(subject=subject, limit=limit, after_revision=after_revision)
    return Call("ListEvents", request, lambda m: _all(Event, m.events))


def watch(app: str = "", *, after_revision: int = 0, snapshot: bool = False, reconnect: bool = False) -> Stream[Changes]:
    """Follows an app, or all, from now or from a revision on; with `snapshot` the first value is all that there is now.

    With `reconnect` it goes on where it was when the connection comes back; after a gap that the manager can't fill, the next
    value is a snapshot.
    """
    request = pb.WatchRequest(app=app, after_revision=after_revision, snapshot=snapshot)
    if not reconnect:
        return Stream("Watch", request, _watched)
    return Stream("Watch", request, _watched, _go_on(app), pb.WatchRequest(app=app, snapshot=True))


def logs(
    app: str, service: str = "", replica: str = "", *, follow: bool = False, tail: int = -1, since_at: float = 0.0
) -> Stream[LogEntry]:
    """What replicas wrote; `tail` is the last lines of each (-1: all), `since_at` 0 is from the start."""
    request = pb.LogsRequest(app=app, service=service, replica=replica, follow=follow, tail=tail, since_at=since_at)
    return Stream("Logs", request, _log_entries)


def _all(cls: type[T], messages: Iterable[Message]) -> tuple[T, ...]:
    return tuple([decode(cls, message) for message in messages])


def _revision(message: Any) -> int:
    return int(message.revision)


def _applied(message: pb.ApplyResponse) -> Applied:
    return Applied(app=message.app, changes=_all(ServiceChange, message.changes), revision=message.revision)


def _planned(message: pb.PlanResponse) -> Planned:
    placements = _all(PlannedReplica, message.placements)
    return Planned(app=message.app, changes=_all(ServiceChange, message.changes), placements=placements)


def _scaled(message: pb.ScaleResponse) -> Scaled:
    return Scaled(before=message.before, after=message.after, revision=message.revision)


def _rolled_back(message: pb.RollbackResponse) -> RolledBack:
    return RolledBack(before=message.before, after=message.after, revision=message.revision)


def _explanation(message: pb.ExplainResponse) -> Explanation:
    return Explanation(
        subject=message.subject,
        summary=message.summary,
        nodes=_all(NodeVerdict, message.nodes),
        events=_all(Event, message.events),
    )


def _go_on(app: str) -> Callable[[Changes], Message]:
    return lambda seen: pb.WatchRequest(app=app, after_revision=seen.revision)


def _watched(message: pb.WatchResponse) -> tuple[Changes, ...]:
    return (_changes(message),)


def _changes(message: pb.WatchResponse) -> Changes:
    return Changes(
        revision=message.revision,
        events=_all(Event, message.events),
        services=_all(ServiceStatus, message.services),
        replicas=_all(Replica, message.replicas),
        nodes=_all(Node, message.nodes),
        apps=_all(App, message.apps),
        deleted=tuple(message.deleted),
    )


def _log_entries(message: pb.LogsResponse) -> tuple[LogEntry, ...]:
    whose = {"replica_id": message.replica_id, "replica": message.replica, "node_name": message.node_name}
    lines = [
        LogLine(at=line.at, stderr=line.stderr, text=line.line.decode("utf-8", "replace"), **whose) for line in message.lines
    ]
    return (*lines, LogFailure(why=message.error, **whose)) if message.error else tuple(lines)
