"""Follows the engine: its events as they happen, everything anew when it (re)appears and now and then, and whether it is there.

Invariant: an engine that does not answer is asked again for as long as it takes, one question at a time.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from rookery.model import ReplicaId

from rookery_agent.runtime.protocol import EngineAway, Runtime, RuntimeFailure

log = logging.getLogger("rookery.agent")

_PING_S = 3.0
_RELIST_S = 30.0
_AGAIN_S = 0.5


class EngineWatch:
    """`relist` looks at all instances, `notice` is told of one to look at. `away` says why the engine is not there, if so."""

    def __init__(
        self, runtime: Runtime, *, away: str, relist: Callable[[], Awaitable[None]], notice: Callable[[ReplicaId], None]
    ) -> None:
        self.away = away
        self._runtime = runtime
        self._relist = relist
        self._notice = notice

    async def run(self) -> None:
        while True:
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._ask(), name="engine check")
                    tasks.create_task(self._follow(), name="engine event stream")
            except* RuntimeFailure as group:
                why = str(group.exceptions[0])
                if not self.away:
                    log.warning("the engine is away: %s", why)
                self.away = why
            await asyncio.sleep(_AGAIN_S)

    async def _follow(self) -> None:
        async for event in self._runtime.events():
            if event.replica_id is None:
                await self._list()
            else:
                self._notice(event.replica_id)
        raise EngineAway("the engine ended its stream of events")

    async def _ask(self) -> None:
        listed_at = time.monotonic()
        while True:
            await asyncio.sleep(_PING_S)
            await self._runtime.describe()
            if time.monotonic() - listed_at > _RELIST_S:
                await self._list()
                listed_at = time.monotonic()

    async def _list(self) -> None:
        await self._relist()
        if self.away:
            log.info("the engine is back")
            self.away = ""
