"""What an agent says, read and checked before it counts: once recorded, every planner would meet it.

Invariant: what these functions return is finite, of a bounded size, and of what an agent may tell.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from rookery.model import NodeCondition, NodeId, NodeInfo, NodeStats, ReplicaId, ReplicaState, ReplicaStats, ReplicaStatus
from rookery.refusals import Refused
from rookery.v1 import dispatch_pb2, types_pb2
from rookery.wire import WireError, decode

LONGEST_NAME = 253  # characters of a node's id and hostname, as of a DNS name
MOST_REPLICAS = 20_000  # in one message
MOST_ENDPOINTS = 1_000
MOST_CONDITIONS = 32
LONGEST_TEXT = 10_000

_MANAGERS = frozenset({ReplicaState.PENDING, ReplicaState.DRAINING, ReplicaState.LOST})  # states that no agent decides


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    node_id: NodeId
    info: NodeInfo
    generation: int
    replicas: tuple[ReplicaStatus, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    stats: NodeStats
    replicas: tuple[ReplicaStats, ...]
    conditions: tuple[NodeCondition, ...]


def read_hello(message: dispatch_pb2.AgentMessage | None) -> Hello:
    """What an agent says first. Raises WireError or Refused where it makes no sense."""
    if message is None or message.WhichOneof("kind") != "hello" or not message.hello.node_id:
        raise WireError("an agent begins with its hello, and its hello with its node id")
    info = decode(NodeInfo, message.hello.info)
    for what, name in (("node_id", message.hello.node_id), ("info.hostname", info.hostname)):
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or "/" in name or " " in name:
            raise WireError(f"hello.{what}: must be 1 to {LONGEST_NAME} printable characters without a space or a slash")
    amounts = (info.capacity.cpus, info.capacity.memory_bytes, info.capacity.pids)
    if not all(math.isfinite(amount) and amount >= 0 for amount in amounts):
        raise WireError("hello.info.capacity: must be finite and not less than 0")
    return Hello(
        node_id=NodeId(message.hello.node_id),
        info=info,
        generation=message.hello.generation,
        replicas=read_statuses(message.hello.replicas),
    )


def read_heartbeat(message: dispatch_pb2.Heartbeat) -> Heartbeat:
    """Raises WireError, or Refused where its figures are none."""
    _bounded("a heartbeat", message.replicas, message.conditions)
    stats = decode(NodeStats, message.stats)
    replicas = tuple([decode(ReplicaStats, replica) for replica in message.replicas])
    conditions = tuple([decode(NodeCondition, condition) for condition in message.conditions])
    if not all(map(math.isfinite, (stats.cpu_percent, stats.load_1m, *(r.cpu_percent for r in replicas)))):
        raise Refused("heartbeat", "its figures are not finite")
    if any(not c.name or len(c.name) > LONGEST_NAME or len(c.why) > LONGEST_TEXT for c in conditions):
        raise Refused("heartbeat", "a condition has no name, or texts as long as books")
    return Heartbeat(stats=stats, replicas=replicas, conditions=conditions)


def read_statuses(messages: Sequence[types_pb2.ReplicaStatus]) -> tuple[ReplicaStatus, ...]:
    """Raises WireError, or Refused for more than a node can have."""
    _bounded("a batch", messages)
    return tuple([decode(ReplicaStatus, status) for status in messages])


def _bounded(what: str, replicas: Collection[object], conditions: Collection[object] = ()) -> None:
    if len(replicas) > MOST_REPLICAS or len(conditions) > MOST_CONDITIONS:
        raise Refused("too-large", f"{what} tells of {len(replicas)} replicas and {len(conditions)} conditions")


def check_status(status: ReplicaStatus) -> None:
    """Raises Refused for a status that no agent gives."""
    if status.state in _MANAGERS:
        raise Refused("status-impossible", f"replica {status.replica_id} is {status.state}, which only the manager decides")
    long = len(status.why) > LONGEST_TEXT or len(status.container_id) > LONGEST_TEXT or len(status.endpoints) > MOST_ENDPOINTS
    if long or any(len(e.address) > LONGEST_NAME for e in status.endpoints):
        raise Refused("too-large", f"the status of replica {status.replica_id} is as long as a book")
    if any(not 0 < e.port < 65536 or not 0 < e.target < 65536 or not e.address for e in status.endpoints):
        raise Refused("status-impossible", f"replica {status.replica_id} has an endpoint at no address or port")


_AGENTS = (ReplicaState.ASSIGNED, ReplicaState.PREPARING, ReplicaState.STARTING, ReplicaState.RUNNING)


def goes_back(before: ReplicaState, after: ReplicaState) -> bool:
    """True for a step back among the agent's own states, whatever the manager did meanwhile."""
    return before in _AGENTS and after in _AGENTS and _AGENTS.index(after) < _AGENTS.index(before)


def own(stats: Iterable[ReplicaStats], replicas: Collection[ReplicaId]) -> dict[ReplicaId, ReplicaStats]:
    """Those of the node's own replicas."""
    return {s.replica_id: s for s in stats if s.replica_id in replicas}
