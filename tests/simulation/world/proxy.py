"""A proxy's machine: the real Follower, table, balance, pick and split; its workers take tables over late; requests in flight.

A request picks its endpoint as a worker does and stays in flight for as long as it lasts; one whose replica ends meanwhile broke.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rookery.identity.standing import Standing, Wanted
from rookery.model import ListenerError, ProxyInfo, ReplicaId, Route, RouteId, RouteTable, ServedCertificate
from rookery.wire import from_bytes, to_bytes
from rookery_proxy.balance import Balance
from rookery_proxy.follow import Follower
from rookery_proxy.live_endpoint import LiveEndpoint
from rookery_proxy.live_route import LiveRoute
from rookery_proxy.stats import Figures
from rookery_proxy.table import Table, advance, build
from rookery_proxy.tally import Tally

from world.machine import Machine, here
from world.tide import Tide, is_tidal

LONGEST_TRIES = 4


class Disk:
    """Stands in for the proxy's directory."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def load(self) -> RouteTable:
        data = self._machine.disk.get("routes")
        return from_bytes(RouteTable, data) if data is not None else RouteTable()

    def save(self, table: RouteTable) -> None:
        if not here().dead and not self._machine.disk_broken:
            self._machine.disk["routes"] = to_bytes(table)


class Workers:
    """Stands in for the Supervisor: `table` is the latest, `balance` has what the slowest worker serves."""

    def __init__(self, machine: Machine, applied: Callable[["Workers"], None]) -> None:
        self.table = Table()
        self.balance = Balance()
        self.errors_changed = asyncio.Event()
        self.held = asyncio.Event()
        self._machine = machine
        self._applied = applied
        self._tally = Tally()
        self.apply_s = 0.005

    async def replace(self, table: RouteTable) -> None:
        await self._apply(build(table))

    async def change(self, from_version: int, to_version: int, puts: tuple[Route, ...], removes: tuple[RouteId, ...]) -> None:
        await self._apply(advance(self.table, from_version, to_version, puts, removes))

    async def changes(self, *, whole: bool = False) -> Figures:
        await asyncio.sleep(0.001)
        self._tally.take(0, self.balance.changes())
        return self._tally.all() if whole else self._tally.changes()

    async def certify(self, puts: tuple[ServedCertificate, ...], hosts: frozenset[str]) -> None:
        """No route of this world has TLS."""

    def listener_errors(self) -> tuple[ListenerError, ...]:
        return ()

    async def _apply(self, table: Table) -> None:
        self.table = table
        await asyncio.sleep(self._machine.random.uniform(0.0, self.apply_s))
        self.balance.apply(table)
        self._applied(self)


@dataclass(eq=False, slots=True, kw_only=True)
class Request:
    endpoint: LiveEndpoint
    life: int


class Proxy:
    """One process. `reach` finds the container behind an address and port: which life it is in, or None."""

    def __init__(
        self,
        machine: Machine,
        *,
        reach: Callable[[str, int], int | None],
        applied: Callable[[Workers], None],
        tidal: bool = False,
    ) -> None:
        self.machine = machine
        self.workers = Workers(machine, applied)
        self.in_flight: dict[Request, None] = {}
        self.served = self.refused = self.broken = 0
        self.rate = 2.0  # requests a second for each route
        self._reach = reach
        self.tide: Tide | None = Tide(self) if tidal else None

    async def serve(self) -> None:
        disk = Disk(self.machine)
        await self.workers.replace(disk.load())
        info = ProxyInfo(id=self.machine.name, hostname=self.machine.name)
        standing = Standing(
            Path("/sim"), "m:7070", "proxy", Wanted(token=None, insecure=True), logging.getLogger("rookery.proxy")
        )
        follower = Follower("m:7070", info, self.workers, disk, standing)  # type: ignore[arg-type]
        async with asyncio.TaskGroup() as group:
            group.create_task(follower.run())
            group.create_task(self._take_requests())
            if self.tide is not None:
                group.create_task(self.tide.run())

    def serves(self, replica_id: ReplicaId) -> bool:
        routes = self.workers.balance.routes.values()
        return any(endpoint.replica_id == replica_id for live in routes for endpoint in live.endpoints)

    def notice_end(self, replica_id: ReplicaId) -> None:
        """The connections to a replica that ended break."""
        for request in [request for request in self.in_flight if request.endpoint.replica_id == replica_id]:
            self._finish(request)

    def flying_on(self, replica_id: ReplicaId) -> int:
        return sum(request.endpoint.replica_id == replica_id for request in self.in_flight)

    async def _take_requests(self) -> None:
        rng, loop = self.machine.random, asyncio.get_running_loop()
        while True:
            await asyncio.sleep(rng.expovariate(self.rate))
            routes = self.workers.balance.routes
            steady = [route_id for route_id, live in routes.items() if not is_tidal(live)]
            if steady:
                live = routes[rng.choice(steady)]
                request = self._begin(live, loop.time())
                if request is not None:
                    loop.call_later(min(20.0, rng.expovariate(rng.choice([20.0, 2.0, 0.3]))), self._finish, request)

    def begin(self, live: LiveRoute, now: float, lasts_s: float) -> bool:
        """Whether an endpoint took the request."""
        request = self._begin(live, now)
        if request is not None:
            asyncio.get_running_loop().call_later(lasts_s, self._finish, request)
        return request is not None

    def _begin(self, live: LiveRoute, now: float) -> Request | None:
        tried: set[LiveEndpoint] = set()
        point = live.draw()
        for _ in range(LONGEST_TRIES):
            endpoint = live.choose_at(point, now, tried)
            if endpoint is None:
                break
            life = self._reach(*endpoint.address)
            if life is not None:
                endpoint.failures = 0
                endpoint.requests += 1
                endpoint.in_flight += 1
                if not live.touched:
                    live.touch()
                request = Request(endpoint=endpoint, life=life)
                self.in_flight[request] = None
                return request
            live.connect_failed(endpoint, now)
            tried.add(endpoint)
        self.refused += 1
        return None

    def _finish(self, request: Request) -> None:
        if request not in self.in_flight:
            return
        del self.in_flight[request]
        request.endpoint.in_flight -= 1
        if self._reach(*request.endpoint.address) == request.life:
            self.served += 1
            request.endpoint.answered(200, 0.05)
        else:
            self.broken += 1
            request.endpoint.errors_upstream += 1
