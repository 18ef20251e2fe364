"""Refusals are counted, and told at growing intervals."""

import logging

import pytest
from rookery.refusals import Refusals


def test_the_log_grows_slowly_however_often_it_comes(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    refusals = Refusals(logging.getLogger("test"), lambda: now[0])
    for second in range(24 * 3600):
        now[0] = float(second)
        refusals.note("hello", f"reason {second}")
        refusals.note("hello", "again")
    assert refusals.counts == {"hello": 2 * 24 * 3600}
    told = [record.getMessage() for record in caplog.records]
    assert told[0] == "refused (hello): reason 0"
    assert told[1] == "refused (hello, 21 times now): reason 10"
    assert len(told) < 40


def test_each_kind_is_told_by_itself_and_anew_after_a_calm(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    refusals = Refusals(logging.getLogger("test"), lambda: now[0])
    refusals.note("hello", "a")
    refusals.note("lease", "b")
    now[0] = 50_000.0
    refusals.note("hello", "c")
    now[0] = 50_011.0
    refusals.note("hello", "d")
    assert [record.getMessage()[-1] for record in caplog.records] == ["a", "b", "c", "d"]


def test_a_long_reason_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    Refusals(logging.getLogger("test")).note("hello", "x" * 1_000_000)
    assert len(caplog.records[0].getMessage()) < 1_100
