"""The decision about one replica, as tables and as stories: what it does next and what it reports."""

import math
from dataclasses import replace

import pytest
from rookery.model import (
    Assignment,
    ContainerSpec,
    Desired,
    Endpoint,
    HttpProbe,
    ImageProbe,
    Mode,
    NoProbe,
    OnDisconnect,
    Probe,
    ReplicaId,
    ReplicaState,
    Replicated,
    ReplicatedJob,
    RestartCondition,
    RestartPolicy,
    ServiceSpec,
)
from rookery_agent.record import Record, dump, load
from rookery_agent.runtime.protocol import Instance, InstanceState
from rookery_agent.step import (
    Forget,
    Health,
    Plan,
    Prepare,
    Remove,
    Snapshot,
    Start,
    Stop,
    Verdict,
    delay_s,
    failed,
    step,
)

ID = ReplicaId("r1")
NOW = 1000.0
AT = Endpoint(replica_id=ID, address="10.0.0.1", port=32768, target=80)
NEW = Record(replica_id=ID)
PREPARED = Record(replica_id=ID, state=ReplicaState.PREPARING, prepared=True)
STARTED = Record(replica_id=ID, state=ReplicaState.RUNNING, prepared=True, container_id="c1")
RUNNING = Instance(replica_id=ID, id="c1", state=InstanceState.RUNNING, endpoints=(AT,), started_at=900.0)


def wanted(
    *,
    desired: Desired = Desired.RUN,
    probe: Probe = NoProbe(),  # noqa: B008 a frozen value
    restart: RestartPolicy = RestartPolicy(),  # noqa: B008 a frozen value
    mode: Mode = Replicated(),  # noqa: B008 a frozen value
    on_disconnect: OnDisconnect = OnDisconnect.KEEP,
    after_s: float = 0.0,
) -> Assignment:
    spec = ServiceSpec(
        name="web",
        container=ContainerSpec(image="web:1", stop_grace_period_s=7.0),
        probe=probe,
        restart=restart,
        mode=mode,
        on_disconnect=on_disconnect,
        on_disconnect_after_s=after_s,
    )
    return Assignment(replica_id=ID, app="shop", service="web", slot=1, revision=1, spec=spec, desired=desired, why="told so")


def exited(code: int | None = 1, *, started_at: float = 995.0, oom: bool = False) -> Instance:
    return Instance(
        replica_id=ID,
        id="c1",
        state=InstanceState.EXITED,
        exit_code=code,
        oom_killed=oom,
        started_at=started_at,
        finished_at=999.0,
    )


def plan(record: Record = NEW, instance: Instance | None = None, assignment: Assignment | None = None, **more: object) -> Plan:
    snapshot = Snapshot(assignment=assignment or wanted(), instance=instance, record=record)
    return step(replace(snapshot, **more), NOW)  # type: ignore[arg-type]


def test_first_it_is_prepared() -> None:
    made = plan()
    assert made.action == Prepare(why="told so")
    assert made.status.state is ReplicaState.PREPARING


def test_then_started() -> None:
    made = plan(PREPARED)
    assert made.action == Start(why="told so")
    assert made.status.state is ReplicaState.STARTING


def test_one_that_is_to_be_prepared_only_waits_once_it_is() -> None:
    prepare = wanted(desired=Desired.PREPARE)
    assert isinstance(step(Snapshot(assignment=prepare, instance=None, record=NEW), NOW).action, Prepare)
    waiting = step(Snapshot(assignment=prepare, instance=None, record=PREPARED), NOW)
    assert waiting.action is None
    assert (waiting.status.state, waiting.status.why) == (
        ReplicaState.STARTING,
        "prepared, to be started when the one before it is gone",
    )
    assert isinstance(step(Snapshot(assignment=wanted(), instance=None, record=waiting.record), NOW).action, Start)


def test_then_it_runs_and_is_ready_without_a_probe() -> None:
    made = plan(PREPARED, RUNNING)
    assert made.action is None
    assert made.status.state is ReplicaState.RUNNING
    assert made.status.ready
    assert made.status.endpoints == (AT,)
    assert made.status.container_id == "c1"


@pytest.mark.parametrize(
    ("verdict", "ready"),
    [
        (Verdict(), False),
        (Verdict(run=RUNNING.run), False),
        (Verdict(run=RUNNING.run, health=Health.HEALTHY), True),
        (Verdict(run="an earlier one", health=Health.HEALTHY), False),
    ],
)
def test_a_probe_decides_readiness(verdict: Verdict, ready: bool) -> None:
    made = plan(PREPARED, RUNNING, wanted(probe=HttpProbe(port=80)), verdict=verdict)
    assert made.status.ready is ready
    assert made.action is None


