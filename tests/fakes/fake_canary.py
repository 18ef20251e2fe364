"""Traffic to two revisions, drawn at random: what a canary step would see, look by look."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import erf, log, sqrt
from random import Random

from rookery_manager.planners.compare import Comparison, Outcome, Sample, compare

# As in rookery_proxy.stats, which a manager's test does not import.
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How a revision answers: so many errors, latencies log-normal. `spread` 0.8: the 95th percentile is 3.7 medians."""

    errors: float = 0.01
    median_s: float = 0.02
    spread: float = 0.8

    def up_to_bounds(self) -> Sequence[float]:
        """The share of the answers up to each bound."""
        return [(1 + erf(log(bound_s / self.median_s) / self.spread / sqrt(2))) / 2 for bound_s in BOUNDS_S]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A canary step: `rate` requests a second in all, looked at each second."""

    new: Behaviour = Behaviour()
    old: Behaviour = Behaviour()
    share: int = 5
    rate: int = 100
    looks: int = 120
    min_requests: int = 50


def looks(step: Step, random: Random) -> Iterator[Comparison]:
    new, old = Sample(), Sample()
    for _ in range(step.looks):
        to_new = sum(random.random() * 100 < step.share for _ in range(step.rate))
        new = _more(new, step.new, to_new, random)
        old = _more(old, step.old, step.rate - to_new, random)
        yield compare(new, old, bounds_s=BOUNDS_S, min_requests=step.min_requests)


def first_worse(step: Step, random: Random) -> Comparison | None:
    """The look at which the new revision is called worse; None where it never is."""
    return next((look for look in looks(step, random) if look.outcome is Outcome.WORSE), None)


def _more(sample: Sample, behaviour: Behaviour, requests: int, random: Random) -> Sample:
    drawn = Counter(random.choices(range(len(BOUNDS_S) + 1), cum_weights=[*behaviour.up_to_bounds(), 1.0], k=requests))
    before = sample.latency_counts or (0,) * (len(BOUNDS_S) + 1)
    return Sample(
        requests=sample.requests + requests,
        errors=sample.errors + sum(random.random() < behaviour.errors for _ in range(requests)),
        latency_counts=tuple(count + drawn[i] for i, count in enumerate(before)),
    )
