"""`rookery-agent`: makes one machine a node of a cluster.

Invariant: one task group owns everything; replicas outlive the agent unless the manager moved them first.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rookery._version import VERSION
from rookery.flags import host_port, node_name, seconds
from rookery.model import NodeInfo, ReplicaStats, RuntimeKind
from rookery.process import Stop, configure_log, data_dir, run

from rookery_agent import machine
from rookery_agent.assignments import Held
from rookery_agent.home import Home
from rookery_agent.reconcile import Reconciler
from rookery_agent.runtime.place import Place
from rookery_agent.runtime.protocol import EngineAway, Runtime
from rookery_agent.session import Hooks, Session, Vitals
from rookery_agent.uploads import Uploads

log = logging.getLogger("rookery.agent")

_STATS_S = 2.0
_LIST_S = 5.0
_ENGINE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    manager: str
    data: Path
    name: str
    address: str
    runtime: str
    docker_host: str
    labels: Mapping[str, str]
    network: str
    drain: bool
    stop_timeout_s: float


def main() -> None:
    arguments = _parser().parse_args()
    configure_log("agent", level=arguments.log_level)
    run(lambda stop: _serve(_options(arguments), stop))


async def _serve(options: Options, stop: asyncio.Event) -> None:
    home = Home(options.data)
    place = Place(node_id=home.node_id(), hostname=options.name, address=options.address, network=options.network)
    runtime, engine, away = await _runtime(options, place, home)
    log.info("node %s (%s) at %s runs replicas by %s: %s", options.name, place.node_id, options.address, runtime.kind, engine)
    await Agent(options, home, place, runtime, engine=engine, away=away).run(stop)


class Agent:
    """The parts of an agent and what passes between them."""

    def __init__(self, options: Options, home: Home, place: Place, runtime: Runtime, *, engine: str, away: str) -> None:
        self._options = options
        self._home = home
        self._runtime = runtime
        self._info = machine.info(
            hostname=options.name, address=options.address, kind=runtime.kind, labels=dict(options.labels), engine=engine
        )
        self._replica_stats: tuple[ReplicaStats, ...] = ()
        self._to_remember = asyncio.Event()
        self._disk_trouble = ""
        held = home.held()
        hooks = Hooks(
            info=self._node_info,
            vitals=self._vitals,
            statuses=lambda: tuple(self._reconciler.statuses.values()),
            keep=self._keep,
            logs=lambda stub, request: self._uploads.begin(stub, request),
            cancel_logs=lambda request_id: self._uploads.cancel(request_id),
        )
        self._session = Session(options.manager, place.node_id, held, hooks, seed=int.from_bytes(os.urandom(4)))
        self._reconciler = Reconciler(
            runtime,
            home.records(),
            report=self._session.report,
            remember=self._to_remember.set,
            silent_s=self._session.silent_s,
            engine_away=away,
        )
        self._reconciler.take(held, confirmed=False)

    async def run(self, stop: asyncio.Event) -> None:
        """Serves until `stop` is set and the node is drained, or left as it is."""
        async with asyncio.TaskGroup() as tasks:
            self._uploads = Uploads(self._runtime, tasks)
            loops = [
                tasks.create_task(self._reconciler.run(), name="reconciler"),
                tasks.create_task(self._follow_manager(), name="session"),
                tasks.create_task(self._sample(), name="statistics"),
                tasks.create_task(self._write_records(), name="records"),
            ]
            await stop.wait()
            if self._options.drain:
                await self._drain()
            for loop in loops:
                loop.cancel()
            self._uploads.cancel_all()
        if self._to_remember.is_set():
            await self._remember()
        await self._runtime.close()

    async def _follow_manager(self) -> None:
        """The session, begun when it is known what runs here; an engine that is away does not hold it up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0 if self._reconciler.engine_away else _LIST_S):
                await self._reconciler.listed()
        await self._session.run()

    async def _drain(self) -> None:
        """Asks the manager to move everything away, and waits until it is done."""
        if not self._session.connected:
            log.warning("the manager is away, so nothing can be moved: %d replicas go on here", self._reconciler.running)
            return
        log.info("leaving: the manager is asked to move what runs here")
        self._session.goodbye("the agent is being stopped")
        try:
            async with asyncio.timeout(self._options.stop_timeout_s):
                await self._session.farewell.wait()
        except TimeoutError:
            log.warning("the manager did not let this node go within %g s", self._options.stop_timeout_s)
        try:
            async with asyncio.timeout(30):
                await self._reconciler.stopped()
        except TimeoutError:
            log.warning("some replicas did not stop in time")

    def _node_info(self) -> NodeInfo:
        return self._info

    def _vitals(self) -> Vitals:
        conditions = list(self._reconciler.conditions())
        disk = machine.disk_condition(self._home.path, self._disk_trouble)
        if disk is not None:
            conditions.append(disk)
        return Vitals(stats=machine.stats(self._home.path), replicas=self._replica_stats, conditions=tuple(conditions))

    async def _keep(self, held: Held) -> bool:
        """Writes the set down and goes by it; true when it is on the disk."""
        try:
            await self._home.keep(held)
            self._disk_trouble = ""
        except OSError as error:
            self._disk_trouble = f"the assignments can't be written: {error}"
            log.warning("%s", self._disk_trouble)
        self._reconciler.take(held, confirmed=True)
        return not self._disk_trouble

    async def _write_records(self) -> None:
        while True:
            await self._to_remember.wait()
            self._to_remember.clear()
            await self._remember()
            await asyncio.sleep(0.2)

    async def _remember(self) -> None:
        try:
            await self._home.remember(self._reconciler.records)
        except OSError as error:
            self._disk_trouble = f"the restart counts can't be written: {error}"

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(_STATS_S)
            try:
                self._replica_stats = await self._runtime.stats()
            except EngineAway:
                self._replica_stats = ()


