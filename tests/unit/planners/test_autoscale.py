"""How many replicas the planner calls for: by each metric, over windows, at its limits, down to zero and back."""

import dataclasses
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery.model import Autoscale, ScaleMetric, ScalePace, ScaleSchedule, ScaleTarget
from rookery_manager.planners.autoscale import Asked, Bounds, Past, ScaleView, bounds_at, plan_scaling

NOW = 10_000.0
CONCURRENCY, RPS, P95 = ScaleMetric.CONCURRENCY, ScaleMetric.RPS, ScaleMetric.LATENCY_P95
CPU, MEMORY = ScaleMetric.CPU, ScaleMetric.MEMORY
DEFAULT_TARGETS = {CONCURRENCY: 10.0}


def policy(targets: dict[ScaleMetric, float] | None = None, **fields: object) -> Autoscale:
    named = tuple(ScaleTarget(metric=metric, value=value) for metric, value in (targets or DEFAULT_TARGETS).items())
    known: dict[str, object] = {"minimum": 1, "maximum": 20, "targets": named, "idle_s": 60.0, **fields}
    return Autoscale(**known)  # type: ignore[arg-type]


def view(replicas: int = 3, concurrency: float = 0.0, *, by: Autoscale | None = None, **fields: object) -> ScaleView:
    by = by or policy()
    known: dict[str, object] = {
        "policy": by,
        "bounds": Bounds(least=by.minimum, most=by.maximum),
        "replicas": replicas,
        "ready": replicas,
        "asked": {CONCURRENCY: Asked(value=concurrency)},
        **fields,
    }
    return ScaleView(**known)  # type: ignore[arg-type]


def asked(**values: float | str) -> dict[ScaleMetric, Asked]:
    return {
        ScaleMetric(name): Asked(missing=value) if isinstance(value, str) else Asked(value=value)
        for name, value in values.items()
    }


def test_it_goes_up_at_once_and_says_why() -> None:
    plan = plan_scaling(view(3, 68.0), NOW)
    assert (plan.wanted, plan.why) == (7, "68 requests in flight, 10 wanted per replica")


@pytest.mark.parametrize(
    ("targets", "values", "replicas", "wanted"),
    [
        ({CONCURRENCY: 10}, {"concurrency": 30.0}, 3, 3),
        ({CONCURRENCY: 10}, {"concurrency": 33.0}, 3, 3),  # within the tolerance
        ({CONCURRENCY: 10}, {"concurrency": 33.1}, 3, 4),
        ({RPS: 50}, {"rps": 340.0}, 3, 7),
        ({CPU: 60}, {"cpu": 300.0}, 3, 5),
        ({MEMORY: 70}, {"memory": 350.0}, 3, 5),
        ({CONCURRENCY: 10, RPS: 50}, {"concurrency": 10.0, "rps": 340.0}, 3, 7),  # the largest
        ({P95: 0.2}, {"latency_p95": 0.3}, 4, 6),
        ({P95: 0.2}, {"latency_p95": 30.0}, 4, 8),  # twice at most
        ({P95: 0.2}, {"latency_p95": 0.21}, 4, 4),
        ({P95: 0.2}, {"latency_p95": 0.11}, 4, 4),  # neither high nor low
        ({P95: 0.2}, {"latency_p95": 0.05}, 4, 3),
        ({P95: 0.2}, {"latency_p95": 0.05}, 1, 1),
        ({P95: 0.2}, {"latency_p95": 0.0}, 4, 1),  # no answers
    ],
)
def test_what_the_metrics_call_for(
    targets: dict[ScaleMetric, float], values: dict[str, float], replicas: int, wanted: int
) -> None:
    by = policy(targets, down=ScalePace())
    assert plan_scaling(view(replicas, by=by, asked=asked(**values)), NOW).wanted == wanted


def test_replicas_that_are_not_ready_yet_count() -> None:
    """Of ten that were called for one is ready: no more are called for while the same is asked."""
    assert plan_scaling(view(10, 95.0, ready=1), NOW).wanted == 10
    slow = view(8, by=policy({P95: 0.1}), ready=4, asked=asked(latency_p95=9.0))
    assert plan_scaling(slow, NOW).wanted == 8


def test_latency_before_the_newest_replica_is_no_reason_for_another() -> None:
    slow = view(4, by=policy({P95: 0.1}), asked=asked(latency_p95=0.2), newest_ready_at=NOW - 1)
    assert plan_scaling(slow, NOW).wanted == 4
    assert plan_scaling(slow, NOW + 5).wanted == 8


