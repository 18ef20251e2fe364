"""Runs the parts of a cluster on this machine until it is told to stop, then stops them in the reverse order.

Invariant: when this returns, none of the processes that it started is left.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from rookery.cli.local import parts as parts_of
from rookery.cli.local import record, strays
from rookery.cli.local.parts import Part, Wanted
from rookery.cli.local.processes import RunningPart
from rookery.client import AsyncClient, ClientError
from rookery.identity import load
from rookery.model import NodeState

_READY_WITHIN_S = 60.0
_LOOK_EVERY_S = 0.1


class CannotStart(Exception):
    """The cluster did not come up, and why."""


class Supervisor:
    """`tell` hears what a person should know, `announce` that it is up, with the manager's address."""

    def __init__(self, wanted: Wanted, *, verbose: bool, tell: Callable[[str], None], announce: Callable[[str], None]) -> None:
        self._wanted = wanted
        self._verbose = verbose
        self._tell = tell
        self._announce = announce
        self._running: list[RunningPart] = []  # in the order in which they were started
        self._tasks: list[asyncio.Task[None]] = []
        self._died: asyncio.Event = asyncio.Event()
        self._stop: asyncio.Event = asyncio.Event()
        self._ready = False
        self._address = ""
        self._me = record.Process(name="up", pid=os.getpid(), born=record.born(os.getpid()))

    async def run(self) -> None:
        """Raises CannotStart. The caller holds the lock."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal)
        self._write_record()
        try:
            await self._start_all()
            if not self._stop.is_set():
                self._ready = True
                self._write_record()
                self._announce(self._address)
                await self._stop.wait()
        finally:
            self._ready = False
            await self._stop_all()
            self._write_record()

    def _on_signal(self) -> None:
        if self._stop.is_set():  # asked twice: no more patience
            for part in self._running:
                part.kill()
        self._stop.set()

    async def _start_all(self) -> None:
        wanted = self._wanted
        rotate_logs(wanted.data / "logs")
        at = parts_of.manager_data(wanted) / "address"
        at.unlink(missing_ok=True)
        self._start(parts_of.manager(wanted, wanted.port))
        await self._until(lambda: _read_address(at) != "", "the manager does not listen")
        self._address = _read_address(at)
        if not self._address:
            return
        port = int(self._address.rpartition(":")[2])
        self._running[0].part = parts_of.manager(wanted, port)  # started again, it must be where the others look for it
        for part in (*parts_of.agents(wanted, self._address), parts_of.proxy(wanted, self._address)):
            self._start(part)
        await self._until_complete()

    async def _until_complete(self) -> None:
        missing = "the cluster is not complete"
        deadline = time.monotonic() + _READY_WITHIN_S
        identity = None if self._wanted.insecure else load(parts_of.credential(self._wanted))
        async with AsyncClient(self._address, timeout_s=2.0, identity=identity, insecure=self._wanted.insecure) as client:
            while not (self._stop.is_set() or self._died.is_set()):
                with contextlib.suppress(ClientError):
                    missing = await self._missing(client)
                if not missing:
                    return
                if time.monotonic() > deadline:
                    raise CannotStart(f"{missing} after {_READY_WITHIN_S:g} s; the logs are in {self._wanted.data / 'logs'}")
                await asyncio.sleep(_LOOK_EVERY_S)
        self._raise_if_died()

    async def _missing(self, client: AsyncClient) -> str:
        """What the cluster still lacks; nothing when it is complete."""
        details = await client.list_nodes()
        # After a restart the manager knows nodes from before, which count only when their agents were heard.
        here = {detail.node.name for detail in details if detail.node.state is NodeState.READY and detail.last_seen_at}
        away = [name for name in parts_of.node_names(self._wanted) if name not in here]
        if away:
            return f"node {', '.join(away)} has not joined"
        if not any(proxy.connected for proxy in await client.list_proxies()):
            return "the proxy has not connected"
        return ""

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _READY_WITHIN_S
        while not (condition() or self._stop.is_set() or self._died.is_set()):
            if time.monotonic() > deadline:
                raise CannotStart(f"{what} after {_READY_WITHIN_S:g} s; the logs are in {self._wanted.data / 'logs'}")
            await asyncio.sleep(_LOOK_EVERY_S)
        self._raise_if_died()

    def _raise_if_died(self) -> None:
        if self._died.is_set() and not self._stop.is_set():
            raise CannotStart("a part ended before the cluster was up")

    def _start(self, part: Part) -> None:
        log = self._wanted.data / "logs" / f"{part.name}.log"
        running = RunningPart(part, log, echo=self._verbose, tell=self._tell, moved=self._write_record)
        self._running.append(running)
        self._tasks.append(asyncio.create_task(self._keep(running)))  # owned: `_stop_all` awaits every one

    async def _keep(self, running: RunningPart) -> None:
        try:
            await running.run(restart=lambda: self._ready)
        finally:
            if not self._stop.is_set():
                self._died.set()

    async def _stop_all(self) -> None:
        manager, agents, proxies = _by_kind(self._running)
        pools = parts_of.manager_data(self._wanted).absolute() / "pools"
        await asyncio.gather(*(part.stop() for part in proxies))
        await asyncio.gather(strays.stop(pools, tell=self._tell), *(part.stop() for part in agents))
        await asyncio.gather(*(part.stop() for part in manager))
        await strays.end(pools)
        for task in self._tasks:
            task.cancel()  # one that waits to start its part again
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _write_record(self) -> None:
        alive = [(part.part.name, part.pid) for part in self._running if part.pid is not None]
        processes = tuple(record.Process(name=name, pid=pid, born=record.born(pid)) for name, pid in alive)
        now = record.Record(supervisor=self._me, manager=self._address, ready=self._ready, parts=processes)
        record.write(self._wanted.data, now)


def _by_kind(running: Iterable[RunningPart]) -> tuple[list[RunningPart], list[RunningPart], list[RunningPart]]:
    kinds: dict[str, list[RunningPart]] = {parts_of.MANAGER: [], parts_of.AGENT: [], parts_of.PROXY: []}
    for part in running:
        kinds[part.part.module].append(part)
    return kinds[parts_of.MANAGER], kinds[parts_of.AGENT], kinds[parts_of.PROXY]


def _read_address(path: Path) -> str:
    try:
        text = path.read_text().strip()
    except OSError:
        return ""
    return text if text.rpartition(":")[2].isdecimal() else ""


def rotate_logs(folder: Path) -> None:
    """The logs of the run before are kept beside, those of earlier ones are not."""
    folder.mkdir(parents=True, exist_ok=True)
    for log in folder.glob("*.log"):
        log.replace(log.with_suffix(".log.1"))
