"""The test's probabilities, against counting every way in which the bad ones may fall."""

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery_manager.planners.fisher import p_worse


def by_counting(bad: int, of: int, other_bad: int, other_of: int) -> Fraction:
    all_bad, everything = bad + other_bad, of + other_of
    ways = sum(comb(of, x) * comb(other_of, all_bad - x) for x in range(bad, min(of, all_bad) + 1))
    return Fraction(ways, comb(everything, all_bad))


@st.composite
def tables(draw: st.DrawFn, most: int) -> tuple[int, int, int, int]:
    of, other_of = draw(st.integers(0, most)), draw(st.integers(0, most))
    return draw(st.integers(0, of)), of, draw(st.integers(0, other_of)), other_of


@given(tables(80))
def test_it_is_what_counting_gives(table: tuple[int, int, int, int]) -> None:
    assert p_worse(*table) == pytest.approx(float(by_counting(*table)), rel=1e-9, abs=1e-14)


def test_the_lady_who_tastes_whether_the_milk_came_first() -> None:
    assert p_worse(3, 4, 1, 4) == pytest.approx(17 / 70)


@given(tables(10_000_000))
def test_it_is_a_probability_at_any_size(table: tuple[int, int, int, int]) -> None:
    assert 0.0 <= p_worse(*table) <= 1.0


@given(tables(3_000))
def test_one_more_bad_one_never_makes_it_likelier(table: tuple[int, int, int, int]) -> None:
    bad, of, other_bad, other_of = table
    before = p_worse(*table) * (1 + 1e-7) + 1e-14
    assert p_worse(bad + 1, of + 1, other_bad, other_of) <= before
    if bad < of:
        assert p_worse(bad + 1, of, other_bad, other_of) <= before


def test_millions_of_requests_are_no_trouble() -> None:
    million = 1_000_000
    assert p_worse(10 * million, 20 * million, 10 * million, 20 * million) == pytest.approx(0.5, abs=1e-3)
    assert p_worse(11_000, million, 10_000, million) < 1e-9
    assert p_worse(2**62, 2**63, 2**62, 2**63) <= 1.0  # no proxy counts so far, but one may say so
