"""The simulation itself is tested by bugs put into the real code on purpose: it must catch each within a few days, and by the
invariant that is there for it."""

import pytest
from lives import days, outcome_of
from world.planted import BUGS

pytestmark = pytest.mark.timeout(900)  # of a machine that others use, too

MOST_DAYS = 60


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_caught(name: str) -> None:
    status, told = outcome_of(days("--plant", name, "--seed", "1", "--days", str(MOST_DAYS), "--quiet"))
    assert status == 1, told
    fault = next(line for line in told.splitlines() if line.startswith("seed "))
    assert any(f": {invariant}: " in fault for invariant in BUGS[name].caught_by), told
