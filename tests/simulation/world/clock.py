"""Virtual time: an event loop in which waiting costs nothing, and the clocks of machines, none of which is quite right.

Invariant: time leaps only when no code has anything left to do, and what is due at one instant is done in the order in which it
was asked for. No two runs differ: not even sets of tasks are in the order of their addresses.
"""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

START_S = 1_000.0
TURN_S = 1e-6  # what code takes, each turn of the loop: nothing that waits for a clock of its own waits for ever
EPOCH_AT = 1_700_000_000.0


class OrderedTask(asyncio.Task[Any]):
    """A task whose place in a set does not depend on where it lies in memory."""

    _numbers = itertools.count()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._number = next(OrderedTask._numbers)
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class Stuck(Exception):
    """Nothing will ever happen again."""


class _Leap:
    """Stands in for the selector: instead of waiting for sockets it lets time pass."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stuck("no timer is left")
        self._loop.now += max(timeout, TURN_S)
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """`write_s` tells how long the disk of whoever asks takes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START_S
        self.write_s: Callable[[], float] = lambda: 0.0
        self._selector = _Leap(self)
        OrderedTask._numbers = itertools.count()
        self.set_task_factory(self._task)

    def time(self) -> float:
        return self.now

    def run_in_executor(self, _executor: Any, work: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":
        """Done by nobody else, only later."""
        done = self.create_future()

        def finish() -> None:
            if done.cancelled():
                return
            try:
                done.set_result(work(*args))
            except Exception as error:
                done.set_exception(error)

        self.call_later(self.write_s(), finish)
        return done

    @staticmethod
    def _task(
        loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], context: Context | None = None
    ) -> OrderedTask:
        return OrderedTask(coroutine, loop=loop, context=context)

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """There is nobody else."""


class MachineClock:
    """What one machine takes for the time: `offset_s` off, and as fast as `rate` says."""

    def __init__(self, loop: VirtualLoop, *, offset_s: float = 0.0, rate: float = 1.0) -> None:
        self._loop = loop
        self.offset_s = offset_s
        self._rate = rate

    def time(self) -> float:
        return EPOCH_AT + self._loop.now * self._rate + self.offset_s

    def monotonic(self) -> float:
        return self._loop.now * self._rate
