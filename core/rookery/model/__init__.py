"""The cluster's values: frozen dataclasses with the field names of the proto messages they travel as.

Invariant: a value never changes. Durations end in `_s` (seconds), instants in `_at` (seconds since the epoch, UTC), sizes in
`_bytes`. A choice between kinds of a thing is a union of small classes.
"""

from rookery.model.app import App, AppRevision, AppSpec, FileContent, Revision, Service
from rookery.model.assignment import Assignment, ReplicaStatus
from rookery.model.authority import AuditReport, AuthorityStatus, Mover
from rookery.model.autoscale import (
    Autoscale,
    AutoscaleStatus,
    ScaleByHand,
    ScaleDecision,
    ScaleFigure,
    ScaleMetric,
    ScalePace,
    ScaleSchedule,
    ScaleTarget,
)
from rookery.model.balancing import BalanceMethod, Balancing
from rookery.model.certificate import (
    AcmeAccount,
    AcmeChallenge,
    AcmeOrder,
    CertificateStatus,
    ManagedCertificate,
    ServedCertificate,
)
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
from rookery.model.http_rules import HeaderEdit, HeaderField, HttpRules, RateLimit, Redirect
from rookery.model.identity import JoinToken, PartKind, Person, Revocation, Role
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
from rookery.model.policy import PERMISSIONS, Grant, Policy, PolicyRule
from rookery.model.pool import POOL_LABEL, MemberState, Pool, PoolMember, PoolSpec, ProviderKind
from rookery.model.probe import CommandProbe, HttpProbe, ImageProbe, NoProbe, Probe, ProbeTiming, TcpProbe
from rookery.model.reach import EVERY_APP, Opening, OpenPort, Reach
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
from rookery.model.rollout import (
    OPEN,
    UNDER_WAY,
    BlueGreen,
    Canary,
    PastRollout,
    RevisionFigures,
    Rolling,
    Rollout,
    RolloutState,
    RolloutStatus,
    Strategy,
)
from rookery.model.routing import (
    EndpointStats,
    Hold,
    ListenerError,
    ListenProtocol,
    Proxy,
    ProxyInfo,
    Route,
    RouteStats,
    RouteTable,
    Split,
)
from rookery.model.secret import FileUse, FileVersion, LockKind, LockStatus, Seal, SealedFile, StoredFile
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
    is_balanced,
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
    ServicePlan,
    ServiceReturn,
    ServiceStatus,
)
from rookery.model.traffic import (
    ReplicaTraffic,
    RevisionTraffic,
    ServiceTraffic,
    TrafficFigures,
    TrafficReport,
)

__all__ = [
    "AcmeAccount", "AcmeChallenge", "AcmeOrder", "App", "AppName", "AppRevision", "AppSpec", "AppStatus", "Argv",
    "Assignment", "AuditReport", "AuthorityStatus", "Autoscale", "AutoscaleStatus", "Availability", "BalanceMethod",
    "Balancing", "BindMount", "BlueGreen", "Canary", "CertificateStatus", "ChangeKind", "Cluster", "CommandProbe",
    "ContainerSpec", "Dependency", "DependencyCondition", "Desired", "Device", "EVERY_APP", "Endpoint", "EndpointStats",
    "Event", "FailureAction", "FieldChange", "FileContent", "FileKind", "FileMount", "FileUse", "FileVersion", "Global",
    "GlobalJob", "Grant", "HeaderEdit", "HeaderField", "Hold", "HttpProbe", "HttpRoute", "HttpRules", "ImageProbe",
    "JoinToken", "ListenProtocol", "ListenerError", "LockKind", "LockStatus", "LogConfig", "ManagedCertificate",
    "MemberState", "Mode", "Mount", "Mover", "NetworkAttachment", "NoProbe", "Node", "NodeCondition", "NodeDetail", "NodeId",
    "NodeInfo", "NodeState", "NodeStats", "NodeVerdict", "OPEN", "OnDisconnect", "OpenPort", "Opening", "PERMISSIONS",
    "POOL_LABEL", "PartKind", "PastRollout", "Person", "Placement", "PlannedReplica", "Policy", "PolicyRule", "Pool",
    "PoolMember", "PoolSpec", "Port", "PortMode", "PortProtocol", "Probe", "ProbeTiming", "ProviderKind", "Proxy",
    "ProxyInfo", "PullPolicy", "RateLimit", "Reach", "Redirect", "Replica", "ReplicaDetail", "ReplicaId", "ReplicaState",
    "ReplicaStats", "ReplicaStatus", "ReplicaTraffic", "Replicated", "ReplicatedJob", "Resources", "RestartCondition",
    "RestartPolicy", "Revision", "RevisionFigures", "RevisionTraffic", "Revocation", "Role", "Rolling", "Rollout",
    "RolloutState", "RolloutStatus", "Route", "RouteId", "RouteStats", "RouteTable", "RuntimeKind", "ScaleByHand",
    "ScaleDecision", "ScaleFigure", "ScaleMetric", "ScalePace", "ScaleSchedule", "ScaleTarget", "Score", "Seal", "SealedFile",
    "ServedCertificate", "Service", "ServiceChange", "ServiceDetail", "ServiceKey", "ServiceName", "ServicePlan",
    "ServiceReturn", "ServiceSpec", "ServiceStatus", "ServiceTraffic", "Split", "StoredFile", "Strategy", "TRANSITIONS",
    "TcpProbe", "TmpfsMount", "TrafficFigures", "TrafficReport", "Transition", "UNDER_WAY", "Ulimit", "UpdateConfig",
    "UpdateOrder", "VolumeMount", "can_move", "is_balanced", "is_ended", "target_ports",
]  # fmt: skip
