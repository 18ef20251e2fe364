"""A latency from the buckets of a histogram."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery.model.traffic import quantile

BOUNDS = (0.1, 0.2, 0.5, 1.0)


@pytest.mark.parametrize(
    ("counts", "part", "expected"),
    [
        ((0, 0, 0, 0, 0), 0.5, None),
        ((10, 0, 0, 0, 0), 0.5, 0.05),
        ((0, 10, 0, 0, 0), 0.5, 0.15),
        ((5, 5, 0, 0, 0), 0.5, 0.1),
        ((0, 0, 0, 0, 3), 0.5, 1.0),
        ((99, 0, 0, 1, 0), 0.99, 0.1),
    ],
)
def test_a_quantile_lies_where_the_answers_do(counts: tuple[int, ...], part: float, expected: float | None) -> None:
    found = quantile(BOUNDS, counts, part)
    assert found == (None if expected is None else pytest.approx(expected))


@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=60), st.floats(0.01, 1.0))
def test_it_is_in_the_bucket_of_the_exact_one(answers: list[float], part: float) -> None:
    counts = [0] * (len(BOUNDS) + 1)
    for answer in answers:
        counts[sum(answer > bound for bound in BOUNDS)] += 1
    exact = sorted(answers)[max(0, -int(-part * len(answers) // 1) - 1)]
    bucket = sum(exact > bound for bound in BOUNDS)
    found = quantile(BOUNDS, counts, part)
    low, high = (0.0, *BOUNDS)[bucket], (*BOUNDS, BOUNDS[-1])[bucket]
    assert found is not None
    assert low - 1e-9 <= found <= high + 1e-9
