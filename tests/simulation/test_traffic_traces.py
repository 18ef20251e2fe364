"""The rule for the number of replicas over traffic traces: within its limits, without swinging, and beside the plain HPA rule."""

import dataclasses
import itertools
import random
from collections.abc import Collection, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rookery.model import ScalePace
from traffic_traces import EPOCH, MOST, TARGET, TRACES, Hpa, Ours, noise, run


@pytest.mark.parametrize("start_s", [1, 20])
@pytest.mark.parametrize("name", TRACES)
def test_fewer_requests_are_beyond_the_target_than_with_the_plain_rule(name: str, start_s: int) -> None:
    trace = TRACES[name](random.Random(7))[:1800]
    assert run(Ours(), trace, start_s).over_target <= run(Hpa(), trace, start_s).over_target


def test_what_stays_the_same_changes_little() -> None:
    """Noise of 7 % around 30 replicas: no more than the tolerance holds off."""
    assert run(Ours(), noise(random.Random(1)), 5).changes <= 12


loads = st.lists(st.tuples(st.floats(0, 1500), st.integers(1, 90)), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(loads=loads, start_s=st.integers(0, 60), window_s=st.sampled_from([10.0, 60.0]), percent=st.sampled_from([25, 50, 100]))
def test_any_traffic(loads: list[tuple[float, int]], start_s: int, window_s: float, percent: int) -> None:
    trace = [load for load, seconds in loads for _ in range(seconds)]
    rule = Ours()
    rule.policy = dataclasses.replace(rule.policy, down=ScalePace(window_s=window_s, most_percent=percent, per_s=30.0))
    numbers = run(rule, trace, start_s).numbers
    assert all(1 <= number <= MOST for number in numbers)
    for second, (before, after) in enumerate(itertools.pairwise(numbers), start=1):
        recent = trace[max(0, second - int(window_s) + 1) : second + 1]
        if after < before:  # it was not needed for all of the window
            needs = (max(recent) / TARGET) if min(recent) == max(recent) else 0
            assert after >= min(before, int(needs))
            base = max(numbers[max(0, second - 30) : second])
            assert after >= base * (100 - percent) // 100
        if after > before:  # no more than was asked for in the last two seconds
            assert after <= max(trace[max(0, second - 1) : second + 1]) / TARGET + 1
    # It comes to rest: with the same load for long enough there is one number, and it is enough.
    rule.restart(EPOCH - 3600)
    rest = run(rule, [trace[-1]] * 900, start_s).numbers
    assert len(set(rest[600:])) == 1
    assert rest[-1] * TARGET * 1.1 + 1e-6 >= min(trace[-1], MOST * TARGET)


class Restarted(Ours):
    """Its manager is killed at these seconds."""

    def __init__(self, at: Collection[int], **policy: object) -> None:
        super().__init__()
        self.policy = dataclasses.replace(self.policy, **policy)  # type: ignore[arg-type]
        self.at = at

    def wanted(self, now: float, seen: Sequence[float], replicas: int, ready: int) -> int:
        if len(seen) in self.at:
            self.restart(now)
        return super().wanted(now, seen, replicas, ready)


@settings(max_examples=60, deadline=None)
@given(loads=loads, restarts=st.sets(st.integers(1, 400), max_size=4), start_s=st.integers(0, 30))
def test_a_manager_that_was_killed_takes_nothing_away_for_a_window(
    loads: list[tuple[float, int]], restarts: set[int], start_s: int
) -> None:
    trace = [load for load, seconds in loads for _ in range(seconds)]
    numbers = run(Restarted(restarts), trace, start_s).numbers
    for at in restarts:
        after = numbers[max(0, at - 2) : at + 58]
        assert after == sorted(after)


quiet_loads = st.lists(st.tuples(st.sampled_from([0.0, 0.0, 1.0, 30.0]), st.integers(1, 90)), min_size=1, max_size=12)


@settings(max_examples=100, deadline=None)
@given(loads=quiet_loads, restarts=st.sets(st.integers(1, 400), max_size=3), start_s=st.integers(0, 30))
def test_to_zero_only_after_the_idle_time_and_back_at_once(
    loads: list[tuple[float, int]], restarts: set[int], start_s: int
) -> None:
    trace = [load for load, seconds in loads for _ in range(seconds)]
    numbers = run(Restarted(restarts, minimum=0, idle_s=20.0), trace, start_s).numbers
    for second, (load, number) in enumerate(zip(trace, numbers, strict=True)):
        if load:
            assert number > 0
        if number == 0 and second and numbers[second - 1]:
            assert not any(trace[max(0, second - 19) : second + 1])
            assert all(at + 19 <= second + 1 for at in restarts if at <= second + 1)
