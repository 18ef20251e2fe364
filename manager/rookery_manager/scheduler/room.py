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
    """Invariant: within a batch it only fills up, so a node that does not fit will not fit later; and no score of it gets better,
    but when a replica of it is succeeded elsewhere. `changes` counts what was done to it.
    """

    __slots__ = (
        "_placed",
        "_slots",
        "_succeeded",
        "_view",
        "changes",
        "count",
        "cpus",
        "cpus_total",
        "memory",
        "memory_total",
        "node",
        "ports",
    )

    def __init__(self, view: NodeView) -> None:
        capacity = view.node.info.capacity
        self._view = view
        self._placed: dict[ServiceKey, int] = {}
        self._succeeded: dict[ServiceKey, int] = {}
        self._slots: dict[ServiceKey, frozenset[int]] = {}
        self.changes = 0
        self.node: Node = view.node
        self.cpus = micro_cpus(view.reserved.cpus)
        self.cpus_total = micro_cpus(capacity.cpus)
        self.memory = view.reserved.memory_bytes
        self.memory_total = capacity.memory_bytes
        self.count = view.replica_count
        self.ports: frozenset[HostPort] = view.host_ports

    def replicas(self, key: ServiceKey) -> int:
        """Those that are here and are not leaving."""
        return self._view.replicas.get(key, 0) + self._placed.get(key, 0)

    def staying(self, key: ServiceKey) -> int:
        """Those of them that have no successor."""
        return self.replicas(key) - self._view.succeeded.get(key, 0) - self._succeeded.get(key, 0)

    def failures(self, key: ServiceKey) -> int:
        return self._view.recent_failures.get(key, 0)

    def slots(self, key: ServiceKey) -> frozenset[int]:
        """The slots of the service's replicas that are to stay."""
        found = self._slots.get(key)
        return self._view.slots.get(key, frozenset()) if found is None else found

    def add(self, request: Request, ask: Ask) -> None:
        self.changes += 1
        self._placed[request.key] = self._placed.get(request.key, 0) + 1
        self.cpus += ask.cpus
        self.memory += ask.memory
        self.count += 1
        if request.slot in self.slots(request.key):
            self.succeed(request)
        if request.slot:
            self._slots[request.key] = self.slots(request.key) | {request.slot}
        if ask.host_ports:
            self.ports = self.ports.union(ask.host_ports)

    def succeed(self, request: Request) -> None:
        """The replica in the request's slot has a successor: it runs on for now, but is not to stay."""
        self.changes += 1
        self._succeeded[request.key] = self._succeeded.get(request.key, 0) + 1
        self._slots[request.key] = self.slots(request.key) - {request.slot}
        self.count -= 1
