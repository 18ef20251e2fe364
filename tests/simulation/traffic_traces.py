"""Traffic over time, and what a rule for the number of replicas makes of it: pure, a second a step.

What is asked is requests in flight. A replica that is wanted serves after a start delay; one that is not wanted any more is gone
at once. Each rule sees what it would see: ours the mean of two seconds, every second; the HPA that of the last half minute
(its metrics are scraped), every 15 s.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rookery.model import Autoscale, ScaleMetric, ScaleTarget
from rookery_manager.planners.autoscale import Asked, Bounds, Past, ScaleView, plan_scaling

TARGET = 10.0
MOST = 200
EPOCH = 1_000_000.0

Trace = Sequence[float]


def diurnal(rng: random.Random, seconds: int = 7200) -> Trace:
    """A day in two hours, with noise."""
    return [max(0.0, 400 * (1 - math.cos(2 * math.pi * t / seconds)) / 2 + rng.gauss(0, 15)) for t in range(seconds)]


def steps(rng: random.Random, seconds: int = 3600) -> Trace:
    """Up tenfold and down again, at times that nobody knows."""
    level, trace = 30.0, []
    while len(trace) < seconds:
        trace += [max(0.0, level + rng.gauss(0, level / 20)) for _ in range(rng.randint(120, 600))]
        level = 300.0 if level == 30.0 else 30.0
    return trace[:seconds]


def bursty(rng: random.Random, seconds: int = 3600) -> Trace:
    """A low level, and spikes of one to ten seconds."""
    trace = [max(0.0, rng.gauss(50, 10)) for _ in range(seconds)]
    at = 0
    while (at := at + rng.randint(20, 180)) < seconds - 10:
        for t in range(at, at + rng.randint(1, 10)):
            trace[t] += rng.uniform(100, 500)
    return trace


def adversarial(rng: random.Random, seconds: int = 3600) -> Trace:
    """Up whenever fewer replicas have just become enough: with the period of the windows, and some chance."""
    trace, t = [], 0
    while len(trace) < seconds:
        period = rng.choice([30, 61, 62, 90, 301])
        trace += [200.0 if i < period // 10 + 1 else 5.0 for i in range(period)]
        t += period
    return trace[:seconds]


def noise(rng: random.Random, seconds: int = 3600) -> Trace:
    """The same all the time, as far as requests ever are."""
    return [max(0.0, rng.gauss(300, 20)) for _ in range(seconds)]


TRACES: dict[str, Callable[[random.Random], Trace]] = {
    "diurnal": diurnal, "steps": steps, "bursty": bursty, "adversarial": adversarial, "noise": noise,
}  # fmt: skip


class Rule(Protocol):
    def wanted(self, now: float, seen: Sequence[float], replicas: int, ready: int) -> int:
        """`seen` is what was in flight in every second so far, newest last."""


class Ours:
    def __init__(self, policy: Autoscale | None = None) -> None:
        target = ScaleTarget(metric=ScaleMetric.CONCURRENCY, value=TARGET)
        self.policy = policy or Autoscale(minimum=1, maximum=MOST, targets=(target,))
        self.restart(EPOCH - 3600)

    def restart(self, now: float) -> None:
        """The manager that remembered is gone, and another one begins."""
        self._known_since = now
        self._called: deque[Past] = deque()
        self._changes: deque[Past] = deque()
        self._busy_at = 0.0

    def wanted(self, now: float, seen: Sequence[float], replicas: int, ready: int) -> int:
        recent = seen[-2:]
        if any(recent):
            self._busy_at = now
        for past in (self._called, self._changes):
            while past and past[0].at < now - 3600:
                past.popleft()
        view = ScaleView(
            policy=self.policy,
            bounds=Bounds(least=self.policy.minimum, most=self.policy.maximum),
            replicas=replicas,
            ready=ready,
            asked={ScaleMetric.CONCURRENCY: Asked(value=sum(recent) / len(recent))},
            called=self._called,
            changes=self._changes,
            known_since=self._known_since,
            quiet_since=None if any(recent) else self._busy_at,
            held=math.ceil(seen[-1]) if not ready else 0,
        )
        plan = plan_scaling(view, now)
        if self._called and self._called[-1].number == plan.called:
            self._called.pop()
        self._called.append(Past(at=now, number=plan.called))
        if plan.wanted != replicas:
            self._changes.append(Past(at=now, number=replicas))
        return plan.wanted


class Hpa:
    """Kubernetes' rule as its documentation has it: every 15 s, tolerance 0.1, replicas that are not ready taken to have nothing;
    up by four or to twice as many in 15 s, down to the most of a window (300 s)."""

    EVERY_S = 15
    SEES_S = 30

    def __init__(self, down_window_s: float = 300.0) -> None:
        self._window_s = down_window_s
        self._called: deque[Past] = deque()

    def wanted(self, now: float, seen: Sequence[float], replicas: int, ready: int) -> int:  # noqa: ARG002
        if int(now) % self.EVERY_S:
            return replicas
        recent = seen[-self.SEES_S :]
        ratio = sum(recent) / len(recent) / replicas / TARGET
        called = replicas if abs(ratio - 1) <= 0.1 else math.ceil(ratio * replicas)
        called = min(max(called, 1), MOST)
        self._called.append(Past(at=now, number=called))
        while self._called[0].at <= now - self._window_s:
            self._called.popleft()
        highest = max(past.number for past in self._called)
        if called < replicas:
            return min(replicas, highest)
        return min(called, max(replicas + 4, replicas * 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`over_target` adds up requests in flight beyond what the ready replicas are to have, `idle` ready replicas beyond what is
    needed, both over seconds; `numbers` is what was wanted in every second."""

    over_target: float
    idle: float
    changes: int
    numbers: Sequence[int]


def run(rule: Rule, trace: Trace, start_s: int) -> Outcome:
    """What the rule makes of the trace, beginning with one replica that is ready."""
    wanted, started, seen = 1, [EPOCH - start_s], list[float]()
    over_target = idle = 0.0
    numbers = []
    for second, load in enumerate(trace):
        now = EPOCH + second
        seen.append(load)
        ready = sum(at + start_s <= now for at in started)
        over_target += max(0.0, load - ready * TARGET)
        idle += max(0, ready - math.ceil(load / TARGET))
        wanted = rule.wanted(now, seen, len(started), ready)
        started = started[:wanted] + [now] * (wanted - len(started))
        numbers.append(wanted)
    changes = sum(a != b for a, b in zip([1, *numbers], numbers, strict=False))
    return Outcome(over_target=over_target, idle=idle, changes=changes, numbers=numbers)
