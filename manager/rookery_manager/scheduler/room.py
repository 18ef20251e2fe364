"""A node's view that a batch of placements can write to, at the cost of what each placement changes."""

from rookery.model import Node, ServiceKey, ServiceSpec

from rookery_manager.scheduler.answers import Request
from rookery_manager.scheduler.usage import HostPort, NodeView, host_ports, micro_cpus


class Ask:
    """What one replica of a spec takes, worked out once for all of them. `key` is None where the service does not matter."""

    __slots__ = ("cpus", "host_ports", "key", "memory", "spec")

    def __init__(self, key: ServiceKey | None, spec: ServiceSpec) -> None:
        self.key = key
        self.spec = spec
        self.cpus = micro_cpus(spec.reservations.cpus)
        self.memory = spec.reservations.memory_bytes
        self.host_ports = host_ports(spec)


class Room:
    """Invariant: within a batch it only fills up, so a node that does not fit will not fit later, and no score gets better."""

    __slots__ = ("_placed", "_view", "count", "cpus", "cpus_total", "memory", "memory_total", "node", "ports")

    def __init__(self, view: NodeView) -> None:
        capacity = view.node.info.capacity
        self._view = view
        self._placed: dict[ServiceKey, int] = {}
        self.node: Node = view.node
        self.cpus = micro_cpus(view.reserved.cpus)
        self.cpus_total = micro_cpus(capacity.cpus)
        self.memory = view.reserved.memory_bytes
        self.memory_total = capacity.memory_bytes
        self.count = view.replica_count
        self.ports: frozenset[HostPort] = view.host_ports

    def replicas(self, key: ServiceKey) -> int:
        return self._view.replicas.get(key, 0) + self._placed.get(key, 0)

    def failures(self, key: ServiceKey) -> int:
        return self._view.recent_failures.get(key, 0)

    def slots(self, key: ServiceKey) -> frozenset[int]:
        """The slots of the service's replicas that were here before the batch."""
        return self._view.slots.get(key, frozenset())

    def add(self, request: Request, ask: Ask) -> None:
        self._placed[request.key] = self._placed.get(request.key, 0) + 1
        self.cpus += ask.cpus
        self.memory += ask.memory
        self.count += 1
        if ask.host_ports:
            self.ports = self.ports.union(ask.host_ports)