def test_it_goes_down_to_the_most_of_the_window() -> None:
    called = (Past(at=NOW - 61, number=9), Past(at=NOW - 50, number=6), Past(at=NOW - 1, number=2))
    plan = plan_scaling(view(8, 20.0, called=called), NOW)
    assert plan.wanted == 6
    assert plan.why == "20 requests in flight, 10 wanted per replica; no more than 6 were called for in the last 60 s"
    plan = plan_scaling(view(6, 20.0, called=called), NOW)
    assert (plan.wanted, plan.why.partition("; ")[2]) == (6, "6 were called for within the last 60 s")


def test_it_goes_down_by_half_in_half_a_minute() -> None:
    plan = plan_scaling(view(16, 10.0), NOW)
    assert plan.wanted == 8
    assert plan.why.endswith("; 1 is enough, to be reached by 50 % in 30 s at most")
    after = view(8, 10.0, changes=(Past(at=NOW, number=16),))
    assert plan_scaling(after, NOW + 29).wanted == 8
    assert plan_scaling(dataclasses.replace(after, changes=()), NOW + 30).wanted == 4


def test_nothing_is_taken_away_before_a_whole_window_was_seen() -> None:
    young = view(8, 0.0, known_since=NOW - 59)
    assert plan_scaling(young, NOW).wanted == 8
    assert plan_scaling(young, NOW + 1).wanted == 4
    assert plan_scaling(view(8, 200.0, known_since=NOW), NOW).wanted == 20


def test_up_may_be_slow_too() -> None:
    by = policy(up=ScalePace(window_s=10.0, most=2, per_s=30.0))
    called = (Past(at=NOW - 5, number=3),)
    assert plan_scaling(view(2, 100.0, by=by, called=called), NOW).wanted == 3  # the least of the window
    assert plan_scaling(view(2, 100.0, by=by), NOW).wanted == 4  # two at a time
    assert plan_scaling(view(4, 100.0, by=by, changes=(Past(at=NOW - 1, number=2),)), NOW).wanted == 4


@pytest.mark.parametrize("known", [0.0, 5.0])
def test_a_figure_that_is_missing_takes_nothing_away(known: float) -> None:
    by = policy({CONCURRENCY: 10, CPU: 60}, minimum=0)
    figures = asked(concurrency=known, cpu="node n1 does not report")
    plan = plan_scaling(view(5, by=by, asked=figures, quiet_since=0.0), NOW)
    assert (plan.wanted, plan.why) == (5, "cpu is not known: node n1 does not report")
    figures = asked(concurrency=80.0, cpu="node n1 does not report")
    assert plan_scaling(view(5, by=by, asked=figures), NOW).wanted == 8


def test_the_last_one_goes_after_the_idle_time() -> None:
    by = policy(minimum=0, idle_s=60.0)
    assert plan_scaling(view(1, by=by, quiet_since=NOW - 59), NOW).wanted == 1
    plan = plan_scaling(view(1, by=by, quiet_since=NOW - 60), NOW)
    assert (plan.wanted, plan.why) == (0, "no request for 60 s")
    assert plan_scaling(view(1, by=by, quiet_since=0.0, known_since=NOW - 59), NOW).wanted == 1
    assert plan_scaling(view(1, by=by, quiet_since=None), NOW).wanted == 1
    assert plan_scaling(view(1, by=by, quiet_since=0.0, is_updating=True), NOW).wanted == 1


def test_it_stays_at_zero_until_a_request_waits() -> None:
    by = policy(minimum=0)
    assert plan_scaling(view(0, by=by, quiet_since=NOW), NOW).wanted == 0
    assert plan_scaling(view(0, 3.0, by=by), NOW).wanted == 0  # what is in flight is with the one that goes
    one = plan_scaling(view(0, 1.0, by=by, held=1), NOW)
    assert (one.wanted, one.why) == (1, "1 request waits for a replica")
    assert plan_scaling(view(0, 45.0, by=by, held=45), NOW).wanted == 5
    assert plan_scaling(view(0, by=by, held=2, asked=asked(concurrency="no proxy is connected")), NOW).wanted == 1


def test_nonsense_wants_no_more_than_can_be_told() -> None:
    plan = plan_scaling(view(1, 1e9, by=policy({CONCURRENCY: 1e-3})), NOW)
    assert (plan.wanted, plan.figures[0].wants) == (20, 1_000_000)


