"""Whether a canary answers as well as the revision before it did over the same time.

Pure. Invariant: nothing is called worse by chance often, nor without figures that say so; nothing is called as good unseen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from rookery.model import RevisionFigures

from rookery_manager.planners.fisher import p_worse

ALPHA = 0.001
"""The level of one look. A step is looked at once a second, and any look may end it: over 120 looks the same revision on both
sides is called worse in 0.1 to 0.7 % of steps with up to 1 % errors, in 0.3 to 1.4 % of those with 10 %. Measured by
bench/canary.py; docs/decisions/0013-canary-test.md has the figures."""

LEAST_REQUESTS = 10
"""No revision is called worse by fewer: ten failures that follow each other are no hiccup of one connection."""

ERRORS_POINTS = 0.01
"""How far the share of failures may exceed the other revision's: with millions of requests any difference is significant, and
one too small to notice is no reason to go back."""

SLOW_POINTS = 0.05
"""The same for slow answers, which are up to 5 % of the old revision's by definition: as many again."""

USUAL_PERCENT = 95
"""Slow is what takes longer than so many of the old revision's answers: a longer tail shows, and so does a general
slow-down. The 95th percentile moves less from second to second than the 99th, which needs hundreds of answers to be known."""

LEAST_SLOW_S = 0.01
"""No answer within it is slow, however fast the others are: on a busy machine a process waits so long for its turn, and the few
replicas of a canary share their nodes. A difference of a millisecond is no reason to go back."""

MOST_FAILED = 0.5
"""Of a revision that nothing can be compared with: nobody deploys what is to fail at every other request."""


class Outcome(StrEnum):
    TOO_FEW = "too-few"
    AS_GOOD = "as-good"
    WORSE = "worse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the proxies saw of one revision's replicas since a time. `requests` are over: answered or failed. `errors` are those
    of 5xx, without a whole answer or without a connection. `latency_counts`: answers per bucket, the last one all above."""

    requests: int = 0
    errors: int = 0
    latency_counts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`slow_s` is the bound above which answers counted as slow; 0 where none could be told. `why` has the figures."""

    outcome: Outcome
    why: str
    new: RevisionFigures
    old: RevisionFigures
    slow_s: float = 0.0


def compare(
    new: Sample,
    old: Sample,
    *,
    bounds_s: Sequence[float],
    min_requests: int,
    names: tuple[str, str] = ("the new revision", "the old one"),
) -> Comparison:
    """What the figures say, by Fisher's exact test (see fisher.py) on the failed requests and on the slow answers.

    Worse: significant at ALPHA, and by more than the points above. Failures count from LEAST_REQUESTS on, so that a canary that
    only fails is pulled at once; slow answers from `min_requests` on, since the first ones of a new process are slow.
    Where the old revision had fewer than LEAST_REQUESTS (all go to the new one, or there is little traffic), there is nothing
    to compare with: the new one is worse if more than MOST_FAILED of its requests failed, and else as good.
    """
    slow_s, fast_buckets = _slow_bound(old.latency_counts, bounds_s)
    figures = _figures(new, fast_buckets), _figures(old, fast_buckets)
    why = _why_worse(new, old, *figures, slow_s, min_requests, names)
    if why:
        outcome = Outcome.WORSE
    elif new.requests < min_requests:
        outcome, why = (
            Outcome.TOO_FEW,
            f"{names[0]} has answered {new.requests:,} of the {min_requests:,} requests it is judged by",
        )
    else:
        outcome, why = Outcome.AS_GOOD, _why_as_good(*figures, slow_s, names)
    return Comparison(outcome=outcome, why=why, new=figures[0], old=figures[1], slow_s=slow_s)


def _why_worse(
    new: Sample,
    old: Sample,
    figures: RevisionFigures,
    old_figures: RevisionFigures,
    slow_s: float,
    min_requests: int,
    names: tuple[str, str],
) -> str:
    """Empty where it is not worse."""
    if new.requests < LEAST_REQUESTS:
        return ""
    failed = f"{new.errors:,} of {new.requests:,} requests to {names[0]} failed"
    if _is_worse(new.errors, new.requests, old.errors, old.requests, ERRORS_POINTS):
        return f"{failed}, of {names[1]} in the same time {old.errors:,} of {old.requests:,}"
    if old.requests < LEAST_REQUESTS and new.errors > MOST_FAILED * new.requests:
        return f"{failed}, and with {old.requests:,} requests to {names[1]} in the same time there is nothing to compare with"
    answers, old_answers = sum(new.latency_counts), sum(old.latency_counts)
    if new.requests < min_requests or not slow_s:
        return ""
    if _is_worse(figures.slow, answers, old_figures.slow, old_answers, SLOW_POINTS):
        return (
            f"{figures.slow:,} of {answers:,} answers of {names[0]} took longer than {slow_s:g} s, "
            f"of {names[1]} in the same time {old_figures.slow:,} of {old_answers:,}"
        )
    return ""


def _is_worse(bad: int, of: int, old_bad: int, old_of: int, points: float) -> bool:
    if not of or not old_of or bad / of - old_bad / old_of <= points:
        return False
    return p_worse(bad, of, old_bad, old_of) < ALPHA


def _slow_bound(counts: Sequence[int], bounds_s: Sequence[float]) -> tuple[float, int]:
    """The smallest bound, of those that may be one, at or below which the usual part of the answers lie, and how many buckets are
    up to it.

    0, and all buckets, where there are no answers or too many beyond the last bound.
    """
    answers, seen = sum(counts), 0
    for i, (bound_s, count) in enumerate(zip(bounds_s, counts, strict=False)):
        seen += count
        if answers and bound_s >= LEAST_SLOW_S and seen * 100 >= answers * USUAL_PERCENT:
            return bound_s, i + 1
    return 0.0, len(bounds_s) + 1


def _figures(sample: Sample, fast_buckets: int) -> RevisionFigures:
    return RevisionFigures(requests=sample.requests, errors=sample.errors, slow=sum(sample.latency_counts[fast_buckets:]))


def _why_as_good(new: RevisionFigures, old: RevisionFigures, slow_s: float, names: tuple[str, str]) -> str:
    slow = f" and {new.slow:,} took longer than {slow_s:g} s" if slow_s else ""
    seen = f"{new.errors:,} of {new.requests:,} requests to {names[0]} failed{slow}"
    if old.requests < LEAST_REQUESTS:
        return f"{seen}; {names[1]} had {old.requests:,} in the same time, too few to compare with"
    slow = f" and {old.slow:,}" if slow_s else ""
    return f"{seen}, of {names[1]} in the same time {old.errors:,}{slow} of {old.requests:,}"
