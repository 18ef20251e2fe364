"""Fisher's exact test: how probable it is that one side fares so much worse by chance alone.

Pure. Source: R. A. Fisher, The Logic of Inductive Inference, Journal of the Royal Statistical Society 98, 1935; as formulas:
A. Agresti, Categorical Data Analysis, 3rd edition, section 3.5.
"""

from math import exp, lgamma

_NEGLIGIBLE = 1e-17
"""A term this small beside the sum changes no digit of it."""

_MOST_TERMS = 100_000
"""More are never needed below a billion requests; above, a difference of a percent is beyond any doubt."""


def p_worse(bad: int, of: int, other_bad: int, other_of: int) -> float:
    """The probability of at least `bad` among `of`, were all the bad ones dealt out among both sides at random.

    One-sided: the upper tail of the hypergeometric distribution. Exact for any counts, zero included; lgamma costs 8 digits of
    precision at counts of some millions. Terms fall ever faster on their way from the mean, and are added up from the observed
    one away from it until they no longer matter: after some thousands at counts of millions.
    """
    all_bad, everything = bad + other_bad, of + other_of
    least, most = max(0, all_bad - other_of), min(all_bad, of)
    if bad <= least:
        return 1.0
    if bad * everything > all_bad * of:
        return min(1.0, _tail(bad, most, all_bad, of, everything))
    return max(0.0, 1.0 - _tail(of - bad + 1, of - least, everything - all_bad, of, everything))


def _tail(first: int, last: int, marked: int, drawn: int, everything: int) -> float:
    """The probability of `first` to `last` marked ones in the draw, where it falls from `first` on.

    From one term to the next: p(x+1) / p(x) = (marked-x)(drawn-x) / ((x+1)(everything-marked-drawn+x+1)).
    """
    unmarked_left = everything - marked - drawn
    log_term = _log_choose(marked, first) + _log_choose(everything - marked, drawn - first) - _log_choose(everything, drawn)
    total = term = exp(min(0.0, log_term))
    for x in range(first, min(last, first + _MOST_TERMS)):
        term *= (marked - x) * (drawn - x) / ((x + 1) * (unmarked_left + x + 1))
        total += term
        if term <= total * _NEGLIGIBLE:
            break
    return total


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
