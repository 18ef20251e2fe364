"""The steps of a canary and of blue-green, as tables."""

from dataclasses import replace

import pytest
from rollout_views import NOW, old, planned, replica, spec, view
from rookery.model import BlueGreen, Canary, FailureAction, RevisionFigures, Rolling, Rollout, RolloutState, UpdateConfig
from rookery_manager.planners.compare import Comparison, Outcome
from rookery_manager.planners.service import plan_service
from rookery_manager.planners.steps import places_of_step, step_of
from rookery_manager.planners.view import ServiceView

NONE = RevisionFigures()


def compared(outcome: Outcome, why: str = "the figures") -> Comparison:
    return Comparison(outcome=outcome, why=why, new=NONE, old=NONE)


def with_new(count: int, **rollout: object) -> ServiceView:
    return view(*old(4), *(replica(n, 2) for n in range(1, count + 1)), **rollout)  # type: ignore[arg-type]


def waits_for(of: ServiceView, now: float = NOW) -> str:
    plan = plan_service(of, now)
    assert not plan.actions
    return plan.waits_for


def test_a_step_begins_when_its_replicas_stayed_ready() -> None:
    of = view(*old(4), replica(1, 2, ready_at=NOW - 4))
    assert waits_for(of) == "0 of 1 new replicas are ready and stayed so for 5 s (canary at 25 %)"
    assert plan_service(of, NOW).wake_at == NOW + 1
    assert planned(of, NOW + 1) == ["rolling to 2, step 0, 25 %: canary: 25 % of the requests go to revision 2"]


def test_a_step_lasts_its_time_and_until_it_was_compared() -> None:
    of = with_new(1, share=25, step_at=NOW - 10)
    assert waits_for(of) == "canary at 25 % for 20 s more"
    assert waits_for(of, NOW + 20) == "canary at 25 %; held: no proxy has reported yet"
    few = replace(of, comparison=compared(Outcome.TOO_FEW, "3 of 50"))
    assert waits_for(few) == "canary at 25 % for 20 s more; 3 of 50"
    assert waits_for(few, NOW + 20) == "canary at 25 %; held: 3 of 50"
    good = replace(of, comparison=compared(Outcome.AS_GOOD))
    assert waits_for(good) == "canary at 25 % for 20 s more; the figures"
    assert planned(good, NOW + 20) == ["rolling to 2, step 1, 25 %: as good at 25 %: the figures"]


def test_worse_is_rolled_back_at_once_with_the_figures() -> None:
    worse = replace(with_new(1, share=25, step_at=NOW - 1), comparison=compared(Outcome.WORSE, "9 of 10 failed, of 1 none"))
    assert planned(worse) == ["rolling-back to 1, step 0, 0 %: revision 2 is rolled back to 1: 9 of 10 failed, of 1 none"]
    pauses = spec("web:2", update=UpdateConfig(monitor_s=5.0, failure_action=FailureAction.PAUSE))
    assert planned(replace(worse, specs={**worse.specs, 2: pauses})) == [
        "paused to 2, step 0, 25 %: the rollout of revision 2 is paused: 9 of 10 failed, of 1 none"
    ]


def test_the_next_step_is_prepared_at_the_share_of_the_one_before() -> None:
    prepared = with_new(1, share=25, step=1)
    assert planned(prepared) == ["create 2 of 2: revision 2 of shop/web is tried beside 1"]
    assert planned(with_new(2, share=25, step=1)) == ["rolling to 2, step 1, 50 %: canary: 50 % of the requests go to revision 2"]


def test_what_is_lost_in_a_step_comes_first() -> None:
    lost = view(*old(4), replica(1, 2), share=50, step=1, step_at=NOW - 60)
    good = replace(lost, comparison=compared(Outcome.AS_GOOD))
    assert planned(good) == ["create 2 of 2: revision 2 of shop/web is tried beside 1"]
    assert plan_service(good, NOW).waits_for.startswith("1 of 2 new replicas are ready")


