"""Requests and connections that wait for an endpoint of a route that has none, or none that may have more in flight, and how
they are let go when there is one.

Invariant: they go in the order in which they came, and none is passed by one that came later while there is room to wait. They
don't all go at once: endpoints with a limit get what they may have, and a replica that has just started takes so many in hand,
and another one a tick whatever becomes of those, so that answers without an end hold up nobody.
"""

from collections.abc import Callable, Collection
from typing import Protocol

from rookery.model import Hold, Route, RouteId

from rookery_proxy.loop import Loop

IN_HAND = 32
"""So many an endpoint gets at once. The queue of connections of most servers takes more, but not a thousand."""

TICK_S = 0.01

AGAIN_S = 0.1
"""After one was refused that had waited: the replica runs, but does not listen yet."""

RETRY_AFTER_S = 5
"""Told to a client that waited in vain."""


AT_ONCE = 0.0
"""What `Holding.wait` says of a request that need not wait."""

TOO_MANY = -1.0
"""What it says of one that is to be refused, since so many wait already."""


class Waiting(Protocol):
    """One that is held. It may let go of itself by `Queue.leave`."""

    def go_on(self) -> None:
        """There is an endpoint."""

    def give_up(self) -> None:
        """There will be none here: the route does not wait any more, or is gone."""


class Endpoint(Protocol):
    in_flight: int


class HoldingRoute(Protocol):
    """What is needed of a route."""

    @property
    def route(self) -> Route: ...

    @property
    def endpoints(self) -> Collection[Endpoint]: ...

    @property
    def patience(self) -> Hold | None: ...

    @property
    def queue(self) -> "Queue": ...

    @property
    def touched(self) -> bool: ...

    def touch(self) -> None:
        """Takes down that there is something to tell of it."""

    def is_full(self) -> bool: ...

    def room(self) -> int | None: ...


class Queue:
    """Of one route, in one worker."""

    __slots__ = ("not_before", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[Waiting, None] = {}
        self.not_before = 0.0  # of the loop's clock: then the next ones go

    def __len__(self) -> int:
        return len(self.waiting)

    def join(self, one: Waiting) -> None:
        self.waiting[one] = None

    def leave(self, one: Waiting) -> None:
        self.waiting.pop(one, None)

    def take(self) -> Waiting | None:
        """The one that came first."""
        one = next(iter(self.waiting), None)
        self.waiting.pop(one, None)  # type: ignore[arg-type]  # None is no key
        return one

    def give_up(self) -> None:
        waiting, self.waiting = self.waiting, {}
        for one in waiting:
            one.give_up()


class Holding:
    """Of all routes of a worker. `on_wait` is called when a request is the first to wait on its route."""

    __slots__ = ("_closed", "_loop", "_releasing", "on_wait")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._releasing: set[RouteId] = set()
        self._closed = False
        self.on_wait: Callable[[], None] = lambda: None

    def wait(self, live: HoldingRoute, one: Waiting) -> float:
        """How long a request is held that has no endpoint to go to, or others before it, in seconds; or AT_ONCE, or TOO_MANY."""
        patience, waiting = live.patience, live.queue.waiting
        if patience is None or self._closed or not (waiting or not live.endpoints or live.is_full()):
            return AT_ONCE
        if len(waiting) >= patience.most:
            return TOO_MANY
        live.queue.join(one)
        if not live.touched:
            live.touch()
        if len(waiting) == 1 and not live.endpoints:
            self.on_wait()
        return patience.timeout_s

    def wait_again(self, live: HoldingRoute, one: Waiting, until: float) -> bool:
        """Holds one that no endpoint took, though there are some. Returns whether it waits, until then at most."""
        patience, now = live.patience, self._loop.now
        if patience is None or self._closed or now + AGAIN_S >= until or len(live.queue.waiting) >= patience.most:
            return False
        live.queue.not_before = now + AGAIN_S
        live.queue.join(one)
        if not live.touched:
            live.touch()
        self.settle(live)
        return True

    def settle(self, live: HoldingRoute) -> None:
        """After another table, or when an endpoint has less in flight: those that wait go on, or in vain, or wait on."""
        if not live.queue.waiting:
            return
        if live.endpoints:
            if live.route.id not in self._releasing:
                self._releasing.add(live.route.id)
                self._loop.soon(lambda: self._release(live))
        elif live.patience is None:
            live.queue.give_up()

    def close(self, routes: Collection[HoldingRoute]) -> None:
        """No table will come any more: nobody waits."""
        self._closed = True
        for live in routes:
            live.queue.give_up()

    def _release(self, live: HoldingRoute) -> None:
        queue, count, room = live.queue, len(live.endpoints), live.room()
        is_early = self._loop.now < queue.not_before
        if not is_early:
            if room is None:
                in_flight = sum(endpoint.in_flight for endpoint in live.endpoints)
                number = max(count, IN_HAND * count - in_flight)
            else:
                number = room
            for _ in range(min(len(queue), number)):
                one = queue.take()
                if one is not None:
                    one.go_on()
        if queue.waiting and live.endpoints and (is_early or room is None or live.room()):
            self._loop.after(TICK_S, lambda: self._release(live))
        else:  # whoever is done with an endpoint has the next one let go
            self._releasing.discard(live.route.id)
