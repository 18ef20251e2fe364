"""A route as a worker serves it: its endpoints, the way to choose between them, and who waits for one."""

import errno
import random
from collections.abc import Collection

from rookery.model import BalanceMethod, Hold, Route, RouteStats

from rookery_proxy.activity import Activity
from rookery_proxy.health import Failure, begin_trial, failed
from rookery_proxy.live_endpoint import LiveEndpoint
from rookery_proxy.pick import pick
from rookery_proxy.pool import Pool
from rookery_proxy.resend import Budget
from rookery_proxy.rules import LiveRules
from rookery_proxy.split import Sides, pick_side, pools_at, step
from rookery_proxy.sticky import Sticky, value_in
from rookery_proxy.waiting import RETRY_AFTER_S, Queue

_OUR_OWN = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL))


class LiveRoute:
    __slots__ = (
        "_activity", "budget", "connections", "endpoints", "hashed", "patience", "point", "pool", "queue", "random", "refused",
        "requests", "resends", "resends_denied", "route", "rules", "side_pools", "sides", "touched",
    )  # fmt: skip

    def __init__(self, route: Route, activity: "Activity[LiveRoute, LiveEndpoint] | None" = None) -> None:
        self.route = route
        self._activity = activity or Activity()
        self.touched = False  # it has something to tell
        self.endpoints: list[LiveEndpoint] = []
        self.requests = 0
        self.refused = 0
        self.resends = 0
        self.resends_denied = 0  # for want of budget
        self.budget = Budget()
        self.connections = 0
        self.rules: LiveRules | None = None  # None: requests go on as they are
        self.pool: Pool[LiveEndpoint] | None = None  # None: the less loaded of two
        self.side_pools: tuple[Pool[LiveEndpoint], Pool[LiveEndpoint]] | None = None  # of the new side and of the old one
        self.hashed: Sticky | None = None  # what of a request is hashed, where that is not the client's address
        self.random = random.random
        self.sides: Sides[LiveEndpoint] | None = None  # of a split
        self.patience: Hold | None = None  # how long requests wait, and how many; None: they are refused at once
        self.queue = Queue()
        self.point = random.random()  # of the latest request between the sides; workers begin at different ones

    def touch(self) -> None:
        """Takes down that it has something to tell: call it where something is counted, unless it is `touched` already."""
        self.touched = True
        self._activity.touched.append(self)
        self._activity.warm[self] = None

    def refuse(self) -> None:
        """Counts that the proxy itself refused a request."""
        self.refused += 1
        if not self.touched:
            self.touch()

    @property
    def is_busy(self) -> bool:
        """Whether its figures may change without another request."""
        return bool(self.connections or self.queue.waiting or any(endpoint.in_flight for endpoint in self.endpoints))

    def stats(self) -> RouteStats:
        return RouteStats(
            route_id=self.route.id,
            requests=self.requests,
            refused=self.refused,
            connections=self.connections,
            resends=self.resends,
            resends_denied=self.resends_denied,
            held=len(self.queue),
        )

    def choose(self, now: float, tried: Collection[LiveEndpoint] = (), key: bytes = b"") -> LiveEndpoint | None:
        """`key` is what is hashed, where the service asks for that."""
        if self.pool is not None:
            return self.pool.pick(key, self.random, now, tried)
        return pick(self.endpoints, self.random(), self.random(), now, tried)

    def draw(self) -> float:
        """The next request's point between the sides."""
        self.point = step(self.point)
        return self.point

    def choose_at(self, point: float, now: float, tried: Collection[LiveEndpoint] = (), key: bytes = b"") -> LiveEndpoint | None:
        """As `choose`, of the side that has the point."""
        if self.sides is None:
            return self.choose(now, tried, key)
        if self.side_pools is not None:
            own, other = pools_at(self.sides, self.side_pools, point, len(tried))
            for pool in (own, other):
                found = pool.usable(key, self.random, now, tried)
                if found is not None:
                    return found
            return own.pick(key, self.random, now, tried) or other.pick(key, self.random, now, tried)
        return pick_side(self.sides, point, self.random(), self.random(), now, tried)

    def key_of(self, block: bytes, peer: bytes) -> bytes:
        """What of a request with these header fields, from that address, is hashed. Empty where nothing is."""
        if self.route.balancing.method is not BalanceMethod.HASH:
            return b""
        return (value_in(self.hashed, block) if self.hashed is not None else b"") or peer

    def connect_failed(self, endpoint: LiveEndpoint, now: float, error: OSError | None = None) -> None:
        """Takes down that it took no connection. `error`: of the attempt, which may have failed for want of something here."""
        if error is not None and error.errno in _OUR_OWN:
            return
        endpoint.errors_connect += 1
        self.failed(endpoint, Failure.REFUSED, now)

    def failed(self, endpoint: LiveEndpoint, failure: Failure, now: float) -> None:
        """Takes down that a request or a connection failed."""
        if not self.touched:
            self.touch()
        if failed(endpoint, failure, self.endpoints, now):
            endpoint.times_ejected += 1
            self._activity.ejected[endpoint] = None

    def begin_trial(self, endpoint: LiveEndpoint, now: float) -> None:
        """An endpoint that was ejected is about to get a request."""
        begin_trial(endpoint, self.endpoints, now)

    def spend_resend(self, now: float) -> bool:
        """Takes one resend from the route's budget. Returns whether there was one left."""
        if self.budget.spend(now, self.requests):
            self.resends += 1
            return True
        self.resends_denied += 1
        return False

    def learn_patience(self) -> None:
        """Finds out whether requests wait: for a first endpoint, or for one that has less than `max_in_flight`."""
        balancing = self.route.balancing
        self.patience = self.route.hold
        if self.endpoints and balancing.max_in_flight and balancing.queue_most:
            self.patience = Hold(timeout_s=balancing.queue_s, most=balancing.queue_most)

    def is_full(self, besides: Collection[LiveEndpoint] = ()) -> bool:
        """Whether there are endpoints besides those, and each has as many requests as it may."""
        return self.pool is not None and self.pool.is_full(besides)

    def wait_until(self, held_until: float, now: float, tried: Collection[LiveEndpoint]) -> float:
        """Until when a request waits that no endpoint took, if it may; 0: it does not. `held_until` is 0 for one that never
        waited: it does if the endpoints it did not go to are full."""
        if held_until or self.patience is None or not self.is_full(tried):
            return held_until
        return now + self.patience.timeout_s

    def room(self) -> int | None:
        """How many more requests its endpoints may have in flight; None: no matter how many."""
        return self.pool.room() if self.pool is not None and self.pool.is_limited else None

    def why_none(self) -> str:
        route = self.route
        name, count = f"{route.app}/{route.service}", len(self.endpoints)
        if self.is_full():
            return f"{name}: each of its {count} replicas has as many requests as it may (max_in_flight)"
        if self.endpoints and self.queue.waiting:
            return f"{name}: {len(self.queue)} requests wait for its {count} replicas already"
        return f"{name}: {route.why_empty or 'no replica is ready'}"

    def retry_after_s(self) -> int:
        """When a client that was refused is to come again, in seconds; 0: nobody knows."""
        if self.endpoints and self.pool is not None and self.pool.is_limited:
            return 1
        return RETRY_AFTER_S if self.route.hold is not None else 0
