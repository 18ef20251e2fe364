"""How long each node's silence is tolerated: in memory only, renewed by every message of its agent.

Silence counts only while the manager could hear: after its start, and after it stood still itself (a stopped process, a long
pause of the machine), every node gets a full lease.
"""

from rookery.model import NodeId

from rookery_manager.clock import Clock


class Leases:
    def __init__(self, clock: Clock, *, lease_s: float) -> None:
        self._clock = clock
        self.lease_s = lease_s
        self._heard_at: dict[NodeId, float] = {}
        self._listening_since = clock()

    def hear(self, node_id: NodeId) -> None:
        self._heard_at[node_id] = self._clock()

    def forget(self, node_id: NodeId) -> None:
        self._heard_at.pop(node_id, None)

    def last_heard(self, node_id: NodeId) -> float:
        """When the node was last heard; 0: not since the manager started."""
        return self._heard_at.get(node_id, 0.0)

    def heard_at(self, node_id: NodeId) -> float:
        """When the node was last heard; of one never heard, since when the manager listens."""
        return self._heard_at.get(node_id, self._listening_since)

    def until(self, node_id: NodeId) -> float:
        return max(self.heard_at(node_id), self._listening_since) + self.lease_s

    def holds(self, node_id: NodeId) -> bool:
        return self._clock() < self.until(node_id)

    def stood_still(self) -> None:
        """The manager could not hear for a while: all leases begin anew."""
        self._listening_since = self._clock()
