"""What holds for every test."""

import gc
from collections.abc import Generator

import pytest


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
