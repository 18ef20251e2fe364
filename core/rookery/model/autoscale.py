"""How the number of a service's replicas follows its traffic: the policy, and what the manager makes of it."""

from dataclasses import dataclass, field
from enum import StrEnum


class ScaleMetric(StrEnum):
    """What is measured. All but the latency add up over replicas."""

    CONCURRENCY = "concurrency"  # requests and connections in flight, those that are held too
    RPS = "rps"  # requests and connections that begin in a second
    LATENCY_P95 = "latency_p95"  # seconds to the first byte of an answer, that 95 of 100 don't exceed
    CPU = "cpu"  # percent of what a replica may use
    MEMORY = "memory"  # percent of what a replica may use


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleTarget:
    """What one replica is to have of it: a number, a rate, seconds, or percent, as the metric says."""

    metric: ScaleMetric
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalePace:
    """How a number may change in one direction.

    It goes no further than was called for during all of the last `window_s`. Within `per_s` it changes by `most` replicas or
    by `most_percent` of those there were, whichever is more; both 0: there is no such limit.
    """

    window_s: float = 0.0
    most: int = 0
    most_percent: int = 0
    per_s: float = 0.0


SCALE_UP = ScalePace()
"""At once: to be late costs requests, to be early costs a replica for a while."""

SCALE_DOWN = ScalePace(window_s=60.0, most_percent=50, per_s=30.0)
"""After a minute without need, half of them in half a minute at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleSchedule:
    """Bounds that are in force from each time that matches the cron expression, in that time zone, until another schedule's
    time comes. What is None is as the policy says."""

    cron: str
    time_zone: str = "UTC"
    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscale:
    """Between `minimum` and `maximum` the target that calls for the most replicas decides; none is changed for a difference
    within the `tolerance`, a share of the number.

    With a minimum of 0 the last replica goes after `idle_s` without a request. Requests that come then are held in the proxy,
    for `hold_s` at most, and `hold_most` at a time in each of its workers, until there is a replica.
    """

    minimum: int = 1
    maximum: int = 1
    targets: tuple[ScaleTarget, ...] = ()
    tolerance: float = 0.1
    up: ScalePace = field(default_factory=lambda: SCALE_UP)
    down: ScalePace = field(default_factory=lambda: SCALE_DOWN)
    schedules: tuple[ScaleSchedule, ...] = ()
    idle_s: float = 300.0
    hold_s: float = 60.0
    hold_most: int = 5_000

    @property
    def may_be_zero(self) -> bool:
        """Whether there is any time at which no replica may be left."""
        return 0 in (self.minimum, *(schedule.minimum for schedule in self.schedules))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleByHand:
    """What an operator set in place of the spec's policy, until the next deploy; None is that it is off."""

    policy: Autoscale | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleFigure:
    """What was seen of a metric: of all replicas together, of the latency of all answers. `wants` replicas follow from it.

    Where it is not known, `missing` says why, and the others are 0.
    """

    metric: ScaleMetric
    value: float = 0.0
    target: float = 0.0
    wants: int = 0
    missing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleDecision:
    """A change of the number, or of the reason why it stays."""

    at: float = 0.0
    before: int = 0
    after: int = 0
    ready: int = 0
    why: str = ""
    figures: tuple[ScaleFigure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoscaleStatus:
    """`policy` is the one in force: None where there is none, or it is off. `minimum` and `maximum` are those of now.

    `latest` is what was decided when the figures were last looked at; `decisions` are the changes before, newest
    first: 50 at most, and as far as the store's history goes back.
    """

    app: str
    service: str
    policy: Autoscale | None = None
    by_hand: bool = False
    minimum: int = 0
    maximum: int = 0
    replicas: int = 0
    ready: int = 0
    held: int = 0
    latest: ScaleDecision | None = None
    decisions: tuple[ScaleDecision, ...] = ()