def test_bounds_count_at_once_and_in_full() -> None:
    by = policy(minimum=4, maximum=6, up=ScalePace(most=1, per_s=60.0))
    assert plan_scaling(view(1, by=by), NOW).wanted == 4
    plan = plan_scaling(view(15, 200.0, by=by, known_since=NOW), NOW)
    assert plan.wanted == 6
    assert "at most 6 are allowed" in plan.why


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_the_schedule_whose_time_came_last_is_in_force() -> None:
    day = ScaleSchedule(cron="0 8 * * mon-fri", time_zone="Europe/Berlin", minimum=5)
    night = ScaleSchedule(cron="0 20 * * *", time_zone="Europe/Berlin", minimum=0, maximum=3)
    by = policy(minimum=1, schedules=(day, night))
    for when, least, most in [
        ("2026-07-06T05:59", 0, 3),  # a Monday; Berlin is two hours ahead
        ("2026-07-06T06:00", 5, 20),
        ("2026-07-06T17:59:59", 5, 20),
        ("2026-07-06T18:00", 0, 3),
        ("2026-12-07T06:59", 0, 3),  # in winter it is one hour
        ("2026-12-07T07:00", 5, 20),
        ("2026-07-05T12:00", 0, 3),  # a Sunday: the evening before counts
    ]:
        found = bounds_at(by, at(when))
        assert (found.least, found.most) == (least, most), when
    assert bounds_at(by, at("2026-07-06T06:00")).why == "the schedule '0 8 * * mon-fri' (Europe/Berlin)"
    assert bounds_at(policy(minimum=2), NOW) == Bounds(least=2, most=20)


def test_a_schedule_of_a_zone_that_is_not_there_never_came() -> None:
    by = policy(schedules=(ScaleSchedule(cron="* * * * *", time_zone="Mars/Base", minimum=7),))
    assert bounds_at(by, NOW).least == 1


def test_a_schedule_in_the_hour_that_a_clock_leaves_out_counts_all_the_same() -> None:
    by = policy(schedules=(ScaleSchedule(cron="30 2 * * *", time_zone="Europe/Berlin", minimum=7),))
    assert bounds_at(by, at("2026-03-29T01:30")).least == 7


numbers = st.integers(0, 30)
amounts = st.floats(0, 1000)
past = st.lists(st.builds(Past, at=st.floats(NOW - 100, NOW), number=numbers), max_size=6).map(
    lambda found: tuple(sorted(found, key=lambda one: one.at))
)
paces = st.builds(
    ScalePace,
    window_s=st.sampled_from([0.0, 10.0, 60.0]),
    most=st.integers(0, 5),
    most_percent=st.sampled_from([0, 10, 50, 100]),
    per_s=st.just(30.0),
)
policies = st.builds(
    lambda low, more, up, down, tolerance: policy(minimum=low, maximum=max(1, low + more), up=up, down=down, tolerance=tolerance),
    st.integers(0, 5), numbers, paces, paces, st.sampled_from([0.0, 0.1, 0.5]),
)  # fmt: skip


@given(
    by=policies,
    replicas=numbers,
    value=amounts,
    called=past,
    changes=past,
    known=st.floats(NOW - 100, NOW),
    missing=st.booleans(),
)
def test_any_plan_is_within_bounds_and_takes_nothing_away_without_figures(
    by: Autoscale, replicas: int, value: float, called: tuple[Past, ...], changes: tuple[Past, ...], known: float, missing: bool
) -> None:
    figures = asked(concurrency="silence") if missing else asked(concurrency=value)
    seen = view(replicas, by=by, asked=figures, called=called, changes=changes, known_since=known)
    plan = plan_scaling(seen, NOW)
    assert by.minimum <= plan.wanted <= by.maximum
    assert plan.why
    if missing or known > NOW - by.down.window_s:
        assert plan.wanted >= min(replicas, by.maximum)
    if plan.wanted < replicas <= by.maximum:
        recent = [one.number for one in called if one.at > NOW - by.down.window_s]
        assert all(plan.wanted >= min(number, replicas) for number in recent)


@given(by=policies, replicas=st.integers(1, 30), value=amounts, more=amounts)
def test_more_traffic_never_wants_fewer_replicas(by: Autoscale, replicas: int, value: float, more: float) -> None:
    low, high = (plan_scaling(view(replicas, v, by=by), NOW) for v in (value, value + more))
    assert low.wanted <= high.wanted


@given(by=policies, replicas=st.integers(0, 30), value=amounts)
def test_what_is_reached_is_kept(by: Autoscale, replicas: int, value: float) -> None:
    """The same traffic leads to one number, and does not go to and fro."""
    free = dataclasses.replace(by, minimum=max(1, by.minimum), up=ScalePace(), down=ScalePace())
    first = plan_scaling(view(max(1, replicas), value, by=free), NOW).wanted
    assert plan_scaling(view(first, value, by=free), NOW).wanted == first
