"""What holds for every test."""

import gc
import signal
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

# The same examples in every run, so that a run fails for what was changed and not for the day; a busy machine is no failure.
# `--hypothesis-profile=search` looks for others, and for more of them where a test does not say how many.
settings.register_profile("same", derandomize=True, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", settings.get_profile("same"), derandomize=False, max_examples=1_000)
settings.load_profile("same")

# A shell has what it starts in its background ignore Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """No garbage is collected while a failure is put into words.

    Pytest reads the failed test's source with `ast`; a finalizer that fails in the middle of that has its traceback written, with
    `ast` too, and before Python 3.11.9 one inside the other raises SystemError (CPython's issue 106905), which ends the run.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        return (yield)
    finally:
        if was_on:
            gc.enable()