@pytest.mark.parametrize(("health", "ready"), [("", True), ("starting", False), ("healthy", True)])
def test_the_images_own_check_decides_readiness(health: str, ready: bool) -> None:
    made = plan(PREPARED, replace(RUNNING, health=health), wanted(probe=ImageProbe()))
    assert made.status.ready is ready


def test_once_ready_it_stays_so_after_the_agent_starts_again() -> None:
    ready = plan(PREPARED, RUNNING, wanted(probe=HttpProbe(port=80)), verdict=Verdict(run=RUNNING.run, health=Health.HEALTHY))
    (again,) = load(dump({ID: ready.record})).values()
    assert plan(again, RUNNING, wanted(probe=HttpProbe(port=80))).status.ready


@pytest.mark.parametrize(
    ("assignment", "instance", "verdict"),
    [
        (
            wanted(probe=HttpProbe(port=80)),
            RUNNING,
            Verdict(run=RUNNING.run, health=Health.UNHEALTHY, why="its health check failed 3 times in a row"),
        ),
        (wanted(probe=ImageProbe()), replace(RUNNING, health="unhealthy"), Verdict()),
    ],
)
def test_an_unhealthy_one_is_stopped_and_restarted_as_a_crash(
    assignment: Assignment, instance: Instance, verdict: Verdict
) -> None:
    first = plan(STARTED, instance, assignment, verdict=verdict)
    assert isinstance(first.action, Stop)
    assert first.action.grace_s == 7.0
    assert not first.status.ready
    then = plan(first.record, exited(0), assignment)
    assert isinstance(then.action, Start)
    assert then.record.restarts == 1
    assert "health check failed" in then.action.why
    assert not plan(then.record, RUNNING, assignment).record.condemned


def test_a_crash_is_restarted_at_once_and_counted_once() -> None:
    first = plan(STARTED, exited(1))
    assert first.action == Start(why="restarting: exited with status 1")
    assert (first.record.restarts, first.status.restarts) == (1, 1)
    assert first.status.state is ReplicaState.RUNNING
    assert not first.status.ready
    again = plan(first.record, exited(1))
    assert again.record.restarts == 1


