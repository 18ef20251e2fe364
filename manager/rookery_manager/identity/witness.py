"""Writes down who was refused what, besides people: agents, proxies and strangers. What people are refused is written at once
(`rookery_manager.api.attempts`).

Invariant: however many try, and however often, no more than `MOST` lines are written every `PAUSE_S`, one of each in `EACH_S`;
what is left out is counted in them.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from rookery_manager.store import Commit, Put, Store, StoreError

log = logging.getLogger("rookery.manager")

PAUSE_S = 5.0
MOST = 5
EACH_S = 60.0
MOST_KNOWN = 1_000


@dataclass(slots=True)
class _Seen:
    why: str
    count: int = 0  # that are not written down
    written_at: float = float("-inf")


class Witness:
    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._wake = asyncio.Event()

    def saw(self, who: str, why: str) -> None:
        """`who` is `agent n1@10.0.0.7`, or `stranger@10.0.0.7`."""
        seen = self._seen.get(who)
        if seen is None:
            if len(self._seen) >= MOST_KNOWN:
                return  # they are counted and in the log all the same
            seen = self._seen[who] = _Seen(why)
        seen.why, seen.count = why, seen.count + 1
        self._wake.set()

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._write()
            except StoreError as error:
                log.error("what was refused is not written down: %s", error)
            await asyncio.sleep(PAUSE_S)
            if any(seen.count for seen in self._seen.values()):
                self._wake.set()

    async def _write(self) -> None:
        now = self._clock()
        for who in [who for who, seen in self._seen.items() if not seen.count and seen.written_at + EACH_S < now]:
            del self._seen[who]
        due = [(who, seen) for who, seen in self._seen.items() if seen.count and seen.written_at + EACH_S <= now][:MOST]
        for who, seen in due:
            more = f" ({seen.count - 1} more)" if seen.count > 1 else ""
            name = who.partition("@")[0]
            written = Put(key=f"attempts/{name}", value=b"", why=f"refused: {seen.why[:500]}{more}")
            seen.count, seen.written_at = 0, now
            await self._store.commit(Commit(writes=(written,), actor=who, at=now))
