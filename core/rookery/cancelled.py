"""A cancellation that something below may swallow.

A call of grpc.aio that is cancelled just as it ends by itself raises its own error instead of CancelledError, and so does a
TaskGroup in which a task fails at that moment. A loop that takes such an error for a broken connection, and tries again, would
then never end.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def cancellable(work: Coroutine[Any, Any, T]) -> T:
    """The outcome of `work`; CancelledError where the caller was asked to end meanwhile, whatever `work` made of it.

    `work` gets a task of its own, since a TaskGroup of Python 3.11 can leave its task looking cancelled.
    """
    caller = asyncio.current_task()
    assert caller is not None
    asked = caller.cancelling()
    try:
        return await asyncio.create_task(work)
    finally:
        if caller.cancelling() > asked:
            raise asyncio.CancelledError
