"""The route table: made from ready replicas, sent to every proxy, and the proof that a replica has left it everywhere.

Invariant: a version of the table names one content for ever. It is the store's revision of which the table was made, so it only
grows, also over restarts of the manager.
"""

import asyncio
import logging
from collections.abc import Callable, MutableSequence, Sequence
from dataclasses import dataclass, field

from rookery.model import (
    EndpointStats,
    ListenerError,
    Proxy,
    ProxyInfo,
    Replica,
    ReplicaId,
    ReplicaState,
    Revision,
    Route,
    RouteId,
    RouteStats,
    RouteTable,
    Service,
    ServiceKey,
)
from rookery.model.ids import service_key

from rookery_manager.clock import Clock
from rookery_manager.planners.routes import replica_ids, routes_of
from rookery_manager.records import Record
from rookery_manager.state import State

log = logging.getLogger("rookery.manager")

FORGET_S = 3600.0  # a proxy that is away for so long is no longer listed
MOST_UNSENT = 256  # changes of the table that a slow proxy may lag behind before it is sent the whole table


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    before: int
    after: int
    puts: tuple[Route, ...]
    removes: tuple[RouteId, ...]


@dataclass(slots=True, kw_only=True)
class Follower:
    """One proxy as the manager knows it."""

    info: ProxyInfo
    connected: bool = True
    acked_version: int = 0
    seen_at: float = 0.0
    listener_errors: tuple[ListenerError, ...] = ()
    report_version: int = 0
    in_flight: dict[ReplicaId, int] = field(default_factory=dict)
    endpoints: tuple[EndpointStats, ...] = ()
    routes: tuple[RouteStats, ...] = ()
    deltas: "asyncio.Queue[Delta | None]" = field(default_factory=lambda: asyncio.Queue(MOST_UNSENT))
    ended: str = ""  # why the manager ends its stream


