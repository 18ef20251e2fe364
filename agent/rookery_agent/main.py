"""`rookery-agent`: makes one machine a node of a cluster.

Invariant: one task group owns everything; replicas outlive the agent unless the manager moved them first.
"""

import asyncio
import contextlib
import logging
import os
import resource
import time

from rookery.identity.standing import Standing
from rookery.metrics import Family, Metrics
from rookery.model import NodeCondition, NodeInfo, ReplicaStats, RuntimeKind
from rookery.process import configure_log, run

from rookery_agent import machine, metrics
from rookery_agent.assignments import Held
from rookery_agent.disk import Disks
from rookery_agent.home import Home
from rookery_agent.isolation.keeper import CONDITION, Containers, Isolation
from rookery_agent.keeper import Keeper
from rookery_agent.lease import Lease
from rookery_agent.options import Options, parser, understand
from rookery_agent.reconcile import Reconciler
from rookery_agent.runtime.files import in_memory
from rookery_agent.runtime.place import Place
from rookery_agent.runtime.protocol import EngineAway, Guard, Runtime
from rookery_agent.session import Hooks, Session, Vitals
from rookery_agent.uploads import Uploads

log = logging.getLogger("rookery.agent")

_STATS_S = 2.0
_LIST_S = 5.0
_ENGINE_S = 5.0


def main() -> None:
    arguments = parser().parse_args()
    configure_log("agent", level=arguments.log_level)
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))  # there are secrets in its memory; a replica may still ask for core files
    run(lambda stop: _serve(understand(arguments), stop))


async def _serve(options: Options, stop: asyncio.Event) -> None:
    home = Home(options.data)
    standing = Standing(home.path, options.manager, "agent", options.identity, log)
    place = Place(node_id=home.node_id(), hostname=options.name, address=options.address, network=options.network)
    isolation = _isolation(options, place, home)
    runtime, engine, away, docker = await _runtime(options, place, home, isolation)
    log.info("node %s (%s) at %s runs replicas by %s: %s", options.name, place.node_id, options.address, runtime.kind, engine)
    kept_in = (isolation, docker) if isolation is not None and docker is not None else None
    await Agent(options, home, place, runtime, standing, engine=engine, away=away, kept_in=kept_in).run(stop)


KeptIn = tuple[Isolation, Containers]  # what keeps containers from the cluster's machines, and what knows where they are


