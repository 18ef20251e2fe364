"""When a deploy is done, when it has failed, and what is said in between."""

from dataclasses import replace

import pytest
from rookery.cli.converge import failures_of, look_at_services
from rookery.cli.look import Look, Outcome
from rookery.cli.rollouts import Awaited, awaited
from rookery.model import (
    BlueGreen,
    Canary,
    Desired,
    Replica,
    ReplicaId,
    ReplicaState,
    Rollout,
    RolloutState,
    Service,
    ServiceStatus,
)


def status(**given: object) -> ServiceStatus:
    made = ServiceStatus(service=Service(app="shop", name="web", revision=2, replicas=2), wanted=2)
    return replace(made, **given)  # type: ignore[arg-type]


def replica(slot: int, state: ReplicaState, why: str = "", **given: object) -> Replica:
    made = Replica(id=ReplicaId(f"r{slot}{state}"), app="shop", service="web", slot=slot, revision=2, state=state, why=why)
    return replace(made, **given)  # type: ignore[arg-type]


FAILED = replica(1, ReplicaState.FAILED, "exited with status 1")


def test_all_converged_is_done() -> None:
    look = look_at_services([status(converged=True, ready=2, updated=2)], [], frozenset(), {})
    assert (look.outcome, look.lines[0].text) == (Outcome.DONE, "2/2 ready")


def test_a_job_is_done_when_the_manager_says_so() -> None:
    look = look_at_services([status(converged=True, mode="replicated-job")], [], frozenset(), {})
    assert (look.outcome, look.lines[0].text) == (Outcome.DONE, "2 done")


def test_one_of_two_services_is_not_enough() -> None:
    look = look_at_services([status(converged=True, ready=2, updated=2), status()], [], frozenset(), {})
    assert look.outcome is None


@pytest.mark.parametrize(
    ("replicas", "text"),
    [
        ([], "0/2 ready  (manager's why)"),
        (
            [replica(1, ReplicaState.PREPARING, "pulling web:2"), replica(2, ReplicaState.PREPARING, "pulling web:2")],
            "0/2 ready  (2 preparing: pulling web:2)",
        ),
        ([replica(1, ReplicaState.ASSIGNED, "n1 has fewest")], "0/2 ready  (1 assigned)"),
        ([replica(1, ReplicaState.RUNNING, "old", revision=1)], "0/2 ready  (manager's why)"),
        ([replica(1, ReplicaState.PENDING, "no node\x1b[0m fits")], "0/2 ready  (1 pending: no node [0m fits)"),
    ],
)
def test_what_it_waits_for(replicas: list[Replica], text: str) -> None:
    look = look_at_services([status(why="manager's why")], replicas, frozenset(), {})
    assert (look.outcome, look.lines[0].whole) == (None, text)


def test_one_that_keeps_restarting_is_named_for_its_last_words() -> None:
    well, restarting = replica(1, ReplicaState.RUNNING, ready=True, restarts=3), replica(2, ReplicaState.RUNNING, restarts=2)
    look = look_at_services([status()], [well, restarting], frozenset(), {})
    assert (look.outcome, look.lines[0].culprit) == (None, restarting.id)
    assert look_at_services([status()], [well, replica(2, ReplicaState.STARTING)], frozenset(), {}).lines[0].culprit == ""


def test_an_update_counts_the_new_ones() -> None:
    look = look_at_services([status(ready=3, updated=1)], [], frozenset(), {})
    assert look.lines[0].text == "1/2 updated, 3 ready"


def test_a_failure_that_nothing_replaces_ends_it() -> None:
    young = look_at_services([status()], [FAILED], frozenset(), {FAILED.id: 0.5})
    assert young.outcome is None
    old = look_at_services([status()], [FAILED], frozenset(), {FAILED.id: 2.5})
    assert (old.outcome, old.lines[0].text) == (Outcome.FAILED, "0/2 ready: shop/web.1 failed: exited with status 1")


def test_a_failure_that_is_being_replaced_does_not_until_it_happens_again_and_again() -> None:
    successor = replica(1, ReplicaState.STARTING, created_at=5.0)
    assert look_at_services([status()], [FAILED, successor], frozenset(), {FAILED.id: 60.0}).outcome is None
    more = [replace(FAILED, id=ReplicaId(f"x{n}")) for n in range(3)]
    assert look_at_services([status()], [*more, successor], frozenset(), {}).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    "other",
    [
        replace(FAILED, revision=1),
        replace(FAILED, desired=Desired.STOP),
        replace(FAILED, state=ReplicaState.LOST),
        replace(FAILED, service="api"),
    ],
    ids=["of an older revision", "it was to stop", "its node was lost", "of another service"],
)
def test_what_is_no_failure_of_this_deploy(other: Replica) -> None:
    assert failures_of(status(), [other]) == []
    assert failures_of(status(), [FAILED]) == [FAILED]


