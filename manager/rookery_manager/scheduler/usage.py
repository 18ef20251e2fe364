"""What a node has left: built from the replicas on it, or from an earlier view and one replica more.

Invariant: `charge` of a view equals the `view` with that replica added, to the last digit, so a batch can't drift from the truth.
Amounts are added up as whole numbers (CPU in millionths of a core) for that reason.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from rookery.model import (
    Desired,
    Node,
    PortMode,
    Replica,
    ReplicaId,
    ReplicaState,
    Resources,
    ServiceKey,
    ServiceSpec,
)

from rookery_manager.scheduler.answers import Request

HostPort = tuple[int, str, str]  # port, protocol, address (empty: all of them)

_CRASHES = 3  # so many restarts without getting ready are a failure of the node for this service


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """A node and what is on it.

    `reserved` and `host_ports` are of all replicas whose process may still be there. `replicas` (per service) are those that are
    not leaving; of these `succeeded` have a successor somewhere, and `slots` and `replica_count` are of the others, which are to
    stay. `recent_failures` are those that the records still tell of.
    """

    node: Node
    reserved: Resources = field(default_factory=Resources)
    replicas: Mapping[ServiceKey, int] = field(default_factory=dict)
    succeeded: Mapping[ServiceKey, int] = field(default_factory=dict)
    replica_count: int = 0
    host_ports: frozenset[HostPort] = frozenset()
    recent_failures: Mapping[ServiceKey, int] = field(default_factory=dict)
    slots: Mapping[ServiceKey, frozenset[int]] = field(default_factory=dict)


def view(
    node: Node,
    replicas_on_node: Iterable[Replica],
    specs: Mapping[ReplicaId, ServiceSpec],
    *,
    succeeded: Collection[ReplicaId] = (),
) -> NodeView:
    """The node with all replicas whose record names it, ended ones too. One whose spec is not known reserves nothing."""
    micros = memory = count = 0
    counts: dict[ServiceKey, int] = {}
    going: dict[ServiceKey, int] = {}
    failures: dict[ServiceKey, int] = {}
    slots: dict[ServiceKey, set[int]] = {}
    ports: set[HostPort] = set()
    for replica in replicas_on_node:
        if replica.state is ReplicaState.FAILED or (not replica.ended and not replica.ready and replica.restarts >= _CRASHES):
            failures[replica.key] = failures.get(replica.key, 0) + 1
        if replica.ended:
            continue
        spec = specs.get(replica.id)
        if spec is not None:
            micros += micro_cpus(spec.reservations.cpus)
            memory += spec.reservations.memory_bytes
            ports.update(host_ports(spec))
        if replica.leaving or replica.desired is Desired.STOP:
            continue
        counts[replica.key] = counts.get(replica.key, 0) + 1
        if replica.id in succeeded:
            going[replica.key] = going.get(replica.key, 0) + 1
            continue
        count += 1
        if replica.slot:
            slots.setdefault(replica.key, set()).add(replica.slot)
    return NodeView(
        node=node,
        reserved=_resources(micros, memory),
        replicas=counts,
        succeeded=going,
        replica_count=count,
        host_ports=frozenset(ports),
        recent_failures=failures,
        slots={key: frozenset(numbers) for key, numbers in slots.items()},
    )


def charge(before: NodeView, request: Request) -> NodeView:
    """The view once the replica is on the node: in its slot it takes the place of one that is there."""
    key, spec = request.key, request.spec
    reserved = _resources(
        micro_cpus(before.reserved.cpus) + micro_cpus(spec.reservations.cpus),
        before.reserved.memory_bytes + spec.reservations.memory_bytes,
    )
    slots, succeeded = dict(before.slots), dict(before.succeeded)
    at_home = request.slot in slots.get(key, ())
    if at_home:
        succeeded[key] = succeeded.get(key, 0) + 1
    elif request.slot:
        slots[key] = slots.get(key, frozenset()) | {request.slot}
    return NodeView(
        node=before.node,
        reserved=reserved,
        replicas={**before.replicas, key: before.replicas.get(key, 0) + 1},
        succeeded=succeeded,
        replica_count=before.replica_count + (not at_home),
        host_ports=before.host_ports.union(host_ports(spec)),
        recent_failures=before.recent_failures,
        slots=slots,
    )


def host_ports(spec: ServiceSpec) -> tuple[HostPort, ...]:
    """The ports of its node that a replica takes for itself."""
    return tuple(
        (port.published, str(port.protocol), "" if port.host_ip in ("0.0.0.0", "::") else port.host_ip)
        for port in spec.ports
        if port.mode is PortMode.HOST and port.published
    )


def micro_cpus(cpus: float) -> int:
    return round(cpus * 1_000_000)


def _resources(micros: int, memory_bytes: int) -> Resources:
    return Resources(cpus=micros / 1_000_000, memory_bytes=memory_bytes)
