"""The worker's event loop: callbacks on readiness, timers, and nothing else.

A future and a task for every request cost more than all the rest of a proxied request; so the worker has this loop instead of
asyncio. Level-triggered: a handler that leaves data in the socket is called again. Invariant: a socket that was discarded is
closed only after the current batch of events, so an event can never reach another connection that got the same descriptor.
"""

import heapq
import itertools
import logging
import select
import time
from collections.abc import Callable
from typing import Protocol

IN = select.EPOLLIN
OUT = select.EPOLLOUT
GONE = select.EPOLLHUP | select.EPOLLERR

_EVENTS_AT_ONCE = 256

log = logging.getLogger(__name__)


class Descriptor(Protocol):
    """A socket, or what stands for one."""

    def fileno(self) -> int: ...

    def close(self) -> None: ...


class Handler(Protocol):
    def on_event(self, mask: int) -> None: ...

    def abort(self) -> None:
        """Gives the connection up after an error in `on_event`; must not raise."""


class Timer:
    __slots__ = ("action",)

    def __init__(self, action: Callable[[], None]) -> None:
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        self.action = None


class Loop:
    def __init__(self) -> None:
        self.now = time.monotonic()
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._discarded: list[Descriptor] = []
        self._soon: list[Callable[[], None]] = []
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._running = False

    def watch(self, sock: Descriptor, mask: int, handler: Handler) -> None:
        fd = sock.fileno()
        self._handlers[fd] = handler
        self._epoll.register(fd, mask)

    def change(self, fd: int, mask: int) -> None:
        self._epoll.modify(fd, mask)

    def unwatch(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def discard(self, sock: Descriptor) -> None:
        """Stops watching a socket and closes it after this batch of events."""
        self.unwatch(sock.fileno())
        self._discarded.append(sock)

    def soon(self, action: Callable[[], None]) -> None:
        """Runs an action after this batch of events."""
        self._soon.append(action)

    def after(self, delay_s: float, action: Callable[[], None]) -> Timer:
        timer = Timer(action)
        heapq.heappush(self._timers, (self.now + delay_s, next(self._order), timer))
        return timer

    def every(self, interval_s: float, action: Callable[[], None]) -> None:
        def again() -> None:
            action()
            self.after(interval_s, again)

        self.after(interval_s, again)

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        self._running = True
        poll, handlers, clock = self._epoll.poll, self._handlers, time.monotonic
        while self._running:
            events = poll(self._timeout_s(), _EVENTS_AT_ONCE)
            self.now = clock()
            for fd, mask in events:
                handler = handlers.get(fd)
                if handler is None:
                    continue
                try:
                    handler.on_event(mask)
                except Exception:
                    log.exception("a connection is given up after an error of the proxy itself")
                    handler.abort()
            if self._timers and self._timers[0][0] <= self.now:
                self._fire()
            while self._soon:
                actions, self._soon = self._soon, []
                for action in actions:
                    self._guarded(action)
            if self._discarded:
                self._close_discarded()
        for handler in tuple(self._handlers.values()):
            handler.abort()
        self._close_discarded()
        self._epoll.close()

    def _close_discarded(self) -> None:
        for sock in self._discarded:
            sock.close()
        self._discarded.clear()

    def _timeout_s(self) -> float:
        if self._soon:
            return 0.0
        if not self._timers:
            return -1.0
        return max(0.0, self._timers[0][0] - time.monotonic())

    def _fire(self) -> None:
        while self._timers and self._timers[0][0] <= self.now:
            action = heapq.heappop(self._timers)[2].action
            if action is not None:
                self._guarded(action)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:
            log.exception("an error of the proxy itself")
