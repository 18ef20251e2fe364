"""The route table: made from ready replicas, sent to every proxy, and the proof that a replica has left it everywhere.

Invariant: a version of the table names one content for ever. It is the store's revision of which the table was made, so it only
grows, also over restarts of the manager.
"""

import asyncio
import itertools
import logging
import math
from collections.abc import Callable, Collection, Iterable, MutableSequence, Sequence
from dataclasses import dataclass, field, replace

from rookery.model import (
    EndpointStats,
    ListenerError,
    ListenProtocol,
    ManagedCertificate,
    Node,
    NodeId,
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
    ServiceTraffic,
)
from rookery.model.ids import service_key

from rookery_manager.clock import Clock
from rookery_manager.demand import Demand
from rookery_manager.figures import Ledger, went_back
from rookery_manager.flights import Flights
from rookery_manager.planners.compare import Sample
from rookery_manager.planners.routes import CHALLENGES, challenge_key, challenge_routes, replica_ids, routes_of
from rookery_manager.records import Record
from rookery_manager.state import State
from rookery_manager.traffic import MOST_BUCKETS, Reported, Traffic

log = logging.getLogger("rookery.manager")

_NO_HTTP1 = (ListenProtocol.TCP, ListenProtocol.HTTP2)

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
    reported: Reported | None = None
    flights: Flights = field(default_factory=Flights)
    routes: dict[RouteId, RouteStats] = field(default_factory=dict)  # as last reported
    routes_known: bool = False  # it has reported before
    deltas: "asyncio.Queue[Delta | None]" = field(default_factory=lambda: asyncio.Queue(MOST_UNSENT))
    tells_changes: bool = False  # alone, after its first report
    ended: str = ""  # why the manager ends its stream

    def forget(self, replica_id: ReplicaId) -> None:
        """The replica is known no more. Whole reports need not be cleared of it: the next one is without it."""
        if self.tells_changes and self.reported is not None:
            for stats in self.flights.told(replica_id):
                self.reported.pop((replica_id, stats.route_id), None)
        self.flights.forget(replica_id)


