"""Keeps the kernel's rules as this node's replicas and the manager's word ask for them, whoever removes them.

Invariant: a replica starts only when what comes out of its networks is judged, or when `why` says that it is not. A wake-up
carries no data. The rules outlive the agent as replicas do, and go when nothing of this node runs any more.
"""

import asyncio
import ipaddress
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from rookery.model import Reach

from rookery_agent.isolation.nft import Nft, NftFailure, NoSuchTable
from rookery_agent.isolation.ruleset import Inside, Seat, bridges_in, removal, ruleset, table_name
from rookery_agent.runtime.blocking import Calls
from rookery_agent.runtime.protocol import RuntimeFailure

log = logging.getLogger("rookery.agent")

CONDITION = "isolation-off"
_LOOK_S = 5.0  # how often the kernel is looked at, and asked again where it refused
_RESOLVE_S = 60.0
_SETTLE_S = 0.05  # several replicas that start together are told of together


class Containers(Protocol):
    """The runtime whose containers these are. Both raise EngineAway."""

    async def inside(self) -> Inside:
        """Where this node's running replicas are."""

    async def neighbours(self) -> tuple[Seat, ...]:
        """Where those of other agents on the same engine are."""


class Isolation:
    """`why` says what is not enforced and how that is mended; empty while all is. `manager` is HOST:PORT; `ports` are open to
    every replica; `shared` is the network at whose addresses replicas answer, if there is one (it is every app's)."""

    def __init__(
        self,
        node_id: str,
        reach: Reach,
        *,
        manager: str,
        ports: tuple[int, ...],
        shared: str,
        keep: Callable[[Reach], Awaitable[None]],
        nft: Nft | None = None,
    ) -> None:
        self._table = table_name(node_id)
        self._reach = reach
        self._kept = reach
        self._host, _, _ = manager.rpartition(":")
        self._manager: tuple[str, ...] = ()
        self._resolved_at = -_RESOLVE_S
        self._ports = ports
        self._shared = shared
        self._keep = keep
        self._nft = nft or Nft()
        self._calls = Calls("manager's address", 1)
        self._inside = Inside()
        self._covered: Mapping[str, str] = {}  # the bridges that are judged by what is in force
        self._neighbours: tuple[Seat, ...] = ()
        self._asked_at = -_LOOK_S
        self._script: str | None = None  # that is in force, empty where nothing need be; None: not known
        self._print = ""  # of the table as the kernel showed it then
        self._looked_at = 0.0
        self._failed = ""  # what the kernel, or nft, said last
        self._elsewhere: set[str] = set()  # bridges that are not here
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()

    @property
    def why(self) -> str:
        found = [self._failed] if self._failed else []
        if self._elsewhere:
            names = ", ".join(sorted(self._elsewhere)[:3])
            found.append(
                f"the engine's networks ({names}) are not in this agent's network namespace; run the agent beside its engine, "
                "outside of a container or with the host's network"
            )
        if self._shared:
            found.append(f"replicas of all apps are on the network {self._shared} (--endpoints network:{self._shared})")
        return "; ".join(found)

    def take(self, reach: Reach) -> None:
        """What the manager says now."""
        self._reach = reach
        self._wake.set()

    def moved(self) -> None:
        """Replicas have come to addresses, or left them."""
        self._wake.set()

    async def cover(self, bridges: Mapping[str, str]) -> None:
        """What comes out of these bridges is judged when this returns; where it can't be, `why` says so."""
        if bridges.items() <= self._covered.items():
            return
        async with self._lock:
            await self._settle(replace(self._inside, bridges={**self._inside.bridges, **bridges}))

    async def run(self, containers: Containers) -> None:
        await self._sweep()
        while True:
            async with self._lock:
                with suppress(RuntimeFailure):  # the engine is away: what it said last counts
                    if self._asks_for_services() and time.monotonic() > self._asked_at + _LOOK_S * 0.9:
                        self._asked_at = time.monotonic()
                        self._neighbours = await containers.neighbours()
                    self._inside = await containers.inside()
                await self._resolve()
                await self._settle(self._inside)
            if self._reach != self._kept:
                with suppress(OSError):
                    await self._keep(self._reach)
                    self._kept = self._reach
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._wake.wait()
            await asyncio.sleep(_SETTLE_S)
            self._wake.clear()

    async def remove(self) -> None:
        """Nothing of this node runs any more."""
        async with self._lock:
            self._inside = Inside()
            await self._settle(self._inside)
        self._nft.close()

    def _asks_for_services(self) -> bool:
        return any(opening.service for opening in self._reach.openings)

    async def _settle(self, inside: Inside) -> None:
        """The rules are those that `inside` asks for. Says where they can't be."""
        self._inside = inside
        before = self.why
        self._elsewhere = inside.bridges.keys() - {name for _, name in socket.if_nameindex()}
        reach = replace(self._reach, machines=(*self._reach.machines, *self._manager))
        seen = replace(inside, seats=inside.seats + self._neighbours)
        script = ruleset(self._table, seen, reach, ports=self._ports) if inside.bridges else ""
        try:
            if script != self._script or await self._lost():
                await self._nft.put(script or removal(self._table))
                self._print = _fingerprint(await self._nft.listed(self._table)) if script else ""
                self._script, self._covered = script, inside.bridges
            self._failed = ""
        except NftFailure as error:
            self._script, self._covered, self._failed = None, {}, str(error)
        if self.why and self.why != before:
            log.warning("replicas here can reach what they should not: %s", self.why)
        elif before and not self.why:
            log.info("replicas here are kept from what they should not reach")

    async def _lost(self) -> bool:
        """Whether the kernel has something else by now; looked at now and then."""
        now = time.monotonic()
        if not self._script or now < self._looked_at + _LOOK_S * 0.9:
            return False
        self._looked_at = now
        try:
            lost = _fingerprint(await self._nft.listed(self._table)) != self._print
        except NoSuchTable:
            lost = True
        if lost:
            log.warning("somebody changed the table %s, which keeps replicas apart: it is put in force again", self._table)
        return lost

    async def _resolve(self) -> None:
        """Where the manager is; what was found last counts while its name can't be looked up."""
        now = time.monotonic()
        if now < self._resolved_at + _RESOLVE_S:
            return
        self._resolved_at = now
        host = self._host.strip("[]")
        with suppress(OSError, TimeoutError):
            found = await self._calls.run(lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM), 5.0)
            self._manager = tuple(sorted({str(ipaddress.ip_address(str(item[4][0]).partition("%")[0])) for item in found}))

    async def _sweep(self) -> None:
        """Removes tables of agents that are gone with all that they ran: none of their bridges is there any more."""
        here = {name for _, name in socket.if_nameindex()}
        try:
            for table in await self._nft.tables(table_name("")):
                if table == self._table:
                    continue
                with suppress(NoSuchTable):
                    if not bridges_in(await self._nft.listed(table)) & here:
                        log.info("table %s is of an agent whose networks are gone; it is removed", table)
                        await self._nft.put(removal(table))
        except NftFailure as error:
            log.debug("no look at the kernel's tables: %s", error)


def _fingerprint(listing: str) -> str:
    """What two listings of the same rules have in common: sets are listed in any order."""
    return " ".join(sorted(listing.replace(",", " ").split()))