async def _runtime(options: Options, place: Place, home: Home) -> tuple[Runtime, str, str]:
    """The runtime that was asked for or that this machine has, what it says of itself, and why it is away, if it is."""
    # What `auto` found once it stays with: an engine that is away for a while does not make this another kind of node.
    wanted = home.runtime() if options.runtime == "auto" else options.runtime
    if wanted != RuntimeKind.PROCESS:
        from rookery_agent.runtime.docker import DockerRuntime  # lazily: it costs memory that a process node need not spend

        docker: Runtime = DockerRuntime(place, options.docker_host)
        try:
            async with asyncio.timeout(_ENGINE_S):
                engine = await docker.describe()
            home.keep_runtime(RuntimeKind.DOCKER)
            return docker, engine, ""
        except (EngineAway, TimeoutError) as error:
            why = str(error) or f"it did not answer within {_ENGINE_S:g} s"
            if wanted == RuntimeKind.DOCKER:
                log.warning("the engine is away: %s", why)
                return docker, "Docker", why
            log.info("no Docker engine here (%s), so replicas run as plain processes", why)
            await docker.close()
    home.keep_runtime(RuntimeKind.PROCESS)
    from rookery_agent.runtime.process import ProcessRuntime

    processes: Runtime = ProcessRuntime(place, home.path)
    return processes, await processes.describe(), ""


def _options(arguments: argparse.Namespace) -> Options:
    labels = {}
    for given in arguments.label:
        key, equals, value = given.partition("=")
        if not key or not equals:
            raise Stop(f"--label {given}: expected KEY=VALUE", status=2)
        labels[key] = value
    name = arguments.name or socket.gethostname()
    for flag, check, given in (
        ("--manager", host_port, arguments.manager),
        ("--name", node_name, name),
        ("--stop-timeout", seconds, str(arguments.stop_timeout)),
    ):
        try:
            check(given)
        except argparse.ArgumentTypeError as error:
            raise Stop(f"{flag}: {error}", status=2) from error
    host, _, port = arguments.manager.rpartition(":")
    kind, _, network = arguments.endpoints.partition(":")
    if kind not in ("host-port", "network") or (kind == "network") != bool(network):
        raise Stop(f"--endpoints {arguments.endpoints}: expected host-port or network:NAME", status=2)
    return Options(
        manager=arguments.manager,
        data=arguments.data or data_dir("agent"),
        name=name,
        address=_address(arguments.address, host.strip("[]"), int(port)),
        runtime=arguments.runtime,
        docker_host=arguments.docker_host,
        labels=labels,
        network=network,
        drain=arguments.on_stop == "drain",
        stop_timeout_s=arguments.stop_timeout,
    )


def _address(given: str, host: str, port: int) -> str:
    try:
        return socket.gethostbyname(given) if given else machine.address_towards(host, port)
    except OSError as error:
        what = f"--address {given}" if given else f"the address towards the manager {host}"
        raise Stop(f"{what} can't be found: {error}; give this machine's address with --address", status=2) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rookery-agent", description="Makes this machine a node of a Rookery cluster.")
    parser.add_argument("--manager", default=os.environ.get("ROOKERY_MANAGER", "127.0.0.1:7070"), metavar="HOST:PORT")
    parser.add_argument("--data", type=Path, metavar="DIR", help=f"where it keeps its data (default: {data_dir('agent')})")
    parser.add_argument("--name", default="", help="the node's hostname (default: this machine's)")
    parser.add_argument(
        "--address", default="", help="where this node's replicas are reached (default: the address towards the manager)"
    )
    parser.add_argument(
        "--runtime", choices=["auto", "docker", "process"], default="auto", help="what runs replicas (default: auto)"
    )
    parser.add_argument(
        "--docker-host", default="", metavar="URL", help="the engine's socket (default: DOCKER_HOST, else the usual one)"
    )
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="a label of the node; may be repeated")
    parser.add_argument(
        "--endpoints", default="host-port", metavar="MODE", help="host-port, or network:NAME for containers' own addresses"
    )
    parser.add_argument(
        "--on-stop", choices=["drain", "leave"], default="drain", help="on SIGTERM, move replicas away, or leave them running"
    )
    parser.add_argument(
        "--stop-timeout", type=float, default=60.0, metavar="SECONDS", help="how long a drain may take (default: 60)"
    )
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"], default="info")
    parser.add_argument("--version", action="version", version=VERSION)
    return parser


if __name__ == "__main__":
    main()
