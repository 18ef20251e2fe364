"""The supervising process: keeps the workers alive, their tables alike, the ports open, and adds up their figures.

Invariant: `apply` returns only when every worker serves that version; a worker that died is replaced with the same table and the
same listening sockets.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass

from rookery.model import ListenerError, Route, RouteId, RouteTable, ServedCertificate

from rookery_proxy.access import Format
from rookery_proxy.certificates import Certificate, Folder, tls_faults
from rookery_proxy.control import Applied, Change, Channel, Count, Drain, Held, Listen, Message, Replace, Secure, Unlisten, packed
from rookery_proxy.managed import Managed
from rookery_proxy.ports import Ports
from rookery_proxy.settings import Here, Limits, Marks
from rookery_proxy.stats import Figures, merge
from rookery_proxy.table import Table, advance, build
from rookery_proxy.tally import Tally

_APPLY_S = 30.0  # a worker that takes longer over a table is replaced
_APPLY_ENDPOINT_S = 0.002  # beyond that, for each endpoint: some 30 times what it takes, for machines that are busy
_FIGURES_S = 2.0
_RETRY_PORTS_S = 1.0
_QUICK_DEATH_S = 1.0
_CERTIFICATES_S = 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where requests are logged: a file, `-` for standard output; empty: nowhere."""

    path: str = ""
    format: Format = Format.JSON


NO_ACCESS_LOG = Access()


class _Child:
    """One worker process."""

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self.process = process
        self.channel = channel
        self.applied = -1
        self.counts_wanted = {True: 0, False: 0}  # by whether changes are
        self.figures = Figures()  # all, when they were last asked for
        self.alive = True

    def kill(self) -> None:
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()