class Agent:
    """The parts of an agent and what passes between them."""

    def __init__(
        self,
        options: Options,
        home: Home,
        place: Place,
        runtime: Runtime,
        standing: Standing,
        *,
        engine: str,
        away: str,
        kept_in: KeptIn | None = None,
    ) -> None:
        self._options = options
        self._standing = standing
        self._node_id = place.node_id
        self._home = home
        self._runtime = runtime
        self._info = machine.info(
            hostname=options.name, address=options.address, kind=runtime.kind, labels=dict(options.labels), engine=engine
        )
        self._replica_stats: tuple[ReplicaStats, ...] = ()
        self._latest: tuple[Vitals | None, float] = (None, 0.0)  # and when they were taken
        self._lease_to_keep = asyncio.Event()
        self._disks = Disks(home.path, runtime.data_root, low_bytes=options.low_bytes)
        self._kept_in = kept_in
        held = home.held()
        hooks = Hooks(
            standing=standing,
            info=self._node_info,
            vitals=self._vitals,
            statuses=lambda: tuple(self._reconciler.statuses.values()),
            keep=self._keep,
            renewed=self._renewed,
            logs=lambda stub, request: self._uploads.begin(stub, request),
            cancel_logs=lambda request_id: self._uploads.cancel(request_id),
            reach=kept_in[0].take if kept_in else lambda _: None,
        )
        self._lease = Lease(home.lease_until())
        self._session = Session(options.manager, place.node_id, held, self._lease, hooks, seed=int.from_bytes(os.urandom(4)))
        self._reconciler = Reconciler(
            runtime,
            home.records(),
            report=self._session.report,
            remember=lambda: self._keeper.remember(),
            silent_s=self._session.silent_s,
            engine_away=away,
        )
        self._keeper = Keeper(home, lambda: self._reconciler.records, self._session.kept)
        self._reconciler.take(held, confirmed=False)
        self.metrics = Metrics()
        self.metrics.add(self._figures)

    async def run(self, stop: asyncio.Event) -> None:
        """Serves until `stop` is set and the node is drained, or left as it is."""
        async with contextlib.AsyncExitStack() as shown, asyncio.TaskGroup() as tasks:
            if self._options.metrics:
                await shown.enter_async_context(self.metrics.served(self._options.metrics))
            self._uploads = Uploads(self._runtime, tasks)
            loops = [
                tasks.create_task(self._reconciler.run(), name="reconciler"),
                tasks.create_task(self._follow_manager(), name="session"),
                tasks.create_task(self._sample(), name="statistics"),
                tasks.create_task(self._disks.run(), name="disks"),
                tasks.create_task(self._keeper.run(), name="keeper"),
                tasks.create_task(self._write_lease(), name="lease"),
            ]
            if self._kept_in:
                isolation, containers = self._kept_in
                loops.append(tasks.create_task(isolation.run(containers), name="isolation"))
            await stop.wait()
            if self._options.drain:
                await self._drain()
            for loop in loops:
                loop.cancel()
            self._uploads.cancel_all()
        await self._keeper.write()
        if self._kept_in and not self._reconciler.running:
            await self._kept_in[0].remove()
        await self._runtime.close()

    async def _follow_manager(self) -> None:
        """The session, begun when it is known what runs here; an engine that is away does not hold it up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0 if self._reconciler.engine_away else _LIST_S):
                await self._reconciler.listed()
        await self._standing.begin(self._node_id)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._standing.keep(), name="identity")
            tasks.create_task(self._session.run(), name="session")

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
        if self._reconciler.engine_away:
            log.warning("what runs here can't be stopped: %s", self._reconciler.engine_away)
            return
        try:
            async with asyncio.timeout(30):
                await self._reconciler.stopped()
        except TimeoutError:
            log.warning("some replicas did not stop in time")

    def _node_info(self) -> NodeInfo:
        return self._info

    def _vitals(self) -> Vitals:
        conditions = {c.name: c for c in self._reconciler.conditions()}
        disk = self._keeper.trouble or self._disks.why
        if disk:
            conditions["disk-full"] = NodeCondition(name="disk-full", why=disk)
        if self._kept_in and self._kept_in[0].why:
            conditions[CONDITION] = NodeCondition(name=CONDITION, why=self._kept_in[0].why)
        stats = machine.stats(self._disks.room)
        vitals = Vitals(stats=stats, replicas=self._replica_stats, conditions=tuple(conditions.values()))
        self._latest = vitals, time.monotonic()
        return vitals

    async def _figures(self) -> list[Family]:
        held, at = self._latest  # a look in between would spoil the heartbeats' use of the CPU
        vitals = held if held is not None and time.monotonic() - at < _STATS_S else self._vitals()
        return metrics.families(
            vitals.stats,
            connected=self._session.connected,
            silent_s=self._session.silent_s(),
            conditions=[condition.name for condition in vitals.conditions],
            statuses=tuple(self._reconciler.statuses.values()),
            assignments=self._session.held.assignments,
            usage=vitals.replicas,
        )

    async def _keep(self, held: Held) -> bool:
        """Writes the set down and goes by it; true when it is on the disk."""
        kept = await self._keeper.keep(held)
        self._reconciler.take(held, confirmed=True)
        return kept

    def _renewed(self, silent_s: float) -> None:
        self._reconciler.renewed(silent_s)
        self._lease_to_keep.set()

    async def _write_lease(self) -> None:
        while True:
            await self._lease_to_keep.wait()
            self._lease_to_keep.clear()
            with contextlib.suppress(OSError):  # what is on disk ends earlier: that is safe
                await self._home.keep_lease(self._lease.until)

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(_STATS_S)
            try:
                self._replica_stats = await self._runtime.stats()
            except EngineAway:
                self._replica_stats = ()


def _isolation(options: Options, place: Place, home: Home) -> Isolation | None:
    if not options.isolation:
        log.info("--isolation off: containers can reach this machine, the manager's and other apps' published ports")
        return None
    return Isolation(
        place.node_id,
        home.reach(),
        manager=options.manager,
        ports=options.open_ports,
        shared=place.network,
        keep=home.keep_reach,
    )


async def _runtime(
    options: Options, place: Place, home: Home, guard: Guard | None
) -> tuple[Runtime, str, str, Containers | None]:
    """The runtime that was asked for or that this machine has, what it says of itself, why it is away, if it is; and once more as
    what it is, where it makes containers."""
    # What `auto` found once it stays with: an engine that is away for a while does not make this another kind of node.
    files = in_memory(place.node_id, wanted=options.files, fallback=home.path / "files")
    wanted = home.runtime() if options.runtime == "auto" else options.runtime
    if wanted != RuntimeKind.PROCESS:
        from rookery_agent.runtime.docker import DockerRuntime  # lazily: it costs memory that a process node need not spend

        docker = DockerRuntime(place, files, options.docker_host, pull_stalled_s=options.pull_stalled_s, guard=guard)
        try:
            async with asyncio.timeout(_ENGINE_S):
                engine = await docker.describe()
            home.keep_runtime(RuntimeKind.DOCKER)
            return docker, engine, "", docker
        except (EngineAway, TimeoutError) as error:
            why = str(error) or f"the engine hangs: no answer within {_ENGINE_S:g} s"
            if wanted == RuntimeKind.DOCKER or isinstance(error, TimeoutError):  # one that hangs is one, too
                log.warning("the engine is away: %s", why)
                return docker, "Docker", why, docker
            log.info("no Docker engine here (%s), so replicas run as plain processes", why)
            await docker.close()
    home.keep_runtime(RuntimeKind.PROCESS)
    from rookery_agent.runtime.process import ProcessRuntime

    processes: Runtime = ProcessRuntime(place, home.path, files)
    return processes, await processes.describe(), "", None


if __name__ == "__main__":
    main()
