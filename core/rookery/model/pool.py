"""A pool of nodes that grows and shrinks by itself: what is wanted of it, and the nodes that it made.

`Pool.spec` is the operator's; the rest is progress that has to survive a crash of the manager.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rookery.model.node import NodeInfo, RuntimeKind
from rookery.model.resources import Resources

POOL_LABEL = "rookery.pool"
"""A node with this label says that it is of the pool of that name; its hostname is the member's."""


class ProviderKind(StrEnum):
    PROCESS = "process"  # agents on the manager's machine, for trying out
    DOCKER = "docker"  # agents in containers on one engine
    COMMAND = "command"  # the operator's own program


class MemberState(StrEnum):
    CREATING = "creating"  # wanted; the provider may or may not have made it
    JOINING = "joining"  # the provider made it; its agent was not heard yet
    JOINED = "joined"
    DRAINING = "draining"  # its replicas move away
    DELETING = "deleting"  # empty, or given up: the provider is to remove it


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpec:
    """`size` is what a node has, and counts until one has joined and told. `command` is the program of the provider `command`,
    `settings` are given to the provider as they are. `manager` is the address that agents are told to connect to; empty: the
    manager's own. `spare` nodes may be lost with room for all their replicas left. A node goes when it was superfluous for
    `shrink_after_s`; one that has not joined `join_timeout_s` after it was made is given up."""

    provider: ProviderKind
    min: int = 0
    max: int = 10
    spare: int = 0
    size: Resources = field(default_factory=Resources)
    runtime: RuntimeKind = RuntimeKind.DOCKER
    labels: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    manager: str = ""
    shrink_after_s: float = 300.0
    join_timeout_s: float = 300.0
    call_timeout_s: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolMember:
    """`name` is the node's hostname, and what the provider knows it by before it gave its own `provider_id`.

    `attempts` to remove it failed; the next one is not before `retry_at`.
    """

    name: str
    state: MemberState = MemberState.CREATING
    provider_id: str = ""
    why: str = ""
    created_at: float = 0.0
    changed_at: float = 0.0
    attempts: int = 0
    retry_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """`made` nodes were begun so far, and are numbered by it. `failures` in a row to get a node hold the next attempt off until
    `retry_at`; `trouble` says what is wrong now.

    `seen` is what the node said of itself that joined last. `superfluous_since` is when a node could first have been spared;
    `regrets` counts drains that had to be taken back since one came to its end.
    """

    name: str
    spec: PoolSpec
    members: tuple[PoolMember, ...] = ()
    why: str = ""
    trouble: str = ""
    made: int = 0
    failures: int = 0
    retry_at: float = 0.0
    seen: NodeInfo | None = None
    superfluous_since: float = 0.0
    regrets: int = 0
    removing: bool = False
    created_at: float = 0.0
    changed_at: float = 0.0