def test_a_failure_of_before_counts_when_nothing_replaces_it() -> None:
    old = frozenset({FAILED.id})
    assert look_at_services([status()], [FAILED], old, {FAILED.id: 2.5}).outcome is Outcome.FAILED
    crowd = [replace(FAILED, id=ReplicaId(f"x{n}")) for n in range(3)]
    successor = replica(1, ReplicaState.STARTING, created_at=5.0)
    ages = {r.id: 60.0 for r in crowd}
    assert look_at_services([status()], [*crowd, successor], frozenset(r.id for r in crowd), ages).outcome is None


def test_a_failure_in_a_slot_that_is_no_longer_wanted_is_none() -> None:
    beyond = replace(FAILED, slot=3)
    assert look_at_services([status()], [beyond], frozenset(), {beyond.id: 60.0}).outcome is None


def test_a_service_that_converged_has_not_failed() -> None:
    look = look_at_services([status(converged=True, ready=2, updated=2)], [FAILED], frozenset(), {FAILED.id: 60.0})
    assert look.outcome is Outcome.DONE


def rolled(state: RolloutState, number: int = 1, **given: object) -> ServiceStatus:
    """The service, its replicas as wanted, with its rollout to revision 2 in that state."""
    rollout = replace(Rollout(before=1, after=2, state=state, number=number, why="told so"), **given)  # type: ignore[arg-type]
    seen = status(converged=True, ready=2, updated=2)
    return replace(seen, service=replace(seen.service, rollout=rollout))


@pytest.mark.parametrize(
    ("state", "wanted", "outcome", "text"),
    [
        (RolloutState.ROLLED_BACK, Awaited(number=1), Outcome.FAILED, "told so"),
        (RolloutState.PAUSED, Awaited(number=1), Outcome.FAILED, "told so"),
        (RolloutState.OVERTAKEN, Awaited(number=1), Outcome.FAILED, "told so"),
        (RolloutState.ROLLING_BACK, Awaited(number=1), None, "rolling back"),
        (RolloutState.DONE, Awaited(number=1), Outcome.DONE, "2/2 ready"),
        (RolloutState.ROLLED_BACK, Awaited(number=2), Outcome.DONE, "2/2 ready"),  # an earlier one's
        (RolloutState.ROLLED_BACK, None, Outcome.DONE, "2/2 ready"),
        (RolloutState.ROLLED_BACK, Awaited(number=1, back=True), Outcome.DONE, "2/2 ready"),  # it was aborted
        (RolloutState.PAUSED, Awaited(number=1, back=True), Outcome.FAILED, "told so"),
    ],
)
def test_how_a_rollout_ends_the_wait(state: RolloutState, wanted: Awaited | None, outcome: Outcome | None, text: str) -> None:
    seen = rolled(state)
    look = look_at_services([seen], [], frozenset(), {}, {seen.service.key: wanted} if wanted else {})
    assert (look.outcome, look.lines[0].text) == (outcome, text)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"actor": "bob@box"}, "overtaken: the move to revision 2 began (by bob@box)"),
        ({"before": 2}, "overtaken: a restart began"),
    ],
)
def test_a_rollout_that_another_one_overtook_has_failed(given: dict[str, object], text: str) -> None:
    seen = rolled(RolloutState.ROLLING, number=2, **given)
    look = look_at_services([seen], [], frozenset(), {}, {seen.service.key: Awaited(number=1)})
    assert (look.outcome, look.lines[0].text) == (Outcome.FAILED, text)


def test_a_canary_says_how_far_it_is_and_each_step_is_another_stage() -> None:
    strategies = {"shop/web": Canary(interval_s=40.0)}

    def look(**given: object) -> Look:
        seen = replace(rolled(RolloutState.ROLLING, **given), converged=False, why="31 of 50 requests")
        return look_at_services([seen], [], frozenset(), {}, {"shop/web": Awaited(number=1)}, strategies)

    first, again, second = look(share=5, step_at=1.0), look(share=5, step_at=1.0), look(share=5, step=1)
    assert first.lines[0].whole == "canary 5 %: 2/2 ready  (31 of 50 requests)"
    assert first.stage == again.stage != second.stage
    assert first.stage_s == 40.0
    prepared = look()
    assert (prepared.stage, prepared.lines[0].text) == (None, "2/2 ready")
    strategies = {"shop/web": BlueGreen(keep_s=60.0)}
    assert look(share=100, step_at=1.0).lines[0].text == "blue-green 100 %: 2/2 ready"
    strategies = {}
    assert look(share=100, step_at=1.0).lines[0].text == "100 % of the requests: 2/2 ready"


@pytest.mark.parametrize(
    ("seen", "before", "expected"),
    [
        (status(), 0, None),
        (rolled(RolloutState.ROLLED_BACK), 0, Awaited(number=1)),  # it began since, and went back at once
        (rolled(RolloutState.ROLLED_BACK), 1, None),
        (rolled(RolloutState.ROLLING), 1, Awaited(number=1)),  # it is under way still
        (rolled(RolloutState.ROLLING_BACK), 1, Awaited(number=1, back=True)),
        (rolled(RolloutState.PAUSED, paused_in=RolloutState.ROLLING_BACK), 1, Awaited(number=1, back=True)),
    ],
)
def test_which_rollout_is_waited_for(seen: ServiceStatus, before: int, expected: Awaited | None) -> None:
    assert awaited(seen, before) == expected
