"""The agent's control loop: keys that may have changed, one worker at a time per key, many keys in parallel.

Invariant: a wake-up carries no data; what is done is decided by `step` alone, from what is held, observed and remembered.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from rookery.model import Desired, NodeCondition, ReplicaId, ReplicaState, ReplicaStatus

from rookery_agent.assignments import Held
from rookery_agent.engine_watch import EngineWatch
from rookery_agent.fence import Fence, fenced
from rookery_agent.probes import Prober
from rookery_agent.record import Record
from rookery_agent.runtime.protocol import EngineAway, Instance, InstanceState, Runtime, RuntimeFailure
from rookery_agent.step import Action, Forget, Plan, Prepare, Remove, Snapshot, Start, Stop, failed, step

log = logging.getLogger("rookery.agent")

_PARALLEL = 256
_TICK_S = 0.2
_NO_ROOM = "no space left on device"
_NO_ROOM_S = 90.0  # longer than the longest pause between two tries


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
        self._runtime = runtime
        self._engine = EngineWatch(runtime, away=engine_away, relist=self._list, notice=self._notice)
        self._report = report
        self._remember = remember
        self._fence = Fence(silent_s)
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
        self._no_room = ""  # what the engine said when it had none, which counts for a while
        self._no_room_until = 0.0
        self._listed = asyncio.Event()
        self._settled = asyncio.Event()

    def take(self, held: Held, *, confirmed: bool) -> None:
        """Goes by this set from now on; `confirmed`: it is the manager's, not only what was on disk."""
        before, self._held = self._held, held
        self._confirmed = confirmed
        for replica_id in before.assignments.keys() | held.assignments.keys():
            then, now = before.assignments.get(replica_id), held.assignments.get(replica_id)
            if then != now:
                if then is not None and now is not None and len(now.files) > len(then.files):
                    self._try_at_once(replica_id)  # it could not be started for want of them
                self.wake(replica_id)
        for replica_id in self._orphans():
            self.wake(replica_id)
        for replica_id in tuple(self._preparing):
            wanted = held.assignments.get(replica_id)
            if wanted is None or wanted.desired is Desired.STOP:
                self._busy[replica_id].cancel()  # a pull may take minutes, and nobody wants it any more

    def renewed(self, silent_s: float) -> None:
        """There is a lease, after so long a time without one."""
        if silent_s <= 0:
            return
        self._fence.lapse(self._held.assignments.values(), silent_s)
        for replica_id in fenced(self._held.assignments.values()):
            self.wake(replica_id)

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

    @property
    def engine_away(self) -> str:
        """Why the engine is not there; empty where it is."""
        return self._engine.away

    def conditions(self) -> tuple[NodeCondition, ...]:
        found = [NodeCondition(name="engine-away", why=self.engine_away)] if self.engine_away else []
        if self._no_room and time.monotonic() < self._no_room_until:
            found.append(NodeCondition(name="disk-full", why=self._no_room))
        return tuple(found)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._prober = Prober(self._runtime, tasks, self.wake)
            tasks.create_task(self._engine.run(), name="engine")
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
            if self.engine_away:
                self._tell_health(replica_id)
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
            return self._fence.stopped(replica_id)
        return await self._act(replica_id, plan.action)

    def _tell_health(self, replica_id: ReplicaId) -> None:
        """Reports what probes say while nothing can be done about it; what is done is decided by what they say then."""
        assignment, known = self._held.assignments.get(replica_id), self.statuses.get(replica_id)
        if (
            assignment is None
            or assignment.desired is not Desired.RUN
            or known is None
            or known.state is not ReplicaState.RUNNING
        ):
            return
        status = step(self._snapshot(replica_id), time.time()).status
        if status.state is ReplicaState.RUNNING:
            self._tell(status)

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
                    self._fence.stopped(replica_id)
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
            if _NO_ROOM in str(error).lower():
                self._no_room, self._no_room_until = str(error), time.monotonic() + _NO_ROOM_S
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
            silent_s=self._fence.silent_s(replica_id),
        )

    def _change(self, replica_id: ReplicaId, *, prepared: bool | None = None, container_id: str | None = None) -> None:
        record = self.records.get(replica_id) or Record(replica_id=replica_id)
        if prepared is not None:
            record = replace(record, prepared=prepared, failures=0, retry_at=0.0)
        if container_id is not None:
            record = replace(record, container_id=container_id, failures=0)
        self.records[replica_id] = record
        self._remember()

    def _try_at_once(self, replica_id: ReplicaId) -> None:
        record = self.records.get(replica_id)
        if record is not None and record.failures:
            self.records[replica_id] = replace(record, failures=0, retry_at=0.0)

    def _keep(self, replica_id: ReplicaId, plan: Plan) -> None:
        if self.records.get(replica_id) != plan.record:
            self.records[replica_id] = plan.record
            self._remember()
        self._tell(plan.status)

    def _tell(self, status: ReplicaStatus) -> None:
        known = self.statuses.get(status.replica_id)
        if known is None or replace(known, at=status.at) != status:
            self.statuses[status.replica_id] = status
            self._report(status)

    def _probe(self, replica_id: ReplicaId, plan: Plan) -> None:
        assignment = self._held.assignments.get(replica_id)
        instance = self._observed.get(replica_id)
        asked = instance is not None and instance.state is InstanceState.RUNNING and not instance.paused and plan.action is None
        if assignment is not None and instance is not None and asked:
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

    def _notice(self, replica_id: ReplicaId) -> None:
        self._stale.add(replica_id)
        self.wake(replica_id)

    async def _tick(self) -> None:
        """Looks at what must stop for want of a lease as soon as it must."""
        overdue: frozenset[ReplicaId] = frozenset()
        while True:
            before, overdue = overdue, self._fence.overdue(self._held.assignments.values())
            for replica_id in overdue - before:
                self.wake(replica_id)
            await asyncio.sleep(_TICK_S)

    async def _list(self) -> None:
        self._touched = set(self._busy)
        instances = {i.replica_id: i for i in await self._runtime.list()}
        for replica_id in self._observed.keys() | instances.keys():
            if replica_id in self._touched:
                self._stale.add(replica_id)  # changed meanwhile: what was listed may be old already
            else:
                self._observe(replica_id, instances.get(replica_id))
                self._stale.discard(replica_id)
        if not self._listed.is_set():
            log.info("%d instances of this node are here, %d of them running", len(instances), self.running)
            self._preview()
            self._listed.set()
        self.wake_all()
