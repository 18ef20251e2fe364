"""What a proxy told last of each replica, by whole reports or by changes, and with it what is in flight.

Invariant: what is known is of replicas that the manager knows, so it is bounded whatever a proxy says.
"""

from collections.abc import Iterable, Iterator

from rookery.model import EndpointStats, ReplicaId, RouteId


class Flights:
    def __init__(self) -> None:
        self._told: dict[ReplicaId, dict[RouteId, EndpointStats]] = {}

    def take(self, endpoints: Iterable[EndpointStats]) -> None:
        """Takes what was told of these endpoints in the place of what was told before."""
        for stats in endpoints:
            self._told.setdefault(stats.replica_id, {})[stats.route_id] = stats

    def forget(self, replica_id: ReplicaId) -> None:
        self._told.pop(replica_id, None)

    def told(self, replica_id: ReplicaId) -> Iterable[EndpointStats]:
        """The latest figures of a replica, by route."""
        return self._told.get(replica_id, {}).values()

    def of(self, replica_id: ReplicaId) -> int:
        """How many requests are in flight on a replica."""
        return sum(max(0, stats.in_flight) for stats in self.told(replica_id))

    def all(self) -> Iterator[tuple[ReplicaId, int]]:
        """The replicas that have any in flight, with how many."""
        return ((replica_id, number) for replica_id in self._told if (number := self.of(replica_id)))
