"""The agent's control loop: keys that may have changed, one worker at a time per key, many keys in parallel.

Invariant: a wake-up carries no data; what is done is decided by `step` alone, from what is held, observed and remembered.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from rookery.model import Desired, NodeCondition, ReplicaId, ReplicaStatus

from rookery_agent.assignments import Held
from rookery_agent.probes import Prober
from rookery_agent.record import Record
from rookery_agent.runtime.protocol import EngineAway, Instance, InstanceState, Runtime, RuntimeFailure
from rookery_agent.step import Action, Forget, Plan, Prepare, Remove, Snapshot, Start, Stop, failed, step

log = logging.getLogger("rookery.agent")

_PARALLEL = 256
_ENGINE_PING_S = 3.0
_RELIST_S = 30.0


class Reconciler:
    """Keeps every replica of this node as the assignments say.

    `report` is told each status that changed, `remember` that records did; `silent_s` tells how long ago the lease ended.
    """

    def __init__(
        self,
        runtime: Runtime,
        records: dict[ReplicaId, Record],
        *,
        report: Callable[[ReplicaStatus], None],
        remember: Callable[[], None],
        silent_s: Callable[[], float],
        engine_away: str = "",
    ) -> None:
        self.records = records
        self.statuses: dict[ReplicaId, ReplicaStatus] = {}
        self.engine_away = engine_away
        self._runtime = runtime
        self._report = report
        self._remember = remember
        self._silent_s = silent_s
        self._held = Held()
        self._confirmed = False
        self._observed: dict[ReplicaId, Instance] = {}
        self._stale: set[ReplicaId] = set()
        self._dirty: dict[ReplicaId, None] = {}  # in the order in which they were woken
        self._busy: dict[ReplicaId, asyncio.Task[None]] = {}
        self._preparing: set[ReplicaId] = set()
        self._timers: dict[ReplicaId, asyncio.TimerHandle] = {}
        self._touched: set[ReplicaId] = set()  # worked on since the latest list was asked for
        self._wake = asyncio.Event()
        self._listed = asyncio.Event()
        self._settled = asyncio.Event()

    def take(self, held: Held, *, confirmed: bool) -> None:
        """Goes by this set from now on; `confirmed`: it is the manager's, not only what was on disk."""
        before, self._held = self._held, held
        self._confirmed = confirmed
        for replica_id in before.assignments.keys() | held.assignments.keys():
            if before.assignments.get(replica_id) != held.assignments.get(replica_id):
                self.wake(replica_id)
        for replica_id in self._orphans():
            self.wake(replica_id)
        for replica_id in tuple(self._preparing):
            wanted = held.assignments.get(replica_id)
            if wanted is None or wanted.desired is Desired.STOP:
                self._busy[replica_id].cancel()  # a pull may take minutes, and nobody wants it any more

    async def listed(self) -> None:
        """Returns when what is here is known, so that the manager can be told of it."""
        await self._listed.wait()

    def wake(self, replica_id: ReplicaId) -> None:
        self._dirty[replica_id] = None
        self._wake.set()

    def wake_all(self) -> None:
        for replica_id in {*self._held.assignments, *self._orphans()}:
            self.wake(replica_id)

    async def stopped(self) -> None:
        """Returns when nothing runs any more that is to be stopped."""
        while self._stopping():
            self._settled.clear()
            await self._settled.wait()

    def _stopping(self) -> bool:
        wanted = {a.replica_id for a in self._held.assignments.values() if a.desired is Desired.RUN}
        return any(i.state is InstanceState.RUNNING for r, i in self._observed.items() if r not in wanted)

    @property
    def running(self) -> int:
        return sum(i.state is InstanceState.RUNNING for i in self._observed.values())

    def conditions(self) -> tuple[NodeCondition, ...]:
        return (NodeCondition(name="engine-away", why=self.engine_away),) if self.engine_away else ()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._prober = Prober(self._runtime, tasks, self.wake)
            tasks.create_task(self._watch(), name="engine events")
            tasks.create_task(self._tick(), name="lease ticks")
            await self._listed.wait()
            while True:
                await self._wake.wait()
                self._wake.clear()
                for replica_id in tuple(self._dirty):
                    if len(self._busy) >= _PARALLEL:
                        break
                    if replica_id not in self._busy:
                        del self._dirty[replica_id]
                        self._touched.add(replica_id)
                        self._busy[replica_id] = tasks.create_task(self._settle(replica_id), name=f"replica {replica_id}")

    def _orphans(self) -> set[ReplicaId]:
        """What is here and not wanted; nobody is one before the manager said what it wants: the disk may have missed some."""
        if not self._confirmed:
            return set()
        return (self._observed.keys() | self.records.keys()) - self._held.assignments.keys()

    async def _settle(self, replica_id: ReplicaId) -> None:
        try:
            while not self.engine_away and await self._one(replica_id):
                pass
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if replica_id not in self._preparing or task is None:
                raise
            task.uncancel()
        finally:
            self._busy.pop(replica_id, None)
            self._preparing.discard(replica_id)
            self._settled.set()
            self._wake.set()

    async def _one(self, replica_id: ReplicaId) -> bool:
        """Decides and acts once; true when there may be more to do."""
        now = time.time()
        assignment = self._held.assignments.get(replica_id)
        if assignment is None and replica_id not in self._orphans():
            return False
        try:
            if replica_id in self._stale:
                self._stale.discard(replica_id)
                self._observe(replica_id, await self._runtime.inspect(replica_id))
        except RuntimeFailure as error:
            self._stale.add(replica_id)
            self._later(replica_id, now + 1.0)
            log.warning("%s can't be looked at: %s", replica_id, error)
            return False
        plan = step(self._snapshot(replica_id), now)
        self._keep(replica_id, plan)
        self._probe(replica_id, plan)
        if plan.look_again_at is not None:
            self._later(replica_id, plan.look_again_at)
        if plan.action is None:
            return False
        return await self._act(replica_id, plan.action)

    async def _act(self, replica_id: ReplicaId, action: Action) -> bool:
        assignment = self._held.assignments.get(replica_id)
        name = assignment.name if assignment else replica_id
        verb = type(action).__name__.lower()
        log.info("%s %s: %s", verb, name, action.why)
        try:
            match action:
                case Prepare() if assignment:
                    self._preparing.add(replica_id)
                    await self._runtime.prepare(assignment)
                    self._preparing.discard(replica_id)
                    self._change(replica_id, prepared=True)
                case Start() if assignment:
                    self._observe(replica_id, await self._runtime.start(assignment))
                case Stop():
                    self._prober.drop(replica_id)
                    self._observe(replica_id, await self._runtime.stop(replica_id, grace_s=action.grace_s))
                case Remove():
                    await self._runtime.remove(replica_id)
                    self._observe(replica_id, None)
                    self._change(replica_id, container_id="")
                case Forget():
                    self.records.pop(replica_id, None)
                    self.statuses.pop(replica_id, None)
                    self._remember()
                    return False
        except EngineAway as error:
            self._stale.add(replica_id)
            self._later(replica_id, time.time() + 1.0)
            log.warning("%s %s: %s", verb, name, error)
            return False
        except RuntimeFailure as error:
            self._stale.add(replica_id)
            self._preparing.discard(replica_id)
            log.warning("%s %s: %s", verb, name, error)
            record = self.records.get(replica_id) or Record(replica_id=replica_id)
            self.records[replica_id] = failed(record, str(error), time.time(), attempt=isinstance(action, Start))
            self._remember()
        return True

    def _preview(self) -> None:
        """Fills in the statuses of all that is held, before anything is done."""
        for replica_id in self._held.assignments:
            self.statuses[replica_id] = step(self._snapshot(replica_id), time.time()).status

    def _snapshot(self, replica_id: ReplicaId) -> Snapshot:
        return Snapshot(
            assignment=self._held.assignments.get(replica_id),
            instance=self._observed.get(replica_id),
            record=self.records.get(replica_id) or Record(replica_id=replica_id),
            verdict=self._prober.verdict(replica_id),
            silent_s=self._silent_s(),
        )

    def _change(self, replica_id: ReplicaId, *, prepared: bool | None = None, container_id: str | None = None) -> None:
        record = self.records.get(replica_id) or Record(replica_id=replica_id)
        if prepared is not None:
            record = replace(record, prepared=prepared, failures=0, retry_at=0.0)
        if container_id is not None:
            record = replace(record, container_id=container_id, failures=0)
        self.records[replica_id] = record
        self._remember()

    def _keep(self, replica_id: ReplicaId, plan: Plan) -> None:
        if self.records.get(replica_id) != plan.record:
            self.records[replica_id] = plan.record
            self._remember()
        known = self.statuses.get(replica_id)
        if known is None or replace(known, at=plan.status.at) != plan.status:
            self.statuses[replica_id] = plan.status
            self._report(plan.status)

    def _probe(self, replica_id: ReplicaId, plan: Plan) -> None:
        assignment = self._held.assignments.get(replica_id)
        instance = self._observed.get(replica_id)
        if assignment is not None and instance is not None and instance.state is InstanceState.RUNNING and plan.action is None:
            self._prober.follow(instance, assignment.spec.probe, ready=plan.record.ready_run == instance.run)
        else:
            self._prober.drop(replica_id)

    def _observe(self, replica_id: ReplicaId, instance: Instance | None) -> None:
        if instance is None:
            self._observed.pop(replica_id, None)
        else:
            self._observed[replica_id] = instance

    def _later(self, replica_id: ReplicaId, at: float) -> None:
        old = self._timers.pop(replica_id, None)
        if old is not None:
            old.cancel()
        loop = asyncio.get_running_loop()
        self._timers[replica_id] = loop.call_later(max(0.01, at - time.time()), self._due, replica_id)

    def _due(self, replica_id: ReplicaId) -> None:
        self._timers.pop(replica_id, None)
        self.wake(replica_id)

    async def _tick(self) -> None:
        """Looks at everything when the lease ends and when it is granted again: some replicas go by it."""
        was_silent = False
        while True:
            await asyncio.sleep(0.2)
            silent = self._silent_s() > 0
            if silent != was_silent:
                was_silent = silent
                self.wake_all()

    async def _watch(self) -> None:
        """Follows the engine: its events as they happen, all instances when it (re)appears and now and then."""
        while True:
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._check(), name="engine check")
                    tasks.create_task(self._follow_events(), name="engine event stream")
            except* RuntimeFailure as group:
                why = str(group.exceptions[0])
                if not self.engine_away:
                    log.warning("the engine is away: %s", why)
                self.engine_away = why
            await asyncio.sleep(0.5)

    async def _follow_events(self) -> None:
        async for event in self._runtime.events():
            if event.replica_id is None:
                await self._list()
            else:
                self._stale.add(event.replica_id)
                self.wake(event.replica_id)
        raise EngineAway("the engine ended its stream of events")

    async def _check(self) -> None:
        listed_at = time.monotonic()
        while True:
            await asyncio.sleep(_ENGINE_PING_S)
            await self._runtime.describe()
            if time.monotonic() - listed_at > _RELIST_S:
                await self._list()
                listed_at = time.monotonic()

    async def _list(self) -> None:
        self._touched = set(self._busy)
        instances = {i.replica_id: i for i in await self._runtime.list()}
        for replica_id in self._observed.keys() | instances.keys():
            if replica_id in self._touched:
                self._stale.add(replica_id)  # changed meanwhile: what was listed may be old already
            else:
                self._observe(replica_id, instances.get(replica_id))
                self._stale.discard(replica_id)
        if self.engine_away:
            log.info("the engine is back")
            self.engine_away = ""
        if not self._listed.is_set():
            log.info("%d instances of this node are here, %d of them running", len(instances), self.running)
            self._preview()
            self._listed.set()
        self.wake_all()