def test_after_the_last_step_it_is_done() -> None:
    last = {"share": 100, "step": 2}
    assert waits_for(with_new(4, step_at=NOW - 29, **last)) == "canary at 100 % for 1 s more"
    assert planned(with_new(4, step_at=NOW - 30, **last)) == ["done to 2, step 0, 0 %: revision 2 is rolled out in 100.0 s"]


def test_blue_green_changes_over_at_once_and_keeps_the_old_ones_for_a_while() -> None:
    specs = {1: spec("web:1"), 2: spec("web:2", BlueGreen(keep_s=20.0))}
    three = replace(with_new(3), specs=specs)
    assert planned(three) == ["create 4 of 2: revision 2 of shop/web is tried beside 1"]
    assert planned(replace(with_new(4), specs=specs)) == [
        "rolling to 2, step 0, 100 %: blue-green: all requests go to revision 2; 1 is kept for 20 s"
    ]
    kept = replace(with_new(4, share=100, step_at=NOW - 19), specs=specs)
    assert waits_for(kept) == "blue-green for 1 s more"
    assert planned(kept, NOW + 1) == ["done to 2, step 0, 0 %: revision 2 is rolled out in 101.0 s"]


def test_a_paused_one_takes_no_step() -> None:
    paused = with_new(1, share=25, step_at=NOW - 60, state=RolloutState.PAUSED)
    assert planned(replace(paused, comparison=compared(Outcome.AS_GOOD))) == []
    assert planned(replace(paused, comparison=compared(Outcome.WORSE))) == []


@pytest.mark.parametrize(
    ("steps", "share", "in_force", "expected"),
    [
        ((25, 50, 100), 0, False, 0),
        ((25, 50, 100), 25, True, 0),
        ((25, 50, 100), 25, False, 1),
        ((25, 50, 100), 50, True, 1),
        ((5, 10, 20, 100), 50, True, 3),  # other settings meanwhile: none of the smaller steps is taken any more
        ((5, 10, 50, 100), 50, True, 2),
        ((100,), 50, True, 0),
        ((25, 50, 100), 100, True, 2),
        ((25, 50, 100), 100, False, 2),
    ],
)
def test_the_share_tells_the_step(steps: tuple[int, ...], share: int, in_force: bool, expected: int) -> None:
    rollout = Rollout(before=1, after=2, share=share, step=7, step_at=NOW if in_force else 0.0)
    assert step_of(Canary(steps=steps), rollout) == expected
    assert places_of_step(Canary(steps=steps), rollout, 7) == -(-7 * steps[expected] // 100)


def test_other_steps_in_the_middle_of_a_canary_go_on_from_its_share() -> None:
    specs = {1: spec("web:1"), 2: spec("web:2"), 3: spec("web:2", Canary(steps=(10, 75, 100), interval_s=1.0))}
    of = view(*old(4), replica(1, 2), replica(2, 2), specs=specs, revision=3, share=50, step=1, step_at=NOW - 60)
    assert planned(of) == ["adopt r1v2 into 3", "adopt r2v2 into 3", "create 3 of 3: revision 3 of shop/web is tried beside 1"]
    three = replace(of, replicas=(*of.replicas, replica(3, 3)))
    assert planned(three) == ["rolling to 3, step 1, 75 %: canary: 75 % of the requests go to revision 3"]


def test_a_rolling_update_goes_on_as_one_whatever_new_settings_say() -> None:
    specs = {1: spec("web:1"), 2: spec("web:2", Rolling()), 3: spec("web:2")}
    half = view(replica(1, 2), replica(2, 2), replica(3, 1), replica(4, 1), specs=specs, revision=3)
    assert planned(half) == [
        "adopt r1v2 into 3",
        "adopt r2v2 into 3",
        "create 3 of 3: revision 1 of shop/web is replaced by 3",
    ]
