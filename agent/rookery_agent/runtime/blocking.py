"""Blocking calls off the event loop, on a bounded number of threads that never keep the process from ending.

Invariant: the caller waits no longer than its deadline, even where the call itself never returns.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Calls:
    """Runs calls in the order in which they come, `threads` at a time. Threads are made when first needed."""

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._threads = threads
        self._started = 0
        self._idle = 0
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()

    async def run(self, call: Callable[[], T], timeout_s: float) -> T:
        """What the call returns or raises. Raises TimeoutError after `timeout_s`, waiting for a thread included."""
        future: Future[T] = Future()
        self._queue.put((future, call))
        with self._lock:
            if not self._idle and self._started < self._threads:
                self._started += 1
                threading.Thread(target=self._work, name=f"{self._name} {self._started}", daemon=True).start()
        async with asyncio.timeout(timeout_s):
            return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Ends the threads as they become idle."""
        for _ in range(self._started):
            self._queue.put(None)

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            item = self._queue.get()
            with self._lock:
                self._idle -= 1
            if item is None:
                return
            future, call = item
            if not future.set_running_or_notify_cancel():
                continue  # nobody waits any more
            try:
                result = call()
            except BaseException as error:
                with contextlib.suppress(Exception):
                    future.set_exception(error)
            else:
                with contextlib.suppress(Exception):
                    future.set_result(result)
            del item, future, call
