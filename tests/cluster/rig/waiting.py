"""Waiting for a condition, never for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Late(AssertionError):
    """A condition did not come true before its deadline."""


def wait_until(condition: Callable[[], T], *, within_s: float, what: str, every_s: float = 0.05) -> T:
    """The first true value of `condition()`; raises Late after `within_s`, with `what` was waited for and the last value."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise Late(f"not within {within_s:g} s: {what} (last seen: {value!r})")
        time.sleep(every_s)
