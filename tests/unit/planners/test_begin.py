"""How a rollout begins, and what becomes of the one before it."""

from dataclasses import replace

import pytest
from rookery.model import Rollout, RolloutState, Service
from rookery_manager.planners.begin import begin, revision_to_keep

WEB = Service(app="shop", name="web", revision=3, replicas=2)
LATEST = Rollout(before=1, after=3, number=7)


def test_the_first_one_is_number_1_and_overtakes_none() -> None:
    begun = begin(WEB, before=3, after=4, now=9.0, actor="ann")
    assert begun.rollout == Rollout(before=3, after=4, started_at=9.0, changed_at=9.0, number=1, actor="ann")
    assert begun.overtaken is None


@pytest.mark.parametrize("state", RolloutState)
def test_one_that_is_not_over_is_overtaken(state: RolloutState) -> None:
    begun = begin(replace(WEB, rollout=replace(LATEST, state=state)), before=1, after=4, now=9.0, actor="ann", is_reverse=True)
    assert (begun.rollout.number, begun.rollout.is_reverse) == (8, True)
    if state not in (RolloutState.ROLLING, RolloutState.ROLLING_BACK, RolloutState.PAUSED):
        assert begun.overtaken is None
        return
    assert begun.overtaken is not None
    assert begun.overtaken.number == 7
    assert begun.overtaken.rollout == replace(
        LATEST, state=RolloutState.OVERTAKEN, changed_at=9.0, why=f"it was {state} when revision 4 took its place"
    )


@pytest.mark.parametrize(
    ("state", "before", "after", "in_force", "expected"),
    [
        (RolloutState.DONE, 1, 3, 3, 3),
        (RolloutState.ROLLING, 1, 3, 3, 1),
        (RolloutState.PAUSED, 1, 3, 3, 1),
        (RolloutState.ROLLING_BACK, 1, 3, 1, 1),
        (RolloutState.ROLLED_BACK, 1, 3, 1, 1),
        (RolloutState.ROLLING, 3, 1, 1, 1),  # by hand: what was left is no good
        (RolloutState.PAUSED, 3, 1, 1, 1),
        (RolloutState.ROLLING, 3, 3, 3, 3),  # a restart
    ],
)
def test_a_rollout_that_was_not_done_leaves_its_way_back(
    state: RolloutState, before: int, after: int, in_force: int, expected: int
) -> None:
    rollout = Rollout(before=before, after=after, state=state)
    assert revision_to_keep(replace(WEB, revision=in_force, rollout=rollout)) == expected
    assert revision_to_keep(replace(WEB, rollout=None)) == 3
