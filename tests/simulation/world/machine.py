"""Machines, and the processes on them, which can be killed between any two steps.

Invariant: code of a dead process has no effect: whatever it still asks of a disk, an engine or the network is not done.
"""

import asyncio
import contextvars
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from world.clock import MachineClock


@dataclass(eq=False, slots=True, kw_only=True)
class Machine:
    """`disk` outlives everything, `listening` is the server of the process that runs, `write_s` how slow the disk is at most."""

    name: str
    clock: MachineClock
    random: random.Random
    is_on: bool = True
    boots: int = 1
    disk: dict[str, Any] = field(default_factory=dict)
    disk_broken: bool = False
    write_s: float = 0.005
    listening: Any = None

    def write_delay_s(self) -> float:
        return self.random.uniform(0.0, self.write_s)


class Process:
    """`ended` is told of an end that nobody asked for."""

    def __init__(self, machine: Machine, ended: Callable[["Process", BaseException | None], None]) -> None:
        self.machine = machine
        self.dead = False
        self.streams: dict[Any, None] = {}  # ends of streams, client's or server's
        self._ended = ended
        self._task: asyncio.Task[Any] | None = None

    @property
    def name(self) -> str:
        return self.machine.name

    def run(self, main: Coroutine[Any, Any, Any]) -> None:
        self._task = self.spawn(main)
        self._task.add_done_callback(self._on_done)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        context = contextvars.copy_context()
        context.run(HERE.set, self)
        return asyncio.get_running_loop().create_task(coroutine, context=context)

    def kill(self, *, power_lost: bool = False) -> None:
        """It does nothing from now on. Its peers are told by the machine's kernel, unless that went with it."""
        self.dead = True
        if self.machine.listening is not None:
            self.machine.listening = None
        for end in list(self.streams):
            end.die(told=not power_lost)
        self._cancel()

    def _cancel(self) -> None:
        """Again and again: a TaskGroup in which something fails at the same time forgets that it was cancelled."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            asyncio.get_running_loop().call_later(0.001, self._cancel)

    def _on_done(self, task: "asyncio.Task[Any]") -> None:
        if self.dead:
            if not task.cancelled():
                task.exception()
            return
        self.dead = True
        self._ended(self, None if task.cancelled() else task.exception())


HERE: contextvars.ContextVar[Process] = contextvars.ContextVar("the process whose code runs")


def here() -> Process:
    return HERE.get()


class Time:
    """Stands in for the module `time`: the clock of the machine on which the code runs."""

    @staticmethod
    def time() -> float:
        return here().machine.clock.time()

    @staticmethod
    def monotonic() -> float:
        return here().machine.clock.monotonic()


class Secrets:
    """Stands in for the module `secrets`."""

    @staticmethod
    def token_hex(count: int) -> str:
        return here().machine.random.randbytes(count).hex()


class System:
    """Stands in for what is asked of the module `os`."""

    @staticmethod
    def urandom(count: int) -> bytes:
        return here().machine.random.randbytes(count)


class Dice:
    """Stands in for the module `random`."""

    @staticmethod
    def random() -> float:
        return here().machine.random.random()

    @staticmethod
    def uniform(low: float, high: float) -> float:
        return here().machine.random.uniform(low, high)
