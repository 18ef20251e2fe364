"""Waiting for the cluster to get somewhere: looks again whenever it changed, shows each look, ends with an outcome.

Level-triggered: the watch only wakes it, what counts is read anew each time. So a watch that breaks costs nothing but time, and a
manager that goes away for a while is waited for.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from typing import Protocol

from rookery.cli.look import Line, Look, Outcome
from rookery.client import AsyncClient, ClientError, TimedOut, Unreachable

_BLIND_S = 0.3  # looked at this often where the watch is broken
_SPACING_S = 0.1  # and never more often than this


class Display(Protocol):
    def show(self, look: Look) -> None: ...


async def wait_until(
    client: AsyncClient,
    look: Callable[[], Awaitable[Look]],
    display: Display,
    *,
    app: str = "",
    timeout_s: float,
    spacing_s: float = _SPACING_S,
) -> tuple[Outcome, Look]:
    """How it ended and the last look. Raises ClientError when the manager refuses, not when it is away.

    The time counts anew with each stage of what is waited for.
    """
    deadline = time.monotonic() + timeout_s
    seen = Look([])
    stage: Hashable = None
    async with _changes(client, app) as next_change:
        while True:
            try:
                seen = await look()
                display.show(seen)
            except (Unreachable, TimedOut) as error:
                display.show(Look([*seen.lines, Line("manager", f"away, trying again ({error.code.lower()})")]))
            if seen.outcome is not None:
                return seen.outcome, seen
            if seen.stage != stage:
                stage, deadline = seen.stage, time.monotonic() + timeout_s + seen.stage_s
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return Outcome.TIMED_OUT, seen
            await asyncio.sleep(min(spacing_s, left_s))
            await next_change(max(0.0, min(seen.again_s, deadline - time.monotonic())))


@contextlib.asynccontextmanager
async def _changes(client: AsyncClient, app: str) -> AsyncIterator[Callable[[float], Awaitable[None]]]:
    """Gives a function that returns when something changed since it last returned, or after that many seconds."""
    changed = asyncio.Event()
    broken = asyncio.Event()
    try:  # from before the first look on: what happens until the watch is there must wake it too
        revision = (await client.get_cluster()).revision
    except (Unreachable, TimedOut):
        revision = 0

    async def follow() -> None:
        try:
            async for _ in client.watch(app, after_revision=revision, reconnect=True):
                changed.set()
        except ClientError:
            broken.set()
            changed.set()

    async def next_change(within_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(within_s, _BLIND_S) if broken.is_set() else within_s):
                await changed.wait()
        changed.clear()

    following = asyncio.create_task(follow())  # owned here: it ends with this block, and never with an error
    try:
        yield next_change
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
