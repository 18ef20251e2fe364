"""Days of a whole cluster in virtual time (docs/simulation.md): known seeds, new ones, and every one that found a bug."""

import os
import time

import pytest
from lives import days, outcome_of, outcomes_of
from world.weather import BY_NAME

pytestmark = pytest.mark.timeout(900)  # of a machine that others use, too

FIXED_DAYS = 3  # of each kind of weather
NEW_DAYS = 36
BASE = int(os.environ.get("SIMULATION_SEED") or time.time() // 86_400 * 1_000)

FOUND = {
    "a restarted manager made the same version of the routes with other words": (1, "restarts"),
    "a health check that could not ask the engine condemned a healthy replica": (11, "storm"),
    "a proxy came back later than a manager that had just started waited for it": (6, "restarts"),
    "what must not run twice stayed unready when its node was heard again on the same stream": (3000, "late leases"),
}


@pytest.mark.parametrize("bug", FOUND)
def test_a_seed_that_found_a_bug(bug: str) -> None:
    seed, weather = FOUND[bug]
    status, told = outcome_of(days("--seed", str(seed), "--weather", weather))
    assert status == 0, told


@pytest.mark.parametrize("weather", [name for name in BY_NAME if name != "big"])
def test_known_days_end_well(weather: str) -> None:
    status, told = outcome_of(days("--seed", "100", "--days", str(FIXED_DAYS), "--weather", weather))
    assert status == 0, told


def test_a_big_cluster() -> None:
    status, told = outcome_of(days("--seed", "100", "--weather", "big"))
    assert status == 0, told


def test_new_days_end_well() -> None:
    """Other ones each day; SIMULATION_SEED chooses them."""
    halves = [days("--seed", str(BASE + half * NEW_DAYS // 2), "--days", str(NEW_DAYS // 2)) for half in range(2)]
    for status, told in outcomes_of(halves):
        assert status == 0, told


def test_a_seed_replays_exactly() -> None:
    """In another process, too: else a failing seed would be no report of a bug."""
    (_, once), (_, again) = outcomes_of([days("--seed", "7", "--weather", "storm") for _ in range(2)])
    assert once.splitlines()[-1].startswith("story ")
    assert once.splitlines()[-1] == again.splitlines()[-1]


def test_days_exercise_what_they_are_for() -> None:
    """A simulation in which nothing happens finds nothing."""
    _, told = outcome_of(days("--seed", "200", "--weather", "storm", "--go-on", "--quiet"))
    for what in ("managers killed", "agents killed", "proxies killed", "partitions", "Apply done", "requests served"):
        assert f" {what}" in told, told
