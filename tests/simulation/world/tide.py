"""Requests for the autoscaled service at one proxy, at a rate that weather moves. One that finds no endpoint waits, by the real
rules of a worker (rookery_proxy.waiting), until there is one or its time is up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from rookery_proxy.live_route import LiveRoute
from rookery_proxy.waiting import AT_ONCE, TOO_MANY, Holding

from world.specs import APP, SCALED

if TYPE_CHECKING:
    from world.proxy import Proxy

MEAN_S = 1.0  # of a request


def is_tidal(live: LiveRoute) -> bool:
    return (live.route.app, live.route.service) == (APP, SCALED)


class Tide:
    """`waited` had to wait and were served, `in_vain` waited or would have, and were not."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._holding = Holding(_Turns())  # type: ignore[arg-type]
        self._holding.on_wait = proxy.workers.held.set
        proxy.workers.balance.on_update = self._holding.settle
        self.rate = 0.0  # requests a second
        self.waited = self.in_vain = 0

    async def run(self) -> None:
        rng, loop = self._proxy.machine.random, asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(0.5, rng.expovariate(self.rate)) if self.rate else 0.5)
            live = next(filter(is_tidal, self._proxy.workers.balance.routes.values()), None)
            if self.rate and live is not None:
                live.requests += 1
                one = _Request(self, live)
                wait_s = self._holding.wait(live, one)
                if wait_s == AT_ONCE:
                    self.begin(live)
                elif wait_s == TOO_MANY:
                    self.in_vain += 1
                else:
                    loop.call_later(wait_s, one.lose_patience)

    def begin(self, live: LiveRoute) -> bool:
        loop = asyncio.get_running_loop()
        began = self._proxy.begin(live, loop.time(), min(20.0, self._proxy.machine.random.expovariate(1 / MEAN_S)))
        self.in_vain += not began
        return began


class _Request:
    """One that waits."""

    def __init__(self, tide: Tide, live: LiveRoute) -> None:
        self._tide = tide
        self._live = live
        self._is_waiting = True

    def go_on(self) -> None:
        self._is_waiting = False
        self._tide.waited += self._tide.begin(self._live)

    def give_up(self) -> None:
        self._is_waiting = False
        self._tide.in_vain += 1

    def lose_patience(self) -> None:
        if self._is_waiting:
            self._live.queue.leave(self)
            self.give_up()


class _Turns:
    """The loop, as Holding asks for it."""

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def soon(self, call: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(call)

    def after(self, delay_s: float, call: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(delay_s, call)
