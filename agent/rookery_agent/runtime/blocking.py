"""Blocking calls off the event loop, on a bounded number of threads that never keep the process from ending.

Invariant: the caller waits no longer than its deadline, even where the call itself never returns.
"""

import asyncio
import contextlib
import functools
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any, TypeVar

T = TypeVar("T")


class Calls:
    """Runs calls in the order in which they come, `threads` at a time. Threads are made when first needed."""

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._threads = threads
        self._started = 0
        self._idle = 0  # threads that have taken nothing yet
        self._waiting = 0  # calls that none of them has taken yet
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()

    async def run(self, call: Callable[[], T], timeout_s: float) -> T:
        """What the call returns or raises. Raises TimeoutError after `timeout_s`, waiting for a thread included."""
        future: Future[T] = Future()
        with self._lock:
            self._waiting += 1
            if self._waiting > self._idle and self._started < self._threads:
                self._started += 1
                self._idle += 1
                threading.Thread(target=self._work, name=f"{self._name} {self._started}", daemon=True).start()
        self._queue.put((future, call))
        async with asyncio.timeout(timeout_s):
            return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Ends the threads as they become idle."""
        for _ in range(self._started):
            self._queue.put(None)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            with self._lock:
                self._waiting -= 1
                self._idle -= 1
            future, call = item
            tell = _outcome(future, call) if future.set_running_or_notify_cancel() else None  # or else nobody waits any more
            with self._lock:  # before the caller is told, who may come with the next call at once
                self._idle += 1
            if tell is not None:
                with contextlib.suppress(InvalidStateError):  # of a future that was cancelled meanwhile
                    tell()
            del item, future, call, tell


def _outcome(future: Future[T], call: Callable[[], T]) -> Callable[[], None]:
    """Makes the call: what tells its caller how it ended."""
    try:
        result = call()
    except BaseException as error:
        return functools.partial(future.set_exception, error)
    return functools.partial(future.set_result, result)
