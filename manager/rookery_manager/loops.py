"""The one shape of every control loop: dirty keys in, one reconciliation of a key at a time.

A wake-up carries no data: it marks a key dirty, and the loop looks at everything that belongs to the key. A key marked while it
is being reconciled is reconciled once more. A key is never with two workers.
"""

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from rookery_manager.clock import Clock

K = TypeVar("K", bound=Hashable)


class DirtyKeys(Generic[K]):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ready: dict[K, None] = {}  # in the order in which they were marked
        self._busy: set[K] = set()
        self._again: set[K] = set()
        self._timers: list[tuple[float, int, K]] = []
        self._timer_of: dict[K, float] = {}
        self._count = 0
        self._changed = asyncio.Event()

    def mark(self, key: K) -> None:
        """Has the key reconciled as soon as a worker is free."""
        if key in self._busy:
            self._again.add(key)
        else:
            self._ready[key] = None
            self._changed.set()

    def mark_at(self, key: K, at: float) -> None:
        """Has the key reconciled at that time at the latest; the earliest of several times counts."""
        if at < self._timer_of.get(key, float("inf")):
            self._timer_of[key] = at
            self._count += 1
            heapq.heappush(self._timers, (at, self._count, key))
            self._changed.set()

    async def take(self) -> K:
        """The next dirty key; it is busy until `done`."""
        while True:
            self._ripen()
            if self._ready:
                key = next(iter(self._ready))
                del self._ready[key]
                self._busy.add(key)
                self._timer_of.pop(key, None)
                return key
            self._changed.clear()
            try:
                async with asyncio.timeout(self._until_timer()):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def done(self, key: K) -> None:
        self._busy.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.mark(key)
        elif self._ready:
            self._changed.set()

    def _ripen(self) -> None:
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            at, _, key = heapq.heappop(self._timers)
            if self._timer_of.get(key) == at:
                del self._timer_of[key]
                self.mark(key)

    def _until_timer(self) -> float | None:
        while self._timers and self._timer_of.get(self._timers[0][2]) != self._timers[0][0]:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - self._clock()) if self._timers else None


async def reconcile(keys: DirtyKeys[K], step: Callable[[K], Awaitable[float | None]], *, workers: int = 1) -> None:
    """Runs `step(key)` for every key that gets dirty, for ever. A step returns when it wants the key looked at again, if so."""

    async def work() -> None:
        while True:
            key = await keys.take()
            try:
                wake_at = await step(key)
            finally:
                keys.done(key)
            if wake_at is not None:
                keys.mark_at(key, wake_at)

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work())
