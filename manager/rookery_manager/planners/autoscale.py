"""How many replicas a service is to have by what is asked of it: figures in, a number and its reason out. Pure.

The formula. What adds up over replicas (requests in flight, requests a second, processor, memory) calls for

    ceil(what all of them have together / what one is to have)

which is what the Kubernetes HPA makes of an average (https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/,
`ceil(current replicas * current value / wanted value)`), but without the number of replicas in it: those that are not ready yet
change nothing about it, so that a slow start does not call for more and more. As there, a difference within the tolerance calls
for what there is, and of several targets the largest answer counts.

Latency does not add up, and more replicas do not divide it. Above its target it calls for `ready * latency / target`, twice the
ready ones at most, and for no more before the newest replica has been ready for `SETTLED_S`, since the answers before tell
nothing of it. Below half its target it calls for one less than there is, in between for what there is.

The number goes up at once by default, and down to the most that was called for within a window: so a spike needs no second rule
beside the first, like Knative's panic window (https://knative.dev/docs/serving/autoscaling/kpa-specific/), which is there to get
round an average over a minute.

Invariants: a figure that is not known calls for what there is, so it never takes a replica away. Nothing is taken away before
figures were known for a whole window, and the last replica not before a whole idle time, also after a restart.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rookery import cron
from rookery.model import Autoscale, ScaleFigure, ScaleMetric, ScalePace, ScaleTarget

SETTLED_S = 5.0
"""So long must the newest replica be ready before latency calls for another; also the window in which answers are counted."""

MOST_BY_LATENCY = 2.0
MOST_WANTED = 1e6  # whatever a proxy says
LATENCY_IS_LOW = 0.5

_ROUNDING = 1e-9  # 0.3 / 0.1 is 2.9999999999999996, and 70 * 1.1 more than 77


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The least and the most replicas now; `why` names the schedule that says so, if one does."""

    least: int
    most: int
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is known of a metric (all replicas together, in its target's unit), or why nothing is."""

    value: float = 0.0
    missing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A number at a time: what was called for then, or what was wanted until then."""

    at: float
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleView:
    """`called` is what was called for before, oldest first, as far back as the windows go, and complete since `known_since`.
    `changes` holds the numbers that were wanted until they were changed, oldest first. `quiet_since` is the end of the latest
    request, None while there is one or it is not known; `held` requests wait for a replica."""

    policy: Autoscale
    bounds: Bounds
    replicas: int
    ready: int
    newest_ready_at: float = 0.0
    asked: Mapping[ScaleMetric, Asked]
    quiet_since: float | None = None
    held: int = 0
    called: Sequence[Past] = ()
    changes: Sequence[Past] = ()
    known_since: float = 0.0
    is_updating: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """`called` is what the figures call for by themselves, within the bounds: to be remembered for the next time."""

    wanted: int
    called: int
    why: str
    figures: tuple[ScaleFigure, ...] = ()


def plan_scaling(view: ScaleView, now: float) -> Scaling:
    figures = tuple(_judge(view, target, now) for target in view.policy.targets)
    called, why = _call(view, figures, now)
    bounds = view.bounds
    bounded = min(max(called, bounds.least), bounds.most)
    if bounded != called:
        side = f"at least {bounds.least}" if called < bounds.least else f"at most {bounds.most}"
        why = f"{why}; {side} are allowed{bounds.why and f' by {bounds.why}'}"
    if bounded > view.replicas:
        wanted, held_up = _up(view, bounded, now)
    elif bounded < view.replicas:
        wanted, held_up = _down(view, bounded, now)
    else:
        wanted, held_up = bounded, ""
    wanted = min(max(wanted, bounds.least), bounds.most)  # the operator's word: at once, and as far as it takes
    return Scaling(wanted=wanted, called=bounded, why=f"{why}; {held_up}" if held_up else why, figures=figures)


def _judge(view: ScaleView, target: ScaleTarget, now: float) -> ScaleFigure:
    """What a target calls for, whatever the others do."""
    asked = view.asked[target.metric]
    if asked.missing:
        return ScaleFigure(metric=target.metric, target=target.value, missing=asked.missing)
    if target.metric is ScaleMetric.LATENCY_P95:
        wants = _by_latency(view, asked.value / target.value, now)
    else:
        wants = _by_sum(asked.value / target.value, view.replicas, view.policy.tolerance)
    return ScaleFigure(metric=target.metric, value=asked.value, target=target.value, wants=wants)


def _by_sum(needed: float, replicas: int, tolerance: float) -> int:
    if replicas and abs(needed / replicas - 1) <= tolerance + _ROUNDING:
        return replicas
    return math.ceil(min(needed, MOST_WANTED) - _ROUNDING)


def _by_latency(view: ScaleView, ratio: float, now: float) -> int:
    if ratio == 0:  # no answers
        return 0
    if ratio > 1 + view.policy.tolerance:
        settled = now >= view.newest_ready_at + SETTLED_S
        wants = math.ceil(view.ready * min(ratio, MOST_BY_LATENCY) - _ROUNDING)
        return max(wants, view.replicas) if settled else view.replicas
    return max(1, view.replicas - 1) if ratio < LATENCY_IS_LOW else view.replicas


def _call(view: ScaleView, figures: Sequence[ScaleFigure], now: float) -> tuple[int, str]:
    """What the figures call for, and why."""
    known = [figure for figure in figures if not figure.missing]
    most = max(known, key=lambda figure: figure.wants, default=None)
    number = most.wants if most else 0
    why = words(most) if most else ""
    missing = next((f"{figure.metric} is not known: {figure.missing}" for figure in figures if figure.missing), "")
    if missing and number < view.replicas:
        number, why = view.replicas, missing
    if not view.replicas:
        if not view.held:
            return 0, "no request waits"
        return max(1, number), f"{view.held} request{'s wait' if view.held != 1 else ' waits'} for a replica"
    idle_s = view.policy.idle_s
    may_go = view.policy.may_be_zero and not missing and not view.is_updating
    if may_go and view.quiet_since is not None and now - max(view.quiet_since, view.known_since) >= idle_s:
        return 0, f"no request for {idle_s:g} s"
    return max(1, number), why


def _up(view: ScaleView, called: int, now: float) -> tuple[int, str]:
    pace = view.policy.up
    lowest = min([called, *(past.number for past in _within(view.called, pace.window_s, now))])
    if pace.window_s and view.known_since > now - pace.window_s:
        lowest = view.replicas
    limit = _limit(view, pace, now, up=True)
    wanted = max(view.replicas, min(called, lowest, limit))
    if wanted == called:
        return wanted, ""
    if limit < lowest:
        return wanted, f"{called} are to be had, by {_pace(pace)}"
    return wanted, f"{called} have not been called for for {pace.window_s:g} s yet"


def _down(view: ScaleView, called: int, now: float) -> tuple[int, str]:
    pace = view.policy.down
    if called == 0 and view.replicas == 1:
        return 0, ""  # after the idle time, which is a window of its own
    if view.known_since > now - pace.window_s:
        return view.replicas, f"fewer are wanted only after {pace.window_s:g} s of figures"
    highest = max([called, *(past.number for past in _within(view.called, pace.window_s, now))])
    limit = _limit(view, pace, now, up=False)
    wanted = min(view.replicas, max(called, highest, limit))
    if wanted == called:
        return wanted, ""
    if limit > highest:
        return wanted, f"{highest} {'is' if highest == 1 else 'are'} enough, to be reached by {_pace(pace)}"
    if wanted < view.replicas:
        return wanted, f"no more than {highest} were called for in the last {pace.window_s:g} s"
    return wanted, f"{highest} were called for within the last {pace.window_s:g} s"


def _limit(view: ScaleView, pace: ScalePace, now: float, *, up: bool) -> int:
    """How far the number may go, by what it was `per_s` ago."""
    if not pace.most and not pace.most_percent:
        return view.bounds.most if up else 0
    recent = _within(view.changes, pace.per_s, now)
    before = [past.number for past in recent] + [view.replicas]
    if up:  # from the lowest: a way back up was no change
        base = max(1, min(before))
        return max(min(before) + pace.most, math.ceil(base * (1 + pace.most_percent / 100) - _ROUNDING))
    base = max(before)
    return max(0, min(base - pace.most, math.floor(base * (1 - pace.most_percent / 100) + _ROUNDING)))


def _pace(pace: ScalePace) -> str:
    steps = [f"{pace.most}"] if pace.most else []
    steps += [f"{pace.most_percent} %"] if pace.most_percent else []
    return f"{' or '.join(steps)} in {pace.per_s:g} s at most"


def _within(past: Sequence[Past], window_s: float, now: float) -> list[Past]:
    return [one for one in past if one.at > now - window_s]


def words(figure: ScaleFigure) -> str:
    """The figure in words: `68 requests in flight, 10 wanted per replica`."""
    value, target = figure.value, figure.target
    match figure.metric:
        case ScaleMetric.CONCURRENCY:
            return f"{_number(value)} request{'' if value == 1 else 's'} in flight, {target:g} wanted per replica"
        case ScaleMetric.RPS:
            return f"{_number(value)} request{'' if value == 1 else 's'} a second, {target:g} wanted per replica"
        case ScaleMetric.LATENCY_P95:
            return f"95 of 100 answers within {1000 * value:.0f} ms, {1000 * target:.0f} ms wanted"
        case ScaleMetric.CPU:
            return f"{value:.0f} % of a replica's processors busy, {target:g} % wanted per replica"
        case ScaleMetric.MEMORY:
            return f"{value:.0f} % of a replica's memory in use, {target:g} % wanted per replica"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == round(value) else f"{value:.1f}"


def bounds_at(policy: Autoscale, now: float) -> Bounds:
    """The policy's bounds, or those of the schedule whose time came last; of two at the same time the later one in the list."""
    latest, latest_at = None, 0
    for schedule in policy.schedules:
        at = cron.latest(schedule.cron, schedule.time_zone, now)
        if at is not None and at >= latest_at:
            latest, latest_at = schedule, at
    if latest is None:
        return Bounds(least=policy.minimum, most=policy.maximum)
    return Bounds(
        least=policy.minimum if latest.minimum is None else latest.minimum,
        most=policy.maximum if latest.maximum is None else latest.maximum,
        why=f"the schedule '{latest.cron}' ({latest.time_zone})",
    )
