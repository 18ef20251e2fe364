"""The supervising process: keeps the workers alive, their tables alike, the ports open, and adds up their figures.

Invariant: `apply` returns only when every worker serves that version; a worker that died is replaced with the same table and the
same listening sockets.
"""

import asyncio
import logging
import signal
import socket
import subprocess
import sys
import time

from rookery.model import ListenerError, Route, RouteId, RouteTable

from rookery_proxy.control import Applied, Change, Channel, Count, Drain, Listen, Message, Replace, Unlisten
from rookery_proxy.ports import Ports
from rookery_proxy.stats import Figures, Retained, merge, retain
from rookery_proxy.table import Table, advance, build

_APPLY_S = 10.0  # a worker that takes longer over a table is replaced
_FIGURES_S = 2.0
_RETRY_PORTS_S = 1.0
_QUICK_DEATH_S = 1.0

log = logging.getLogger(__name__)


class _Child:
    """One worker process."""

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self.process = process
        self.channel = channel
        self.applied = -1
        self.counts_wanted = 0
        self.figures = Figures()
        self.alive = True


class Supervisor:
    def __init__(self, *, bind: str, workers: int, log_level: str = "info") -> None:
        self.table = Table()
        self._ports = Ports(bind, workers)
        self._size = workers
        self._log_level = log_level
        self._children: dict[int, _Child] = {}
        self._retained = Retained()
        self._progress = asyncio.Event()
        self._stopping = False
        self.errors_changed = asyncio.Event()

    async def run(self) -> None:
        """Keeps all workers running until cancelled."""
        async with asyncio.TaskGroup() as group:
            for index in range(self._size):
                group.create_task(self._keep(index))
            group.create_task(self._retry_ports())

    async def replace(self, table: RouteTable) -> None:
        """Serves a whole table; returns when all workers do."""
        await self._apply(build(table), Replace(table=table))

    async def change(self, from_version: int, to_version: int, puts: tuple[Route, ...], removes: tuple[RouteId, ...]) -> None:
        """Serves a delta; returns when all workers do. Raises Gap when it does not fit."""
        table = advance(self.table, from_version, to_version, puts, removes)
        await self._apply(table, Change(from_version=from_version, to_version=to_version, puts=puts, removes=removes))

    async def figures(self) -> Figures:
        """The figures of all workers, just taken; of one that does not answer, its latest."""
        asked = list(self._children.values())
        for child in asked:
            child.counts_wanted += 1
            self._send(child, Count())
        deadline = time.monotonic() + _FIGURES_S
        while any(child.alive and child.counts_wanted for child in asked) and time.monotonic() < deadline:
            await self._wait(deadline)
        return merge(self._retained, [child.figures for child in self._children.values()])

    def listener_errors(self) -> tuple[ListenerError, ...]:
        """What of the table can't be served, and why."""
        faults = [ListenerError(port=self.table.routes[route_id].port, why=why) for route_id, why in self.table.faults.items()]
        return (*faults, *(ListenerError(port=port, why=why) for port, why in sorted(self._ports.errors.items())))

    def pids(self) -> list[int]:
        return [child.process.pid for child in self._children.values() if child.alive]

    async def drain(self, timeout_s: float) -> None:
        """Listens no more, lets what is in flight finish, and ends the workers."""
        self._stopping = True
        children = list(self._children.values())
        for child in children:
            self._send(child, Drain(timeout_s=timeout_s))
        self._ports.close()
        deadline = time.monotonic() + timeout_s + 2.0
        while any(child.alive for child in children) and time.monotonic() < deadline:
            await self._wait(deadline)
        for child in children:
            if child.alive:
                child.process.kill()

    # ---- tables and ports ----

    async def _apply(self, table: Table, message: Message) -> None:
        self.table = table
        for child in self._children.values():
            self._send(child, message)
        self._reconcile_ports()
        deadline = time.monotonic() + _APPLY_S
        while not self._all_serve(table.version):
            if time.monotonic() >= deadline:
                for child in self._children.values():
                    if child.applied != table.version:
                        log.error(
                            "worker %d did not take the route table over within %g s and is replaced", child.process.pid, _APPLY_S
                        )
                        child.process.kill()
                deadline += _APPLY_S
            await self._wait(deadline)

    def _all_serve(self, version: int) -> bool:
        return len(self._children) == self._size and all(child.applied == version for child in self._children.values())

    def _reconcile_ports(self) -> None:
        errors = dict(self._ports.errors)
        opened, closed = self._ports.reconcile(self.table.listeners)
        for index, child in self._children.items():
            for port in closed:
                self._send(child, Unlisten(port=port))
            for port in opened:
                self._send(child, Listen(port=port), self._ports.sockets[port][index])
        for port, why in self._ports.errors.items():
            if errors.get(port) != why:
                log.error("%s", why)
        if errors != self._ports.errors:
            self.errors_changed.set()

    async def _retry_ports(self) -> None:
        while True:
            await asyncio.sleep(_RETRY_PORTS_S)
            if self._ports.errors and not self._stopping:
                self._reconcile_ports()

    # ---- workers ----

    async def _keep(self, index: int) -> None:
        while True:
            started = time.monotonic()
            child = await self._start(index)
            try:
                status = await child.process.wait()
            except asyncio.CancelledError:
                child.process.kill()
                await child.process.wait()
                raise
            finally:
                self._bury(index, child)
            if self._stopping:
                await asyncio.Event().wait()
            log.error("worker %d ended (%s) and is replaced", child.process.pid, _how_ended(status))
            if time.monotonic() - started < _QUICK_DEATH_S:
                await asyncio.sleep(_QUICK_DEATH_S)

    async def _start(self, index: int) -> _Child:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "rookery_proxy.worker", f"--control={theirs.fileno()}", f"--log-level={self._log_level}",
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
            )  # fmt: skip
        child = _Child(process, Channel(ours))
        self._children[index] = child
        asyncio.get_running_loop().add_reader(ours, self._on_readable, child)
        routes = tuple(self.table.routes.values())
        self._send(child, Replace(table=RouteTable(version=self.table.version, routes=routes)))
        for port, sockets in self._ports.sockets.items():
            self._send(child, Listen(port=port), sockets[index])
        return child

    def _bury(self, index: int, child: _Child) -> None:
        child.alive = False
        loop = asyncio.get_running_loop()
        loop.remove_reader(child.channel.sock)
        loop.remove_writer(child.channel.sock)
        child.channel.sock.close()
        if self._children.get(index) is child:
            del self._children[index]
            self._retained = retain(self._retained, child.figures)
        self._progress.set()

    def _send(self, child: _Child, message: Message, descriptor: int | socket.socket | None = None) -> None:
        if not child.alive or child.channel.closed:
            return
        number = descriptor.fileno() if isinstance(descriptor, socket.socket) else descriptor
        child.channel.send(message, number)
        if child.channel.waiting:
            asyncio.get_running_loop().add_writer(child.channel.sock, self._on_writable, child)

    def _on_writable(self, child: _Child) -> None:
        child.channel.flush()
        if not child.channel.waiting:
            asyncio.get_running_loop().remove_writer(child.channel.sock)

    def _on_readable(self, child: _Child) -> None:
        for message in child.channel.receive():
            match message:
                case Applied(version=version):
                    child.applied = version
                case Figures():
                    child.figures = message
                    child.counts_wanted = max(0, child.counts_wanted - 1)
                case _:
                    log.error("a message that is not for the supervising process: %r", message)
        if child.channel.closed:
            asyncio.get_running_loop().remove_reader(child.channel.sock)
        self._progress.set()

    async def _wait(self, deadline: float) -> None:
        """Waits until a worker has said something, or the deadline (monotonic) passed."""
        self._progress.clear()
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await self._progress.wait()
        except TimeoutError:
            pass


def _how_ended(status: int) -> str:
    return f"status {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"