def test_the_back_off_grows_and_says_so() -> None:
    record, waits = STARTED, []
    for i in range(10):
        made = plan(record, exited(1, started_at=990.0 + i / 10))
        waits.append(made.record.retry_at - NOW)
        record = replace(made.record, retry_at=0.0)
    assert waits == [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert "restarting in 60 s: exited with status 1" in made.status.why


def test_during_the_back_off_it_waits() -> None:
    record = replace(STARTED, attempts=3)
    made = plan(record, exited(1))
    assert made.action is None
    assert made.look_again_at == NOW + 4
    assert step(Snapshot(assignment=wanted(), instance=exited(1), record=made.record), NOW + 4.01).action is not None


def test_a_clock_that_went_back_delays_no_longer_than_the_longest_back_off() -> None:
    made = plan(replace(STARTED, retry_at=NOW + 10_000, counted_run=exited().run), exited())
    assert made.look_again_at == NOW + 60


def test_a_quiet_period_resets_the_back_off() -> None:
    made = plan(replace(STARTED, attempts=6), exited(1, started_at=999.0 - 61))
    assert made.record.attempts == 1
    assert isinstance(made.action, Start)


@pytest.mark.parametrize(
    ("attempts", "given", "expected"), [(1, None, 0), (2, None, 1), (8, None, 60), (1000, None, 60), (1, 5.0, 5.0), (9, 0.0, 0.0)]
)
def test_delays(attempts: int, given: float | None, expected: float) -> None:
    assert delay_s(attempts, given) == expected


NEVER = RestartPolicy(condition=RestartCondition.NONE)
ON_FAILURE = RestartPolicy(condition=RestartCondition.ON_FAILURE)


@pytest.mark.parametrize(
    ("assignment", "code", "state"),
    [
        (wanted(restart=NEVER), 0, ReplicaState.STOPPED),
        (wanted(restart=NEVER), 3, ReplicaState.FAILED),
        (wanted(restart=NEVER), None, ReplicaState.FAILED),
        (wanted(restart=ON_FAILURE), 0, ReplicaState.STOPPED),
        (wanted(restart=ON_FAILURE), 3, None),
        (wanted(), 0, None),
        (wanted(mode=ReplicatedJob()), 0, ReplicaState.STOPPED),
        (wanted(mode=ReplicatedJob()), 1, None),
    ],
)
def test_what_becomes_of_one_that_ended(assignment: Assignment, code: int | None, state: ReplicaState | None) -> None:
    made = plan(STARTED, exited(code), assignment)
    if state is None:
        assert isinstance(made.action, Start)
        return
    assert made.action is None
    assert made.status.state is state
    assert made.status.exit_code == code
    after = plan(made.record, exited(code), assignment)
    assert (after.action, after.status.state) == (None, state)


def test_restarts_are_used_up() -> None:
    policy, record = RestartPolicy(max_attempts=2), STARTED
    for i in range(3):
        made = plan(replace(record, retry_at=0.0), exited(1, started_at=990.0 + i / 10), wanted(restart=policy))
        record = made.record
    assert made.status.state is ReplicaState.FAILED
    assert made.status.why == "exited with status 1; restarted 2 times, no more are allowed"
    assert made.status.restarts == 2


def test_memory_is_named_as_the_cause() -> None:
    assert "killed for want of memory" in plan(STARTED, exited(137, oom=True)).status.why


def test_a_container_removed_from_outside_comes_back() -> None:
    made = plan(STARTED, None)
    assert made.record.restarts == 1
    assert isinstance(made.action, Start)
    assert "removed from outside" in made.action.why


def test_an_adopted_instance_is_left_alone() -> None:
    made = plan(NEW, RUNNING)
    assert made.action is None
    assert made.status.state is ReplicaState.RUNNING
    assert made.status.restarts == 0


def test_a_call_that_failed_is_tried_again_later() -> None:
    record = failed(plan().record, "no such image", NOW, attempt=False)
    made = plan(record)
    assert made.action is None
    assert made.status.state is ReplicaState.PREPARING
    assert made.status.why == "no such image; trying again in 1 s"
    assert made.look_again_at == NOW + 1
    assert failed(replace(record, failures=50), "no", NOW, attempt=False).retry_at == NOW + 60


def test_after_a_start_that_failed_it_is_prepared_anew() -> None:
    record = failed(replace(PREPARED, state=ReplicaState.STARTING), "network is gone", NOW, attempt=True)
    made = step(Snapshot(assignment=wanted(), instance=None, record=record), NOW + 2)
    assert isinstance(made.action, Prepare)
    assert made.status.state is ReplicaState.STARTING


def test_a_stop_goes_by_signal_removal_and_report() -> None:
    stop = wanted(desired=Desired.STOP)
    first = plan(STARTED, RUNNING, stop)
    assert first.action == Stop(why="told so", grace_s=7.0)
    assert first.status.state is ReplicaState.STOPPING
    assert not first.status.ready
    second = plan(first.record, exited(0), stop)
    assert second.action == Remove(why="told so")
    third = plan(replace(second.record, container_id=""), None, stop)
    assert third.action is None
    assert (third.status.state, third.status.exit_code) == (ReplicaState.STOPPED, 0)


def test_a_stop_of_what_never_ran_is_done_at_once() -> None:
    made = plan(NEW, None, wanted(desired=Desired.STOP))
    assert (made.action, made.status.state) == (None, ReplicaState.STOPPED)


def test_a_failed_one_that_is_to_stop_is_removed_and_stays_failed() -> None:
    record = replace(STARTED, state=ReplicaState.FAILED, why="used up")
    stop = wanted(desired=Desired.STOP)
    made = plan(record, exited(1), stop)
    assert isinstance(made.action, Remove)
    assert plan(made.record, None, stop).status.state is ReplicaState.FAILED


def test_what_is_no_longer_assigned_is_stopped_removed_and_forgotten() -> None:
    def orphan(instance: Instance | None, record: Record = STARTED) -> Plan:
        return step(Snapshot(assignment=None, instance=instance, record=record), NOW)

    assert isinstance(orphan(RUNNING).action, Stop)
    assert isinstance(orphan(exited(0)).action, Remove)
    assert isinstance(orphan(None).action, Forget)


ONCE = wanted(on_disconnect=OnDisconnect.STOP, after_s=5.0)


def test_while_the_manager_is_silent_most_go_on() -> None:
    assert plan(STARTED, RUNNING, silent_s=10_000.0).action is None


def test_those_that_must_not_run_twice_stop_after_their_time() -> None:
    early = plan(STARTED, RUNNING, ONCE, silent_s=4.0)
    assert early.action is None
    assert early.look_again_at == NOW + 1.0
    late = plan(STARTED, RUNNING, ONCE, silent_s=5.1)
    assert isinstance(late.action, Stop)
    assert "silent for 5 s" in late.action.why
    held = plan(late.record, exited(0), ONCE, silent_s=6.0)
    assert held.action is None
    assert held.record.restarts == 0


def test_they_start_again_uncounted_when_the_manager_is_back() -> None:
    late = plan(STARTED, RUNNING, ONCE, silent_s=5.1)
    held = plan(late.record, exited(0), ONCE, silent_s=6.0)
    back = plan(held.record, exited(0), ONCE)
    assert isinstance(back.action, Start)
    assert back.record.restarts == 0


def test_nothing_is_started_while_it_is_held() -> None:
    assert plan(PREPARED, None, ONCE, silent_s=5.1).action is None
    assert plan(NEW, None, ONCE, silent_s=5.1).action is None


def test_one_that_crashed_waits_for_a_lease_that_is_there() -> None:
    waits = plan(STARTED, exited(1), ONCE, silent_s=1.0)
    assert waits.action is None
    assert "not started without its lease" in waits.status.why
    assert waits.look_again_at is not None
    assert isinstance(plan(waits.record, exited(1), ONCE).action, Start)


def test_a_machine_that_started_anew_has_no_lease() -> None:
    stopped = plan(STARTED, RUNNING, ONCE, silent_s=math.inf)
    assert isinstance(stopped.action, Stop)
    assert "not been heard since this machine started" in stopped.action.why


def test_a_stop_that_failed_is_tried_again_later_and_later() -> None:
    for assignment, silent_s in ((ONCE, 9.0), (wanted(desired=Desired.STOP), 0.0)):
        first = plan(STARTED, RUNNING, assignment, silent_s=silent_s)
        assert isinstance(first.action, Stop)
        after = failed(first.record, "the engine can't", NOW, attempt=False)
        again = plan(after, RUNNING, assignment, silent_s=silent_s)
        assert again.action is None
        assert again.look_again_at == NOW + 1.0
    sick = failed(replace(STARTED, condemned="it coughs"), "the engine can't", NOW, attempt=False)
    assert plan(sick, RUNNING).look_again_at == NOW + 1.0


def test_a_stop_does_not_wait_for_what_failed_before_it() -> None:
    broken = replace(failed(PREPARED, "port 80 is taken", NOW, attempt=True), failures=7, retry_at=NOW + 60)
    assert isinstance(plan(broken, RUNNING, wanted(desired=Desired.STOP)).action, Stop)


def test_one_that_somebody_paused_is_not_ready_until_it_goes_on() -> None:
    paused = plan(replace(STARTED, ready_run=RUNNING.run), replace(RUNNING, paused=True))
    assert paused.action is None
    assert not paused.status.ready
    assert "docker unpause c1" in paused.status.why
    assert plan(paused.record, RUNNING).status.ready
    assert isinstance(plan(STARTED, replace(RUNNING, paused=True), wanted(desired=Desired.STOP)).action, Stop)


def test_a_clock_that_was_set_back_delays_nothing_for_long() -> None:
    waits = replace(STARTED, counted_run=exited(1).run, restarts=1, attempts=1, retry_at=NOW + 7_200.0)
    looked = plan(waits, exited(1))
    assert looked.look_again_at == NOW + 60.0
    assert looked.record.retry_at == NOW + 60.0
    patient = plan(waits, exited(1), wanted(restart=RestartPolicy(delay_s=300.0)))
    assert patient.look_again_at == NOW + 300.0
    broken = failed(replace(STARTED, state=ReplicaState.STOPPING), "it hangs", NOW + 7_200.0, attempt=False)
    assert plan(broken, RUNNING, wanted(desired=Desired.STOP)).look_again_at == NOW + 60.0


def test_an_engines_endless_words_are_cut() -> None:
    assert len(failed(NEW, "x" * 1_000_000, NOW, attempt=True).why) < 1_100


def test_the_state_never_goes_back() -> None:
    order = list(ReplicaState)
    for state in (ReplicaState.STARTING, ReplicaState.RUNNING, ReplicaState.STOPPING, ReplicaState.STOPPED):
        for instance in (None, RUNNING, exited(0)):
            for assignment in (wanted(), wanted(desired=Desired.STOP), ONCE):
                made = plan(replace(STARTED, state=state), instance, assignment, silent_s=9.0)
                assert order.index(made.status.state) >= order.index(state)
