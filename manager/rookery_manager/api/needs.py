"""What the control API needs of the rest of the manager, as Protocols, and the one value in which its modules get it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from rookery.model import NodeId, NodeStats, Proxy, ReplicaId, ReplicaStats, RouteTable
from rookery.v1.dispatch_pb2 import LogRequest

from rookery_manager.logs import LogHub
from rookery_manager.state import State
from rookery_manager.store import Store


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


class Proxies(Protocol):
    def list(self) -> tuple[Proxy, ...]: ...

    def table(self) -> RouteTable: ...


@dataclass(frozen=True, kw_only=True)
class Api:
    """`clock` gives seconds since the epoch. `applying` lets one Apply at a time look for free ports and take them."""

    state: State
    store: Store
    clock: Callable[[], float]
    nodes: Nodes
    proxies: Proxies
    logs: LogHub
    cluster_id: str
    manager_version: str
    started_at: float
    applying: asyncio.Lock = field(default_factory=asyncio.Lock)
