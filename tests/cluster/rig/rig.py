"""A rig as a whole: made on entry, and gone without a trace on exit, whatever happened between."""

import contextlib
import itertools
import signal
import socket
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from rig import clock
from rig.host import Host
from rig.image import busybox_archive
from rig.ledger import Ledger, accept_forwarding
from rig.machine import missing, run, storage_driver
from rig.parts import Agent, Manager, Part, Proxy

P = TypeVar("P", bound=Part)

_PORTS = itertools.count(7_070)


class Rig:
    """Hosts h1 to hN on one bridge, each with an engine that has the busybox image. Use it as a context manager.

    Manager and proxy run in the machine's own namespace, at the gateway's address, unless a host is named for them.
    """

    def __init__(self, hosts: int, *, engines: bool = True) -> None:
        why = missing()
        if why:
            raise RuntimeError(why)
        for abandoned in Ledger.abandoned():
            abandoned.take_down()
        self.ledger = Ledger.take()
        self.folder.mkdir(parents=True)
        driver = storage_driver(self.folder)
        self.hosts = [Host(self.ledger, index, driver) for index in range(1, hosts + 1)]
        self.parts: list[Part] = []
        self._engines = engines
        self._handlers: dict[int, object] = {}

    @property
    def folder(self) -> Path:
        return self.ledger.folder

    @property
    def gateway(self) -> str:
        return self.ledger.gateway

    def __enter__(self) -> "Rig":
        try:
            with contextlib.suppress(ValueError):  # only the main thread can take signals
                self._handlers = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _build(self) -> None:
        run("ip", "link", "add", self.ledger.bridge, "type", "bridge")
        run("ip", "addr", "add", f"{self.gateway}/24", "dev", self.ledger.bridge)
        run("ip", "link", "set", self.ledger.bridge, "up")
        accept_forwarding(self.ledger.bridge, True)
        for host in self.hosts:
            host.plug_in()
        if not self._engines:
            return
        for host in self.hosts:
            host.engine.start()
        archive = busybox_archive()

        def prepare(host: Host) -> None:
            host.engine.wait_ready()
            host.engine.load(archive)

        with ThreadPoolExecutor(len(self.hosts)) as pool:
            list(pool.map(prepare, self.hosts))

    def close(self) -> None:
        for host in self.hosts:
            host.engine.close()
        self.ledger.take_down()
        for process in [*(host.engine.process for host in self.hosts), *(part.process for part in self.parts)]:
            if process is not None:
                process.wait(timeout=10)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def manager(
        self,
        *,
        host: Host | None = None,
        heartbeat_s: float = 1,
        lease_s: float = 3,
        name: str = "manager",
        disk_bytes: int = 0,
        own_clock: bool = False,
    ) -> Manager:
        """A manager with an empty store, started; with a disk of its own and a clock that can be set, if so asked."""
        namespace, address = (host.namespace, host.address) if host else ("", self.gateway)
        part = Manager(
            namespace=namespace,
            folder=self.folder / name,
            address=address,
            port=free_port(address if not host else ""),
            heartbeat_s=heartbeat_s,
            lease_s=lease_s,
            disk_bytes=disk_bytes,
        )
        return self._begin(part, own_clock=own_clock)

    def agent(
        self,
        host: Host,
        manager: Manager,
        *arguments: str,
        name: str = "",
        folder: str = "",
        disk_bytes: int = 0,
        own_clock: bool = False,
    ) -> Agent:
        """An agent of a host and its engine, started; `arguments` are added to its command line."""
        label = name or host.name
        part = Agent(
            label,
            namespace=host.namespace,
            folder=self.folder / (folder or f"agent-{label}"),
            address=host.address,
            manager=manager,
            arguments=["--runtime", "docker", "--docker-host", host.engine.url, *arguments],
            disk_bytes=disk_bytes,
        )
        return self._begin(part, own_clock=own_clock)

    def proxy(self, manager: Manager, *, host: Host | None = None, workers: int = 1, name: str = "proxy") -> Proxy:
        """A proxy, started. It listens on the gateway's address, or on all of a host's."""
        part = Proxy(
            namespace=host.namespace if host else "",
            folder=self.folder / name,
            manager=manager,
            bind=host.address if host else self.gateway,
            workers=workers,
        )
        return self._begin(part)

    def _begin(self, part: P, *, own_clock: bool = False) -> P:
        if own_clock:
            clock.enable(part.folder)
        self.parts.append(part)
        part.start()
        return part

    def discard(self, part: Part) -> None:
        """Kills a part for good and forgets it."""
        part.kill()
        self.parts.remove(part)


def free_port(address: str) -> int:
    """A port that nothing listens on at an address of this machine.

    It is none that an outgoing connection could have while a manager that was killed is to come back to it.
    """
    while True:
        port = next(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((address, port))
            return port


def _leave(number: int, _: types.FrameType | None) -> None:
    raise SystemExit(128 + number)
