"""What the workers told so far, added up: each tells what has changed since it last did, and so does the sum.

Pure. Invariant: a merged count never goes down while its endpoint is known, also when the worker that counted is gone.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from rookery.model import EndpointStats, ReplicaId, RouteId, RouteStats

from rookery_proxy.stats import Figures, Past, Retained, merge, retain


@dataclass(slots=True)
class _Told:
    """By one worker."""

    version: int = 0
    connections: int = 0
    endpoints: dict[RouteId, dict[ReplicaId, EndpointStats]] = field(default_factory=dict)
    routes: dict[RouteId, RouteStats] = field(default_factory=dict)
    past: Past = field(default_factory=Past)
    gone: set[tuple[RouteId, ReplicaId]] = field(default_factory=set)  # of the endpoints: told for the last time

    def of(self, keys: Iterable[tuple[RouteId, ReplicaId]], routes: Iterable[RouteId]) -> Figures:
        """What is known of these."""
        endpoints = (self.endpoints.get(route_id, {}).get(replica_id) for route_id, replica_id in keys)
        return Figures(
            version=self.version,
            connections=self.connections,
            endpoints=tuple(stats for stats in endpoints if stats is not None),
            routes=tuple(self.routes[route_id] for route_id in routes if route_id in self.routes),
        )


class Tally:
    def __init__(self) -> None:
        self.retained = Retained()  # what workers that are gone had counted
        self._workers: dict[int, _Told] = {}
        self._endpoints: set[tuple[RouteId, ReplicaId]] = set()  # those that are to be told of
        self._routes: set[RouteId] = set()
        self._gone: set[tuple[RouteId, ReplicaId]] = set()

    def take(self, worker: int, figures: Figures) -> None:
        """Takes down what a worker told."""
        told = self._workers.setdefault(worker, _Told())
        told.version, told.connections = figures.version, figures.connections
        for stats in merge(Retained(), [figures]).endpoints:
            told.endpoints.setdefault(stats.route_id, {})[stats.replica_id] = stats
            told.gone.discard((stats.route_id, stats.replica_id))
            self._endpoints.add((stats.route_id, stats.replica_id))
        for route in figures.routes:
            told.routes[route.route_id] = route
            self._routes.add(route.route_id)
        for past in figures.past:
            told.past.put(past)
        for key in figures.gone:
            told.gone.add(key)
            self._gone.add(key)

    def bury(self, worker: int) -> None:
        """The worker has ended: what it counted stays, and nothing of it is in flight."""
        told = self._workers.pop(worker, None)
        if told is None:
            return
        keys = [(route_id, replica_id) for route_id, replicas in told.endpoints.items() for replica_id in replicas]
        last = replace(told.of((key for key in keys if key not in told.gone), told.routes), past=told.past.all())
        self.retained = retain(self.retained, last)
        self._endpoints.update(keys)
        self._routes.update(told.routes)

    def forget(self, routes: Iterable[RouteId]) -> None:
        """These left the table, and all workers know it."""
        for told in self._workers.values():
            for route_id in routes:
                told.gone.difference_update([(route_id, replica_id) for replica_id in told.endpoints.pop(route_id, ())])
                told.routes.pop(route_id, None)
                told.past.forget(route_id)
        self.retained = self.retained.without(frozenset(routes))

    def changes(self) -> Figures:
        """What has changed since the last time."""
        made = self._merged(self._endpoints, self._routes)
        self._endpoints, self._routes = set(), set()
        for key in tuple(self._gone):
            route_id, replica_id = key
            know = [told for told in self._workers.values() if replica_id in told.endpoints.get(route_id, ())]
            if all(key in told.gone for told in know):
                for told in know:
                    del told.endpoints[route_id][replica_id]
                    told.gone.discard(key)
                self._gone.discard(key)
        return made

    def all(self) -> Figures:
        """All that is known, and nothing has changed since."""
        for told in self._workers.values():
            self._endpoints.update((route_id, replica_id) for route_id, known in told.endpoints.items() for replica_id in known)
            self._routes.update(told.routes)
        return self.changes()

    def _merged(self, keys: set[tuple[RouteId, ReplicaId]], routes: set[RouteId]) -> Figures:
        made = merge(Retained(), [told.of(keys, routes) for told in self._workers.values()])
        kept = self.retained.of(keys, routes)
        if not kept.endpoints and not kept.routes:
            return made
        return replace(merge(Retained(), [made, kept]), version=made.version)
