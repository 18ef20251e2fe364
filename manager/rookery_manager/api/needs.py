"""What the control API needs of the rest of the manager, as Protocols, and the one value in which its modules get it."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from rookery.model import (
    NodeId,
    NodeStats,
    Proxy,
    ReplicaId,
    ReplicaStats,
    RouteTable,
    ScaleDecision,
    Service,
    ServiceKey,
    ServiceTraffic,
)
from rookery.v1.dispatch_pb2 import LogRequest

from rookery_manager.acme.keep import Certificates
from rookery_manager.api.attempts import Attempts
from rookery_manager.backups import Backups
from rookery_manager.demand import Seen
from rookery_manager.identity.authority import Authority
from rookery_manager.identity.rotation import Rotation
from rookery_manager.identity.upkeep import Upkeep
from rookery_manager.logs import LogHub
from rookery_manager.policy import PolicyFile
from rookery_manager.sealing.keyring import Keyring
from rookery_manager.state import State
from rookery_manager.store import Store
from rookery_manager.views import Plane


class Nodes(Protocol):
    """The agents as they are now: what lives in memory only."""

    def last_seen(self, node_id: NodeId) -> float:
        """When its last heartbeat came; 0: none since the manager started."""

    def stats(self, node_id: NodeId) -> NodeStats | None: ...

    def replica_stats(self, replica_id: ReplicaId) -> ReplicaStats | None: ...

    def send_log_request(self, node_id: NodeId, request: LogRequest) -> bool:
        """False where the node is not connected."""

    def cancel_log_request(self, node_id: NodeId, request_id: str) -> None:
        """Does nothing where the node is not connected."""


class Proxies(Plane, Protocol):
    def list(self) -> tuple[Proxy, ...]: ...

    def table(self) -> RouteTable: ...

    latency_bounds_s: tuple[float, ...]

    def table_version(self) -> int: ...

    def reporting(self) -> int: ...

    def traffic_of(self, services: Iterable[Service]) -> tuple[ServiceTraffic, ...]: ...


class Scaling(Protocol):
    """What is known of autoscaled services."""

    def demand_of(self, key: ServiceKey) -> Seen: ...

    def latest(self, key: ServiceKey) -> ScaleDecision | None:
        """What was decided when the figures were last looked at."""


@dataclass(frozen=True, kw_only=True)
class Api:
    """`clock` gives seconds since the epoch. `applying` lets one Apply at a time look for free ports and take them. `refused`
    counts what peers said in vain, by kind. `attempts` keeps what people were refused; `identities` and `rotation`
    are None where there are none (--insecure); `certificates` is None where nobody keeps any (tests of the API alone)."""

    state: State
    store: Store
    clock: Callable[[], float]
    nodes: Nodes
    proxies: Proxies
    scaling: Scaling
    logs: LogHub
    backups: Backups
    cluster_id: str
    manager_version: str
    started_at: float
    attempts: Attempts
    keyring: Keyring
    refused: Mapping[str, int] = field(default_factory=dict)
    identities: tuple[Authority, Upkeep] | None = None
    rotation: Rotation | None = None
    certificates: Certificates | None = None
    applying: asyncio.Lock = field(default_factory=asyncio.Lock)
    policy: PolicyFile = field(default_factory=PolicyFile)
