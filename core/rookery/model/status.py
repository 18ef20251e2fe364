"""What the manager tells operators: the cluster as observed, changes as planned, placements as explained."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rookery.model.app import App, Revision, Service
from rookery.model.ids import NodeId
from rookery.model.node import Node, NodeStats, ReplicaStats
from rookery.model.replica import Replica
from rookery.model.resources import Resources
from rookery.model.rollout import Rollout
from rookery.model.service import HttpRoute, Port, ServiceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """`refused` counts, by kind and since the manager started, what agents and proxies said that no honest one says."""

    id: str
    manager_version: str = ""
    revision: int = 0
    nodes_ready: int = 0
    nodes: int = 0
    replicas_ready: int = 0
    replicas: int = 0
    started_at: float = 0.0
    refused: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """`updated` counts ready replicas of the wanted revision; `why` says what it waits for when it is not converged.

    `unserved` is what connected proxies can't serve of its ports and routes, and why.
    """

    service: Service
    image: str = ""
    mode: str = "replicated"
    wanted: int = 0
    running: int = 0
    ready: int = 0
    updated: int = 0
    converged: bool = False
    why: str = ""
    ports: tuple[Port, ...] = ()
    routes: tuple[HttpRoute, ...] = ()
    unserved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AppStatus:
    app: App
    services: tuple[ServiceStatus, ...] = ()
    converged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDetail:
    """`revisions` are newest first, and so are the `rollouts` before the latest."""

    status: ServiceStatus
    spec: ServiceSpec
    revisions: tuple[Revision, ...] = ()
    replicas: tuple[Replica, ...] = ()
    rollouts: tuple[Rollout, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaDetail:
    replica: Replica
    image: str = ""
    node_name: str = ""
    stats: ReplicaStats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDetail:
    """`replicas` counts those that are not ended, `reserved` adds up their reservations."""

    node: Node
    stats: NodeStats | None = None
    replicas: int = 0
    reserved: Resources = field(default_factory=Resources)
    last_seen_at: float = 0.0


class ChangeKind(StrEnum):
    CREATE = "create"
    UPDATE = "update"  # replicas are replaced
    SETTINGS = "settings"  # no replica is replaced
    SCALE = "scale"
    REMOVE = "remove"
    KEEP = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """`path` is the way to the field: `container.image`."""

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChange:
    """`revision` and `replicas` are those in force after the change. `overtakes` is the revision whose rollout was not done yet
    and is now left for this one; 0 is none."""

    service: str
    kind: ChangeKind
    revision: int = 0
    replicas: int = 0
    fields: tuple[FieldChange, ...] = ()
    overtakes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePlan:
    """What a change means for a service's replicas: how many are `created` where there was none, `replaced`, `kept`, `removed`.

    Services go in the order of their `wave`, from 1: those of one wave at the same time, after the services that they wait for
    (`after`). `pull_on` names the nodes that get new replicas and have none of the image now.
    """

    service: str
    wave: int = 1
    after: tuple[str, ...] = ()
    created: int = 0
    replaced: int = 0
    kept: int = 0
    removed: int = 0
    how: str = ""  # 2 at a time, start-first; canary 5, 25, 50, 100 % …
    image: str = ""
    pull_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceReturn:
    """A service's way back, from revision `before` to `after`."""

    service: str
    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedReplica:
    """Where a new replica would go; an empty `node_id` is nowhere, and `why` says why."""

    service: str
    slot: int
    node_id: NodeId = NodeId("")
    node_name: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One of the figures that decide between nodes; lower is better."""

    name: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeVerdict:
    """What the scheduler thinks of a node for a replica. `scores` are in the order in which they decide."""

    node_id: NodeId
    node_name: str
    fits: bool
    why: str = ""
    scores: tuple[Score, ...] = ()
    chosen: bool = False
