"""The cluster's values: frozen dataclasses with the field names of the proto messages they travel as.

Invariant: a value never changes. Durations end in `_s` (seconds), instants in `_at` (seconds since the epoch, UTC), sizes in
`_bytes`. A choice between kinds of a thing is a union of small classes.
"""

from rookery.model.app import App, AppSpec, FileContent, Revision, Rollout, RolloutState, Service
from rookery.model.assignment import Assignment, ReplicaStatus
from rookery.model.container import (
    Argv,
    BindMount,
    ContainerSpec,
    Device,
    FileKind,
    FileMount,
    LogConfig,
    Mount,
    NetworkAttachment,
    PullPolicy,
    TmpfsMount,
    Ulimit,
    VolumeMount,
)
from rookery.model.event import Event
from rookery.model.ids import AppName, NodeId, ReplicaId, RouteId, ServiceKey, ServiceName
from rookery.model.node import (
    Availability,
    Node,
    NodeCondition,
    NodeInfo,
    NodeState,
    NodeStats,
    ReplicaStats,
    RuntimeKind,
)
from rookery.model.probe import CommandProbe, HttpProbe, ImageProbe, NoProbe, Probe, ProbeTiming, TcpProbe
from rookery.model.replica import (
    TRANSITIONS,
    Desired,
    Endpoint,
    PortProtocol,
    Replica,
    ReplicaState,
    Transition,
    can_move,
    is_ended,
)
from rookery.model.resources import Resources
from rookery.model.routing import (
    EndpointStats,
    ListenerError,
    ListenProtocol,
    Proxy,
    ProxyInfo,
    Route,
    RouteStats,
    RouteTable,
)
from rookery.model.service import (
    Dependency,
    DependencyCondition,
    FailureAction,
    Global,
    GlobalJob,
    HttpRoute,
    Mode,
    OnDisconnect,
    Placement,
    Port,
    PortMode,
    Replicated,
    ReplicatedJob,
    RestartCondition,
    RestartPolicy,
    ServiceSpec,
    UpdateConfig,
    UpdateOrder,
    target_ports,
)
from rookery.model.status import (
    AppStatus,
    ChangeKind,
    Cluster,
    FieldChange,
    NodeDetail,
    NodeVerdict,
    PlannedReplica,
    ReplicaDetail,
    Score,
    ServiceChange,
    ServiceDetail,
    ServiceStatus,
)

__all__ = [
    "App", "AppName", "AppSpec", "AppStatus", "Argv", "Assignment", "Availability", "BindMount", "ChangeKind", "Cluster",
    "CommandProbe", "ContainerSpec", "Dependency", "DependencyCondition", "Desired", "Device", "Endpoint", "EndpointStats",
    "Event", "FailureAction", "FieldChange", "FileContent", "FileKind", "FileMount", "Global", "GlobalJob", "HttpProbe",
    "HttpRoute", "ImageProbe", "ListenProtocol", "ListenerError", "LogConfig", "Mode", "Mount", "NetworkAttachment", "NoProbe",
    "Node", "NodeCondition", "NodeDetail", "NodeId", "NodeInfo", "NodeState", "NodeStats", "NodeVerdict", "OnDisconnect",
    "Placement", "PlannedReplica", "Port", "PortMode", "PortProtocol", "Probe", "ProbeTiming", "Proxy", "ProxyInfo", "PullPolicy",
    "Replica", "ReplicaDetail", "ReplicaId", "ReplicaState", "ReplicaStats", "ReplicaStatus", "Replicated", "ReplicatedJob",
    "Resources", "RestartCondition", "RestartPolicy", "Revision", "Rollout", "RolloutState",
    "Route", "RouteId", "RouteStats", "RouteTable", "RuntimeKind",
    "Score", "Service", "ServiceChange", "ServiceDetail", "ServiceKey", "ServiceName", "ServiceSpec", "ServiceStatus",
    "TRANSITIONS", "TcpProbe", "TmpfsMount", "Transition", "Ulimit", "UpdateConfig", "UpdateOrder", "VolumeMount", "can_move",
    "is_ended", "target_ports",
]  # fmt: skip
