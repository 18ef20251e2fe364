"""What an operator may do to a rollout, and what is said where it makes no sense."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from rollout_views import NOW, planned, replica, view
from rookery.model import ReplicaState, Rollout, RolloutState, Service
from rookery_manager.planners.interfere import NotNow, abort, pause, resume
from rookery_manager.planners.rollout import plan_rollout
from rookery_manager.planners.view import ServiceView

WEB = Service(app="shop", name="web", revision=2, replicas=3)
ROLLING = Rollout(before=1, after=2, started_at=900.0, share=25, step=1, step_at=950.0, number=4)
PAUSED = replace(ROLLING, state=RolloutState.PAUSED, why="the rollout of revision 2 is paused by eve")
RESTART = Rollout(before=2, after=2, started_at=900.0, number=4)
PAUSED_BACK = replace(PAUSED, paused_in=RolloutState.ROLLING_BACK)

Step = Callable[..., Service]


def done(step: Step, rollout: Rollout | None, **service: object) -> Service:
    return step(replace(WEB, rollout=rollout, **service), now=NOW, actor="ann")  # type: ignore[arg-type]


def test_pause_and_resume_go_on_in_the_same_step_and_state() -> None:
    after = done(pause, ROLLING)
    assert after.rollout == replace(
        ROLLING, state=RolloutState.PAUSED, changed_at=NOW, why="the rollout of revision 2 is paused by ann"
    )
    assert (after.why, after.changed_at) == ("the rollout of revision 2 is paused by ann", NOW)
    again = done(resume, after.rollout)
    assert again.rollout == replace(
        ROLLING,
        changed_at=NOW,
        judged_from_at=NOW,
        step_at=NOW,  # what was seen while it was paused is not compared
        why="the rollout of revision 2 is resumed by ann",
    )
    back = done(resume, done(pause, replace(ROLLING, state=RolloutState.ROLLING_BACK)).rollout).rollout
    assert back is not None
    assert back.state is RolloutState.ROLLING_BACK


def test_a_step_that_was_only_prepared_still_is_after_a_pause() -> None:
    resumed = done(resume, replace(PAUSED, step_at=0.0)).rollout
    assert resumed is not None
    assert resumed.step_at == 0.0


def test_abort_goes_back_where_it_came_from() -> None:
    for rollout in (ROLLING, PAUSED):
        after = done(abort, rollout, restarted_at=5.0)
        assert (after.revision, after.restarted_at) == (1, 5.0)
        assert after.rollout is not None
        assert (after.rollout.state, after.rollout.share, after.rollout.step_at) == (RolloutState.ROLLING_BACK, 0, 0.0)
        assert after.rollout.judged_from_at == NOW
        assert after.why == "the rollout of revision 2 is aborted by ann"


def test_an_aborted_restart_leaves_what_is_not_restarted_yet() -> None:
    after = done(abort, RESTART, restarted_at=900.0)
    assert (after.revision, after.restarted_at) == (2, 0.0)
    assert after.rollout is not None
    assert (after.rollout.state, after.why) == (RolloutState.ROLLING_BACK, "the restart of revision 2 is aborted by ann")
    left = view(replica(1, 2), replica(2, 2, created_at=100.0), wanted=2)
    aborted = replace(left, service=replace(after, replicas=2))
    assert planned(aborted) == ["rolled-back to 2, step 0, 0 %: the restart of revision 2 is aborted by ann"]


@pytest.mark.parametrize(
    ("step", "rollout", "told"),
    [
        (pause, None, "nothing was ever rolled out of shop/web: revision 2 is its first"),
        (pause, PAUSED, "the rollout of revision 2 of shop/web is paused already: the rollout of revision 2 is paused by eve"),
        (resume, ROLLING, "the rollout of revision 2 of shop/web is not paused, it is rolling"),
        (
            abort,
            replace(ROLLING, state=RolloutState.ROLLING_BACK),
            "the rollout of revision 2 of shop/web goes back to revision 1 already; it is rolling-back",
        ),
        (abort, PAUSED_BACK, "the rollout of revision 2 of shop/web goes back to revision 1 already; it is paused"),
        (
            resume,
            replace(ROLLING, state=RolloutState.DONE, why="done"),
            "the rollout of revision 2 of shop/web is over, it is done: done; to go back: rookery rollback shop/web",
        ),
    ],
)
def test_what_makes_no_sense_says_why(step: Step, rollout: Rollout | None, told: str) -> None:
    with pytest.raises(NotNow) as caught:
        done(step, rollout)
    assert str(caught.value) == told


def resumed(*replicas: object, **changes: object) -> ServiceView:
    old = [replica(n, 1) for n in range(1, 5)]
    return view(*old, *replicas, judged_from_at=NOW - 10, **changes)  # type: ignore[arg-type]


def test_what_failed_before_is_tried_anew_and_not_held_against_it() -> None:
    failed = replica(1, 2, ready=False, state=ReplicaState.FAILED, why="the image is missing")
    assert planned(resumed(failed)) == ["create 1 of 2: takes the place of one that ended: the image is missing"]
    crashing = replica(1, 2, ready=False, restarts=4, why="exited with status 1")
    assert planned(resumed(crashing)) == []
    again = replace(crashing, created_at=NOW - 5)
    assert planned(resumed(again))[0].startswith("rolling-back to 1")


def test_what_is_still_not_ready_has_the_deadline_once_more() -> None:
    never = replica(1, 2, ready=False, why="not yet healthy", created_at=NOW - 700)
    of = resumed(never, started_at=NOW - 800)
    waits = plan_rollout(of, 4, NOW)
    assert waits.actions == ()
    assert waits.wake_at is not None
    assert abs(waits.wake_at - (NOW - 10 + 600)) < 0.1
    assert planned(of, waits.wake_at)[0].endswith("shop/web.1 was not ready within 600 s: not yet healthy")


def test_a_rollout_tries_anew_what_failed_before_it_began() -> None:
    failed = replica(1, 1, ready=False, state=ReplicaState.FAILED, why="the image is missing")
    returned = view(failed, replica(1, 2), wanted=1, before=2, after=1, revision=1)
    assert planned(returned) == ["create 1 of 1: revision 2 of shop/web is replaced by 1"]
