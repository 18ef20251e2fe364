"""The decision about one replica: from what is wanted, seen and remembered of it to the next action, with its why.

Pure: no clock, no I/O. The caller acts, observes what came of it and calls `step` again until no action is left; every outcome,
failures included, is a field of the next snapshot: one path for a first start, a crash, and an agent that starts again.
"""

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum

from rookery.model import (
    Assignment,
    Desired,
    GlobalJob,
    ImageProbe,
    NoProbe,
    OnDisconnect,
    ReplicaState,
    ReplicaStatus,
    ReplicatedJob,
    RestartCondition,
)

from rookery_agent.record import Record
from rookery_agent.runtime.protocol import Instance, InstanceState

LONGEST_DELAY_S = 60.0
LONGEST_WHY = 1000  # characters of an engine's words


class Health(StrEnum):
    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the agent's own probes say of one run of an instance."""

    run: str = ""
    health: Health = Health.UNKNOWN
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """`assignment` None: the manager wants it no more. `silent_s`: since the manager's lease ended, 0 while it holds; infinite:
    none was granted since the machine started."""

    assignment: Assignment | None
    instance: Instance | None
    record: Record
    verdict: Verdict = field(default_factory=Verdict)
    silent_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    why: str
    grace_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    why: str


Action = Prepare | Start | Stop | Remove | Forget


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The record to keep, the status to report, at most one action, and when to look again at the latest."""

    record: Record
    status: ReplicaStatus
    action: Action | None = None
    look_again_at: float | None = None


def step(s: Snapshot, now: float) -> Plan:
    """What to do next about a replica."""
    if s.assignment is None:
        return _leave(s, now)
    if s.assignment.desired is Desired.STOP:
        return _end(s, now, s.assignment.why or "no longer wanted", s.assignment.spec.container.stop_grace_period_s)
    if s.record.ended:
        return _plan(s, s.record, now)
    spec = s.assignment.spec
    if spec.on_disconnect is OnDisconnect.STOP and s.silent_s > 0:
        left_s = spec.on_disconnect_after_s - s.silent_s
        if left_s <= 0:
            return _hold(s, now)
        plan = _without_lease(_run(s, s.assignment, now))
        again_at = now + left_s if plan.look_again_at is None else min(plan.look_again_at, now + left_s)
        return replace(plan, look_again_at=again_at)
    return _run(s, s.assignment, now)


def _without_lease(plan: Plan) -> Plan:
    """The plan without a start: one that takes long would still begin when it must have stopped."""
    if not isinstance(plan.action, Start):
        return plan
    why = "waiting for the manager: it is not started without its lease"
    return replace(plan, action=None, status=replace(plan.status, why=why))


def failed(record: Record, why: str, now: float, *, attempt: bool) -> Record:
    """The record after a call to the runtime failed; `attempt` when it was one to start."""
    failures = record.failures + 1
    delay_s = min(LONGEST_DELAY_S, 2.0 ** (failures - 1))
    told = f"{why[:LONGEST_WHY]}; trying again in {delay_s:g} s"
    return replace(record, failures=failures, retry_at=now + delay_s, why=told, prepared=record.prepared and not attempt)


def delay_s(attempts: int, given_s: float | None) -> float:
    """Back-off before restart number `attempts` in a row: `given_s`, else none, then 1, 2, 4 … 60 s."""
    if given_s is not None:
        return given_s
    return 0.0 if attempts <= 1 else min(LONGEST_DELAY_S, 2.0 ** min(attempts - 2, 10))


def _run(s: Snapshot, a: Assignment, now: float) -> Plan:
    i, record = s.instance, s.record
    if i is None and record.container_id:
        record = _crash(
            replace(record, container_id=""), a, now, "its container was removed from outside", exit_code=None, quiet=False
        )
        if record.ended:
            return _plan(s, record, now)
    if i is not None and record.container_id != i.id:
        record = replace(record, container_id=i.id, prepared=True)
    if i is not None and i.state is InstanceState.RUNNING:
        return _running(replace(s, record=record), a, i, now)
    if i is not None and i.state is InstanceState.EXITED and record.counted_run != i.run:
        record = _ended_run(record, a, i, now)
        if record.ended:
            return _plan(s, record, now)
    if record.held:
        record = replace(record, held=False, retry_at=0.0)
    record = _soon(record, now, max(LONGEST_DELAY_S, a.spec.restart.delay_s or 0.0))
    if record.retry_at > now:
        return _plan(s, record, now, again_at=record.retry_at)
    if i is None and not record.prepared:
        if record.failures == 0:
            record = record.at(ReplicaState.PREPARING, f"preparing {a.spec.container.image or 'its command'}")
        return _plan(s, record, now, Prepare(why=a.why or "wanted on this node"))
    if i is None and a.desired is Desired.PREPARE:
        return _plan(s, record.at(ReplicaState.STARTING, "prepared, to be started when the one before it is gone"), now)
    record = record.at(ReplicaState.STARTING, record.why if record.restarts or record.failures else "starting")
    return _plan(s, record, now, Start(why=record.why if record.restarts else a.why or "wanted on this node"))


def _running(s: Snapshot, a: Assignment, i: Instance, now: float) -> Plan:
    record = replace(s.record, failures=0, held=False)
    record = record.at(
        ReplicaState.RUNNING, "running" if not record.restarts else f"running, restarted {_times(record.restarts)}"
    )
    sick = record.condemned
    match a.spec.probe:
        case NoProbe():
            healthy = True
        case ImageProbe():
            healthy = i.health in ("", "healthy")
            sick = sick or ("the image's health check failed" if i.health == "unhealthy" else "")
        case _:
            healthy = s.verdict.run == i.run and s.verdict.health is Health.HEALTHY
            if s.verdict.run == i.run and s.verdict.health is Health.UNHEALTHY:
                sick = sick or s.verdict.why
    if sick:
        record = replace(record, condemned=sick, ready_run="", why=sick, failures=s.record.failures)
        return _stop(s, record, now, sick, a.spec.container.stop_grace_period_s)
    if i.paused:
        record = replace(record, ready_run="", why=f"paused from outside; `docker unpause {i.id[:12]}` lets it go on")
    elif healthy:
        record = replace(record, ready_run=i.run)
    elif record.ready_run != i.run:
        record = replace(record, why=s.verdict.why or "running, not yet healthy")
    return _plan(s, record, now)


def _ended_run(record: Record, a: Assignment, i: Instance, now: float) -> Record:
    """The record after a run ended: to be restarted, or ended itself."""
    record = replace(record, counted_run=i.run, exit_code=i.exit_code)
    if record.held:
        return replace(record, why="stopped: the manager is silent")
    ran_s = i.finished_at - i.started_at if i.finished_at and i.started_at else 0.0
    if record.condemned:
        why, crashed = record.condemned, True
    elif i.oom_killed:
        why, crashed = "killed for want of memory", True
    elif i.exit_code is None:
        why, crashed = "ended, its exit status is not known", True
    else:
        why, crashed = f"exited with status {i.exit_code}", i.exit_code != 0
    record = replace(record, condemned="")
    job = isinstance(a.spec.mode, ReplicatedJob | GlobalJob)
    if not crashed and (job or a.spec.restart.condition is not RestartCondition.ANY):
        return replace(record, state=ReplicaState.STOPPED, why=why, retry_at=0.0)
    return _crash(record, a, now, why, exit_code=i.exit_code, quiet=ran_s >= (a.spec.restart.window_s or 60.0))


def _crash(record: Record, a: Assignment, now: float, why: str, *, exit_code: int | None, quiet: bool) -> Record:
    policy = a.spec.restart
    attempts = 1 if quiet else record.attempts + 1
    record = replace(record, exit_code=exit_code, ready_run="")
    if policy.condition is RestartCondition.NONE:
        return replace(record, state=ReplicaState.FAILED, why=f"{why}; its restart policy is none")
    if policy.max_attempts and attempts > policy.max_attempts:
        return replace(
            record, state=ReplicaState.FAILED, why=f"{why}; restarted {_times(policy.max_attempts)}, no more are allowed"
        )
    wait_s = delay_s(attempts, policy.delay_s)
    told = f"restarting in {wait_s:g} s: {why}" if wait_s else f"restarting: {why}"
    return replace(record, attempts=attempts, restarts=record.restarts + 1, retry_at=now + wait_s, why=told)


def _hold(s: Snapshot, now: float) -> Plan:
    """Stopped on purpose while the manager is silent; started again, at once and uncounted, when it is back."""
    why = f"stopped: the manager has been silent for {s.silent_s:.0f} s beyond its lease"
    if math.isinf(s.silent_s):
        why = "stopped: the manager has not been heard since this machine started"
    assert s.assignment is not None
    if s.instance is not None and s.instance.state is InstanceState.RUNNING:
        record = replace(s.record, held=True, ready_run="", why=why)
        return _stop(s, record, now, why, s.assignment.spec.container.stop_grace_period_s)
    if s.instance is not None and s.instance.run != s.record.counted_run and s.record.held:
        return _plan(s, replace(s.record, counted_run=s.instance.run, why=why), now)
    return _plan(s, s.record, now)


def _leave(s: Snapshot, now: float) -> Plan:
    if s.instance is None:
        record = s.record.at(ReplicaState.STOPPED, "no longer wanted")
        return _plan(s, record, now, Forget(why="no longer wanted"))
    return _end(s, now, "no longer wanted on this node", 10.0)


def _end(s: Snapshot, now: float, why: str, grace_s: float) -> Plan:
    i, record = s.instance, s.record
    if i is None:
        return _plan(s, record.at(ReplicaState.STOPPED, why), now)
    if not record.ended and record.state is not ReplicaState.STOPPING:
        record = replace(record, failures=0, retry_at=0.0)  # what failed so far was to start it
    record = replace(record.at(ReplicaState.STOPPING, why), ready_run="", container_id=record.container_id or i.id)
    if i.state is InstanceState.RUNNING:
        return _stop(s, record, now, why, grace_s)
    if i.state is InstanceState.EXITED and record.state is not ReplicaState.FAILED:
        record = replace(record, exit_code=i.exit_code)
    return _unless_it_failed(s, record, now, Remove(why=why))


def _stop(s: Snapshot, record: Record, now: float, why: str, grace_s: float) -> Plan:
    return _unless_it_failed(s, record, now, Stop(why=why, grace_s=grace_s))


def _unless_it_failed(s: Snapshot, record: Record, now: float, action: Action) -> Plan:
    """The action, or where it failed just now, the time at which to try it again."""
    record = _soon(record, now, LONGEST_DELAY_S)
    if record.failures and record.retry_at > now:
        return _plan(s, record, now, again_at=record.retry_at)
    return _plan(s, record, now, action)


def _soon(record: Record, now: float, longest_s: float) -> Record:
    """The record with a time to try again that is no further off than it can be: the clock may have been set back."""
    return replace(record, retry_at=min(record.retry_at, now + longest_s))


def _plan(s: Snapshot, record: Record, now: float, action: Action | None = None, *, again_at: float | None = None) -> Plan:
    i = s.instance
    running = i is not None and i.state is InstanceState.RUNNING
    status = ReplicaStatus(
        replica_id=record.replica_id,
        state=record.state,
        ready=running and record.state is ReplicaState.RUNNING and i is not None and record.ready_run == i.run,
        why=record.why,
        endpoints=i.endpoints if i is not None and running else (),
        restarts=record.restarts,
        exit_code=record.exit_code,
        container_id=i.id if i is not None else record.container_id,
        at=now,
    )
    return Plan(record=record, status=status, action=action, look_again_at=again_at)


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"