class RoutePlane:
    """The table, and who serves which version of it.

    `on_progress` is told of services whose draining replicas may be further, `on_news` whenever a proxy came, went or told
    something. Challenges are answered on `challenge_port`."""

    def __init__(
        self,
        state: State,
        clock: Clock,
        *,
        lease_s: float,
        on_progress: Callable[[ServiceKey], None],
        challenge_port: int = 80,
    ) -> None:
        self._state = state
        self._clock = clock
        self._lease_s = lease_s
        self._on_progress = on_progress
        self.on_news: Callable[[], None] = lambda: None
        self._challenge_port = challenge_port
        self._in_the_way: dict[ServiceKey, str] = {}  # services that have the port for something else, and what for
        self._challenged: dict[ServiceKey, int] = {}  # since which version the table has a host's challenge
        self._routes: dict[ServiceKey, tuple[Route, ...]] = {}
        self._routed: dict[ReplicaId, int] = {}  # replicas in the table: in how many services' routes
        self._left_at: dict[ReplicaId, int] = {}  # replicas that left it: the first version without them
        self._draining: dict[ReplicaId, ServiceKey] = {}
        self._dirty: set[ServiceKey] = {*state.services, *map(challenge_key, state.certificates)}
        self._changed = asyncio.Event()
        self._changed.set()
        self._started_at = clock()
        self.version = state.revision
        self._first_version = state.revision
        self.followers: dict[str, Follower] = {}
        self._ledger = Ledger(state.replicas, state.services)
        self.traffic = Traffic(state.replicas, self._ledger.grew)
        self.demand = Demand()
        self.latency_bounds_s: tuple[float, ...] = ()
        for replica in state.replicas.values():
            self._note_draining(replica)
        state.listen(self._on_record)
        # Before a proxy may ask: an empty table of this version would be taken for the one that is made of the same revision.
        self.refresh()

    # ---- what others ask

    def table(self) -> RouteTable:
        routes = [route for routes in self._routes.values() for route in routes]
        return RouteTable(version=self.version, routes=tuple(sorted(routes, key=lambda route: route.id)))

    def table_version(self) -> int:
        return self.version

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
            in_flight = follower.flights.of(replica.id)
            if in_flight:
                return f"{in_flight} requests are in flight on it at proxy {follower.info.id}"
        return None

    def unanswered(self, host: str) -> str:
        """Why not every proxy answers the challenge of a host; empty where each does that has the port."""
        key, now = challenge_key(host), self._clock()
        if self._in_the_way:
            return next(iter(self._in_the_way.values()))
        since = self._challenged.get(key)
        if since is None or key in self._dirty:
            return "the route table does not have the challenge yet"
        if nobody := self.nobody():
            return nobody
        if now < self._started_at + self._lease_s:
            return "the manager has just started, and its proxies are still to connect"
        for follower in self._counted(now):
            if follower.acked_version < since:
                return f"proxy {follower.info.id} has not acknowledged version {since} of the routes"
        connected = [follower for follower in self.followers.values() if follower.connected]
        faults = [
            f"proxy {follower.info.id}: {error.why}"
            for follower in connected
            for error in follower.listener_errors
            if error.port == self._challenge_port
        ]
        return faults[0] if len(faults) >= len(connected) else ""

    def nobody(self) -> str:
        """Why no challenge could be answered now; empty where one could."""
        if any(follower.connected for follower in self.followers.values()):
            return ""
        return f"no proxy is connected that could answer on port {self._challenge_port}"

    def wake_at(self) -> float | None:
        """When time alone may bring drains further: a silent proxy is gone, or all have had the time to connect."""
        now = self._clock()
        due = [self._started_at + self._lease_s, *(f.seen_at + self._lease_s for f in self._counted(now) if not f.connected)]
        return min((at for at in due if at > now), default=None)

    def _counted(self, now: float) -> Sequence[Follower]:
        """The proxies that must acknowledge: connected, or away for less than a lease."""
        return [f for f in self.followers.values() if f.connected or f.seen_at + self._lease_s > now]

    def seen_since(self, mark: float, replica_ids: Collection[ReplicaId]) -> Sample:
        """What proxies saw of the replicas since they were first asked for with this mark."""
        return self.traffic.since(mark, replica_ids)

    def reporting(self) -> int:
        """How many proxies report."""
        return sum(1 for follower in self.followers.values() if follower.connected and follower.reported is not None)

    def traffic_of(self, services: Iterable[Service]) -> tuple[ServiceTraffic, ...]:
        """What proxies counted of these services since the manager started. Costs what proxies report."""
        in_flight: dict[ReplicaId, int] = {}
        connections: dict[ServiceKey, int] = {}
        for follower in self.followers.values():
            if not follower.connected:
                continue
            for replica_id, count in follower.flights.all():
                in_flight[replica_id] = in_flight.get(replica_id, 0) + count
            for route in follower.routes.values():
                key = ServiceKey(route.route_id.partition(":")[0])
                connections[key] = connections.get(key, 0) + max(0, route.connections)
        return tuple(
            self._ledger.traffic(
                service, self._state.replicas_of(service.key).values(), in_flight, connections.get(service.key, 0)
            )
            for service in services
        )

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
        challenges = {key for key in dirty if key.partition("/")[0] == CHALLENGES}
        was_free = not self._in_the_way
        for key in dirty - challenges:
            self._refresh_service(key, puts, removes)
        if was_free == bool(self._in_the_way):  # which all challenges depend on
            challenges |= set(map(challenge_key, self._state.certificates))
        for key in challenges:
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
        new, old = self._routes_now(key), self._routes.get(key, ())
        if new == old:
            return
        known = {route.id: route for route in old}
        puts.extend(route for route in new if known.get(route.id) != route)
        gone_routes = known.keys() - {route.id for route in new}
        removes.extend(gone_routes)
        for follower in self.followers.values():
            for route_id in gone_routes:
                follower.routes.pop(route_id, None)
        self._routes[key] = new
        if not new:
            del self._routes[key]
        self._note_port(key, new)
        gone, come = replica_ids(old) - replica_ids(new), replica_ids(new) - replica_ids(old)
        for replica_id in map(ReplicaId, gone):
            self._routed.pop(replica_id, None)
            if replica_id in self._state.replicas:
                self._left_at[replica_id] = self._state.revision
        for replica_id in map(ReplicaId, come):
            self._routed[replica_id] = self._state.revision

    def _note_port(self, key: ServiceKey, routes: Iterable[Route]) -> None:
        """Notes where a service has the port of challenges for what can't be told from one by host and path."""
        self._in_the_way.pop(key, None)
        for route in routes:
            if route.port == self._challenge_port and (route.tls or route.protocol in _NO_HTTP1):
                how = "TLS" if route.tls else route.protocol
                self._in_the_way[key] = f"{key} has port {route.port} of the proxies for {how}, where HTTP/1 is needed"

    def _routes_now(self, key: ServiceKey) -> tuple[Route, ...]:
        app, _, host = key.partition("/")
        if app == CHALLENGES:
            known = self._state.certificates.get(host) if not self._in_the_way else None
            new = challenge_routes(known, self._challenge_port)
            if not new:
                self._challenged.pop(key, None)
            elif new != self._routes.get(key):
                self._challenged[key] = self._state.revision
            return new
        service = self._state.services.get(key)
        replicas = self._state.replicas_of(key).values()
        specs = self._state.specs_in_use(service) if service else {}
        return routes_of(service, specs, replicas, self._state.nodes) if service and service.revision in specs else ()

    def _on_record(self, record: Record, after: Record | None) -> None:
        match record:
            case ManagedCertificate():
                self._dirty.add(challenge_key(record.host))
            case Replica():
                self._dirty.add(record.key)
                if isinstance(after, Replica):
                    self._note_draining(after)
                else:
                    self._draining.pop(record.id, None)
                    self._left_at.pop(record.id, None)
                    self.traffic.forget(record.id)
                    for follower in self.followers.values():
                        follower.forget(record.id)
                    self._ledger.forget(record.id)
            case Service():
                self._dirty.add(record.key)
                if after is None:
                    self._ledger.forget_service(record.key)
            case Revision():
                self._dirty.add(service_key(record.app, record.service))
            case Node():
                self._dirty |= self._by_node_balanced(record.id)
            case _:
                return
        self._changed.set()

    def _by_node_balanced(self, node_id: NodeId) -> set[ServiceKey]:
        """The services with replicas on the node whose requests are shared out by what nodes are."""
        found = set()
        for key in {replica.key for replica in self._state.replicas_on(node_id).values() if not replica.ended}:
            route = next(iter(self._routes.get(key, ())), None)
            if route is not None and (route.balancing.weight or route.balancing.prefer):
                found.add(key)
        return found

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
        self.on_news()
        return follower

    def wake_all(self) -> None:
        """Has every stream look for what its proxy is to be told."""
        for follower in self.followers.values():
            if follower.connected:
                _send(follower, Delta(before=0, after=0, puts=(), removes=()))

    def disconnect(self, follower: Follower) -> None:
        follower.connected = False
        follower.seen_at = self._clock()
        if self.followers.get(follower.info.id) in (follower, None):
            self.demand.lose(follower.info.id, follower.seen_at)
        if self.followers.get(follower.info.id) is follower:
            log.info("proxy %s is away", follower.info.id)
        self._progress()

    def acknowledge(self, follower: Follower, version: int, errors: tuple[ListenerError, ...]) -> None:
        follower.seen_at = self._clock()
        if version <= self.version:
            follower.acked_version = max(version, follower.acked_version)
        if errors != follower.listener_errors:
            for error in errors:
                log.warning("proxy %s, port %d: %s", follower.info.id, error.port, error.why)
        follower.listener_errors = errors
        self._progress()

    def learn_bounds(self, bounds_s: Sequence[float]) -> None:
        """The latency buckets of the proxies, all of which count alike; bounds that make no sense are not taken over."""
        rising = all(math.isfinite(b) and a < b for a, b in itertools.pairwise((0.0, *bounds_s)))
        if len(bounds_s) < MOST_BUCKETS and rising:
            self.latency_bounds_s = tuple(bounds_s)

    def report(
        self,
        follower: Follower,
        version: int,
        endpoints: tuple[EndpointStats, ...],
        routes: tuple[RouteStats, ...],
        *,
        changes: bool = False,
    ) -> None:
        """Takes a proxy's figures: all of them, or (`changes`) those that are not as its stream told last."""
        follower.seen_at = self._clock()
        follower.report_version = version if version <= self.version else 0
        follower.tells_changes = changes
        follower.reported = self.traffic.take(follower.reported, endpoints, changes=changes)
        self._take_routes(follower, routes, changes=changes)
        if not changes:
            follower.flights = Flights()
        follower.flights.take(stats for stats in endpoints if stats.replica_id in self._state.replicas)
        if changes:
            endpoints, routes = self._watched(follower)
        self.demand.take(follower.info.id, follower.seen_at, endpoints, routes)
        self._progress()

    def _watched(self, follower: Follower) -> tuple[tuple[EndpointStats, ...], tuple[RouteStats, ...]]:
        """All that is known of the services whose demand is asked for, when a proxy told only what is new."""
        routes = [route.id for key in self.demand.watched for route in self._routes.get(key, ())]
        replicas = (replica_id for key in self.demand.watched for replica_id in self._state.replicas_of(key))
        stats = [told for replica_id in replicas for told in follower.flights.told(replica_id)]
        return tuple(stats), tuple(follower.routes[route_id] for route_id in routes if route_id in follower.routes)

    def _take_routes(self, follower: Follower, routes: tuple[RouteStats, ...], *, changes: bool) -> None:
        """Counts what routes were reported with, from the stream's second report on, as with endpoints."""
        for stats in routes if follower.routes_known else ():
            before = follower.routes.get(stats.route_id)
            if before != stats:
                self._ledger.grew_route(None if before is None or went_back(before, stats) else before, stats)
        now = {stats.route_id: stats for stats in routes}
        if changes:
            follower.routes.update({route_id: stats for route_id, stats in now.items() if self._has(route_id)})
            return
        if len(now) < len(follower.routes):  # a proxy that replaces its workers is without some for a moment
            for route_id, stats in follower.routes.items():
                if route_id not in now and stats.route_id.partition(":")[0] in self._state.services:
                    now[route_id] = replace(stats, connections=0, held=0)
        follower.routes = now
        follower.routes_known = True

    def _has(self, route_id: RouteId) -> bool:
        """Whether the table has the route."""
        return any(route.id == route_id for route in self._routes.get(ServiceKey(route_id.partition(":")[0]), ()))

    def _progress(self) -> None:
        self.on_news()
        for key in set(self._draining.values()):
            self._on_progress(key)


def _send(follower: Follower, delta: Delta | None) -> None:
    """Queues a change; a proxy that lags too far behind is sent the whole table instead (None, which also wakes its stream)."""
    try:
        follower.deltas.put_nowait(delta)
    except asyncio.QueueFull:
        follower.deltas = asyncio.Queue(MOST_UNSENT)
        follower.deltas.put_nowait(None)