class Supervisor:
    def __init__(
        self,
        *,
        bind: str,
        workers: int,
        limits: Limits,
        access: Access = NO_ACCESS_LOG,
        here: Here | None = None,
        marks: Marks | None = None,
        certificates: Folder | None = None,
        managed: Managed | None = None,
        log_level: str = "info",
    ) -> None:
        self.table = Table()
        self._ports = Ports(bind, workers)
        self._size = workers
        self._limits = limits
        self._access = access
        self._here = here or Here()
        self._marks = marks or Marks()
        self.certificates = certificates
        self._managed = managed
        self._told_faults: tuple[ListenerError, ...] = ()
        self._log_level = log_level
        self._children: dict[int, _Child] = {}
        self._tally = Tally()
        self._progress = asyncio.Event()
        self._stopping = False
        self.errors_changed = asyncio.Event()
        self.held = asyncio.Event()

    async def run(self) -> None:
        """Keeps all workers running until cancelled."""
        async with asyncio.TaskGroup() as group:
            for index in range(self._size):
                group.create_task(self._keep(index))
            group.create_task(self._retry_ports())
            if self.certificates is not None:
                group.create_task(self._follow_certificates(self.certificates))

    async def replace(self, table: RouteTable) -> None:
        """Serves a whole table; returns when all workers do."""
        before, built = self.table.routes.keys(), build(table)
        await self._apply(built, Replace(table=table))
        self._tally.forget(before - built.routes.keys())

    async def change(self, from_version: int, to_version: int, puts: tuple[Route, ...], removes: tuple[RouteId, ...]) -> None:
        """Serves a delta; returns when all workers do. Raises Gap when it does not fit."""
        table = advance(self.table, from_version, to_version, puts, removes)
        await self._apply(table, Change(from_version=from_version, to_version=to_version, puts=puts, removes=removes))
        self._tally.forget([route_id for route_id in removes if route_id not in table.routes])

    async def figures(self) -> Figures:
        """All figures of all workers, just taken; of one that does not answer, its latest."""
        await self._count(changes=False)
        return merge(self._tally.retained, [child.figures for child in self._children.values()])

    async def changes(self, *, whole: bool = False) -> Figures:
        """As `figures`, but only what may have changed since this was last called, or (`whole`) once more all of it.

        Costs what happened, and is for one caller, who adds it up. Past figures are not in it."""
        await self._count(changes=True)
        return self._tally.all() if whole else self._tally.changes()

    async def _count(self, *, changes: bool) -> None:
        """Has the workers tell what they counted."""
        asked = list(self._children.values())
        for child in asked:
            child.counts_wanted[changes] += 1
            self._send(child, Count(changes=changes))
        deadline = time.monotonic() + _FIGURES_S
        while any(child.alive and child.counts_wanted[changes] for child in asked) and time.monotonic() < deadline:
            await self._wait(deadline)

    def listener_errors(self) -> tuple[ListenerError, ...]:
        """What of the table can't be served, and why."""
        faults = [ListenerError(port=self.table.routes[route_id].port, why=why) for route_id, why in self.table.faults.items()]
        faults += [
            ListenerError(port=port, why=why)
            for port, why in tls_faults(self.table, self.certificates, time.time(), self._of_manager())
        ]
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
            child.kill()

    # ---- tables and ports ----

    async def _apply(self, table: Table, message: Message) -> None:
        self.table = table
        data = packed(message)
        for child in self._children.values():
            self._send(child, data)
        self._reconcile_ports()
        began = time.monotonic()
        deadline = began + _APPLY_S
        while not self._all_serve(table.version):
            if time.monotonic() >= deadline:
                limit_s = _APPLY_S + _APPLY_ENDPOINT_S * sum(len(route.endpoints) for route in table.routes.values())
                if deadline < began + limit_s:
                    deadline = began + limit_s
                    continue
                for child in self._children.values():
                    if child.applied != table.version:
                        log.error(
                            "worker %d did not take the route table over within %g s and is replaced", child.process.pid, limit_s
                        )
                        child.kill()
                began = time.monotonic()
                deadline = began + limit_s
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

    async def _follow_certificates(self, folder: Folder) -> None:
        self._told_faults = self.listener_errors()
        while True:
            await asyncio.sleep(_CERTIFICATES_S)
            if await asyncio.to_thread(folder.look):
                self._secure()
            self._tell_faults()

    async def certify(self, puts: tuple[ServedCertificate, ...], hosts: frozenset[str]) -> None:
        """Serves what the manager sent: new certificates, and of all that it has those of `hosts` alone."""
        if self._managed is not None and await asyncio.to_thread(self._managed.take, puts, hosts):
            self._secure()
            self._tell_faults()
            self.errors_changed.set()  # what was told with the table may be over

    def _secure(self) -> None:
        certificates = self.served()
        log.info("%d certificates are served", len(certificates))
        for child in self._children.values():
            self._send(child, Secure(certificates=certificates))

    def served(self) -> tuple[Certificate, ...]:
        """Those of the operator's directory go first: one that is there for a host was put there on purpose."""
        return (*(self.certificates.certificates if self.certificates is not None else ()), *self._of_manager())

    def _of_manager(self) -> tuple[Certificate, ...]:
        return self._managed.certificates if self._managed is not None else ()

    def _tell_faults(self) -> None:
        errors = self.listener_errors()
        for error in errors:
            if error not in self._told_faults:
                log.error("port %d: %s", error.port, error.why)
        if errors != self._told_faults:
            self._told_faults = errors
            self.errors_changed.set()

    # ---- workers ----

    async def _keep(self, index: int) -> None:
        said = ""
        while True:
            started = time.monotonic()
            try:
                child = await self._start(index)
            except OSError as error:  # no descriptors, processes or memory: those that run go on
                why = error.strerror or str(error)
                if why != said:
                    log.error("a worker can't be started: %s; that is tried again every %g s", why, _QUICK_DEATH_S)
                said = why
                await asyncio.sleep(_QUICK_DEATH_S)
                continue
            said = ""
            try:
                status = await child.process.wait()
            except asyncio.CancelledError:
                child.kill()
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
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "rookery_proxy.worker", f"--control={theirs.fileno()}", f"--log-level={self._log_level}",
                f"--most-connections={self._limits.connections}", f"--head-timeout={self._limits.head_s}",
                f"--idle-timeout={self._limits.idle_s}", f"--access-log={self._access.path}",
                f"--access-log-format={self._access.format}", f"--node={self._here.node}", f"--share={1 / self._size}",
                *(f"--announced-from={network}" for network in self._marks.announced_from),
                *(("--request-ids",) if self._marks.request_ids else ()), *(("--forwarded",) if self._marks.forwarded else ()),
                *(f"--label={key}={value}" for key, value in self._here.labels.items()),
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
            )  # fmt: skip
            undo.pop_all()
        child = _Child(process, Channel(ours))
        self._children[index] = child
        asyncio.get_running_loop().add_reader(ours, self._on_readable, child)
        routes = tuple(self.table.routes.values())
        self._send(child, Replace(table=RouteTable(version=self.table.version, routes=routes)))
        if served := self.served():
            self._send(child, Secure(certificates=served))
        for port, sockets in self._ports.sockets.items():
            self._send(child, Listen(port=port), sockets[index])
        return child

    def _bury(self, index: int, child: _Child) -> None:
        child.alive = False
        loop = asyncio.get_running_loop()
        loop.remove_reader(child.channel.sock)
        loop.remove_writer(child.channel.sock)
        child.channel.drop()
        child.channel.sock.close()
        if self._children.get(index) is child:
            del self._children[index]
            if not self._stopping:
                self._tally.bury(id(child))
        self._progress.set()

    def _send(self, child: _Child, message: Message | bytes, sock: socket.socket | None = None) -> None:
        """Sends a message, or one that is packed already."""
        if not child.alive or child.channel.closed:
            return
        data = message if isinstance(message, bytes) else packed(message)
        child.channel.send_packed(data, sock.fileno() if sock is not None else None)
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
                case Figures(changes=changes):
                    if changes:
                        self._tally.take(id(child), message)
                    else:
                        child.figures = message
                    child.counts_wanted[changes] = max(0, child.counts_wanted[changes] - 1)
                case Held():
                    self.held.set()
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