class RoutePlane:
    """The table, and who serves which version of it. `on_progress` is told of services whose draining replicas may be further."""

    def __init__(self, state: State, clock: Clock, *, lease_s: float, on_progress: Callable[[ServiceKey], None]) -> None:
        self._state = state
        self._clock = clock
        self._lease_s = lease_s
        self._on_progress = on_progress
        self._routes: dict[ServiceKey, tuple[Route, ...]] = {}
        self._routed: dict[ReplicaId, int] = {}  # replicas in the table: in how many services' routes
        self._left_at: dict[ReplicaId, int] = {}  # replicas that left it: the first version without them
        self._draining: dict[ReplicaId, ServiceKey] = {}
        self._dirty: set[ServiceKey] = set(state.services)
        self._changed = asyncio.Event()
        self._changed.set()
        self._started_at = clock()
        self.version = state.revision
        self._first_version = state.revision
        self.followers: dict[str, Follower] = {}
        for replica in state.replicas.values():
            self._note_draining(replica)
        state.listen(self._on_record)

    # ---- what others ask

    def table(self) -> RouteTable:
        routes = [route for routes in self._routes.values() for route in routes]
        return RouteTable(version=self.version, routes=tuple(sorted(routes, key=lambda route: route.id)))

    def list(self) -> tuple[Proxy, ...]:
        return tuple(
            Proxy(
                info=follower.info,
                connected=follower.connected,
                acked_version=follower.acked_version,
                last_seen_at=follower.seen_at,
                listener_errors=follower.listener_errors,
            )
            for _, follower in sorted(self.followers.items())
        )

    def undrained(self, replica: Replica) -> str | None:
        """What a draining replica still waits for; None when no proxy will send it anything and nothing is in flight on it."""
        if replica.id in self._routed or replica.key in self._dirty:
            return "the route table still has it"
        now = self._clock()
        if now < self._started_at + self._lease_s:
            return "the manager has just started, and its proxies are still to connect"
        left_at = self._left_at.get(replica.id, self._first_version)
        for follower in self._counted(now):
            if follower.acked_version < left_at:
                return f"proxy {follower.info.id} has not acknowledged version {left_at} of the routes"
            if follower.report_version < left_at:
                return f"proxy {follower.info.id} has not reported since it acknowledged"
            if follower.in_flight.get(replica.id):
                return f"{follower.in_flight[replica.id]} requests are in flight on it at proxy {follower.info.id}"
        return None

    def wake_at(self) -> float | None:
        """When time alone may bring drains further: a silent proxy is gone, or all have had the time to connect."""
        now = self._clock()
        due = [self._started_at + self._lease_s, *(f.seen_at + self._lease_s for f in self._counted(now) if not f.connected)]
        return min((at for at in due if at > now), default=None)

    def _counted(self, now: float) -> Sequence[Follower]:
        """The proxies that must acknowledge: connected, or away for less than a lease."""
        return [f for f in self.followers.values() if f.connected or f.seen_at + self._lease_s > now]

    # ---- the loop

    async def run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            self.refresh()

    def refresh(self) -> None:
        """Makes the routes of changed services anew and tells every proxy what is different."""
        before = self.version
        puts: MutableSequence[Route] = []
        removes: MutableSequence[RouteId] = []
        dirty, self._dirty = self._dirty, set()
        for key in dirty:
            self._refresh_service(key, puts, removes)
        if puts or removes:
            self.version = self._state.revision
            delta = Delta(before=before, after=self.version, puts=tuple(puts), removes=tuple(removes))
            for follower in self.followers.values():
                if follower.connected:
                    _send(follower, delta)
        for key in {key for key in self._draining.values() if key in dirty}:
            self._on_progress(key)

    def _refresh_service(self, key: ServiceKey, puts: MutableSequence[Route], removes: MutableSequence[RouteId]) -> None:
        service = self._state.services.get(key)
        revision = self._state.revision_of(key, service.revision) if service else None
        replicas = self._state.replicas_of(key).values()
        new = routes_of(service, revision.spec, replicas) if service and revision else ()
        old = self._routes.get(key, ())
        if new == old:
            return
        known = {route.id: route for route in old}
        puts.extend(route for route in new if known.get(route.id) != route)
        removes.extend(route_id for route_id in known if route_id not in {route.id for route in new})
        self._routes[key] = new
        if not new:
            del self._routes[key]
        gone, come = replica_ids(old) - replica_ids(new), replica_ids(new) - replica_ids(old)
        for replica_id in map(ReplicaId, gone):
            self._routed.pop(replica_id, None)
            if replica_id in self._state.replicas:
                self._left_at[replica_id] = self._state.revision
        for replica_id in map(ReplicaId, come):
            self._routed[replica_id] = self._state.revision

    def _on_record(self, record: Record, after: Record | None) -> None:
        match record:
            case Replica():
                self._dirty.add(record.key)
                if isinstance(after, Replica):
                    self._note_draining(after)
                else:
                    self._draining.pop(record.id, None)
                    self._left_at.pop(record.id, None)
            case Service():
                self._dirty.add(record.key)
            case Revision():
                self._dirty.add(service_key(record.app, record.service))
            case _:
                return
        self._changed.set()

    def _note_draining(self, replica: Replica) -> None:
        if replica.state is ReplicaState.DRAINING:
            self._draining[replica.id] = replica.key
        else:
            self._draining.pop(replica.id, None)

    # ---- what proxies tell

    def connect(self, info: ProxyInfo) -> Follower:
        previous = self.followers.get(info.id)
        if previous is not None and previous.connected:
            log.warning("proxy %s connected anew: its older stream is ended", info.id)
            previous.ended = "the proxy connected anew"
            _send(previous, None)
        now = self._clock()
        for gone in [f for f in self.followers.values() if not f.connected and f.seen_at + FORGET_S < now]:
            del self.followers[gone.info.id]
        follower = Follower(info=info, seen_at=now)
        self.followers[info.id] = follower
        return follower

    def disconnect(self, follower: Follower) -> None:
        follower.connected = False
        follower.seen_at = self._clock()
        if self.followers.get(follower.info.id) is follower:
            log.info("proxy %s is away", follower.info.id)
        self._progress()

    def acknowledge(self, follower: Follower, version: int, errors: tuple[ListenerError, ...]) -> None:
        follower.seen_at = self._clock()
        if version <= self.version:
            follower.acked_version = max(version, follower.acked_version)
        if errors != follower.listener_errors:
            for error in errors:
                log.warning("proxy %s does not listen on port %d: %s", follower.info.id, error.port, error.why)
        follower.listener_errors = errors
        self._progress()

    def report(
        self, follower: Follower, version: int, endpoints: tuple[EndpointStats, ...], routes: tuple[RouteStats, ...]
    ) -> None:
        follower.seen_at = self._clock()
        follower.report_version = version if version <= self.version else 0
        follower.endpoints = endpoints
        follower.routes = routes
        in_flight: dict[ReplicaId, int] = {}
        for stats in endpoints:
            in_flight[stats.replica_id] = in_flight.get(stats.replica_id, 0) + max(0, stats.in_flight)
        follower.in_flight = in_flight
        self._progress()

    def _progress(self) -> None:
        for key in set(self._draining.values()):
            self._on_progress(key)


def _send(follower: Follower, delta: Delta | None) -> None:
    """Queues a change; a proxy that lags too far behind is sent the whole table instead (None, which also wakes its stream)."""
    try:
        follower.deltas.put_nowait(delta)
    except asyncio.QueueFull:
        follower.deltas = asyncio.Queue(MOST_UNSENT)
        follower.deltas.put_nowait(None)
