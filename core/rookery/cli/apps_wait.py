"""Waiting for an app to become what was asked for, or to be gone: what deploy, scale and rm have in common."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import click

from rookery.cli.command import INTERRUPTED, TIMED_OUT
from rookery.cli.converge import Line, Look, Outcome, failures_of, look_at_services
from rookery.cli.output import say
from rookery.cli.text import plural
from rookery.cli.waiting import Display, wait_until
from rookery.client import AsyncClient, ClientError, LogLine, NotFound
from rookery.model import ReplicaId, ReplicaState

T = TypeVar("T")
_LAST_WORDS = 10  # lines of each replica that failed
_LAST_WORDS_WITHIN_S = 5.0
STATUS = {Outcome.DONE: 0, Outcome.FAILED: 1, Outcome.TIMED_OUT: TIMED_OUT}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a wait ended, the last look, and after how long it was so."""

    outcome: Outcome
    look: Look
    after_s: float


async def failures(client: AsyncClient, app: str) -> frozenset[ReplicaId]:
    """The replicas of an app that have failed so far; none where there is no such app."""
    try:
        found = await client.list_replicas(app, ended=True)
    except NotFound:
        return frozenset()
    return frozenset(detail.replica.id for detail in found if detail.replica.state is ReplicaState.FAILED)


async def converge(
    client: AsyncClient,
    app: str,
    display: Display,
    *,
    old_failures: frozenset[ReplicaId],
    timeout_s: float,
    services: frozenset[str] = frozenset(),
    stable_s: float = 0.0,
    updated: Mapping[str, int] | None = None,
) -> Ended:
    """Waits until the app (or only some of its services) is as wanted and stayed so for `stable_s`, or can't become so."""
    begun = time.monotonic()
    failed_at: dict[str, float] = {}
    converged_at: float | None = None

    async def look() -> Look:
        nonlocal converged_at
        status = await client.get_app(app)
        replicas = [detail.replica for detail in await client.list_replicas(app, ended=True)]
        now = time.monotonic()
        watched = [s for s in status.services if not services or s.service.name in services]
        for service in watched:
            for replica in failures_of(service, replicas):
                failed_at.setdefault(replica.id, now)
        seen = look_at_services(watched, replicas, old_failures, {key: now - at for key, at in failed_at.items()}, updated)
        if seen.outcome is not Outcome.DONE:
            converged_at = None
            return seen
        converged_at = now if converged_at is None else converged_at
        left_s = converged_at + stable_s - now
        return seen if left_s <= 0 else replace(seen, outcome=None, again_s=left_s)

    outcome, seen = await wait_until(client, look, display, app=app, timeout_s=timeout_s)
    return Ended(outcome, seen, (converged_at or time.monotonic()) - begun)


async def until_gone(client: AsyncClient, app: str, display: Display, *, timeout_s: float) -> tuple[Outcome, Look]:
    """Waits until there is no such app."""

    async def look() -> Look:
        try:
            left = len(await client.list_replicas(app))
            await client.get_app(app)
        except NotFound:
            return Look([Line(app, "removed", Outcome.DONE)], Outcome.DONE)
        return Look([Line(app, f"{plural(left, 'replica')} left")])

    return await wait_until(client, look, display, app=app, timeout_s=timeout_s)


async def last_words(client: AsyncClient, look: Look) -> list[str]:
    """What the replicas that failed wrote last, as far as it can still be read."""
    words: list[str] = []
    with contextlib.suppress(ClientError, TimeoutError):
        async with asyncio.timeout(_LAST_WORDS_WITHIN_S):
            for line in look.lines:
                app, _, service = line.subject.partition("/")
                if line.culprit:
                    entries = client.logs(app, service, line.culprit, tail=_LAST_WORDS)
                    words += [f"  {entry.replica} | {entry.text}" async for entry in entries if isinstance(entry, LogLine)]
    return words


def run_waiting(work: Callable[[], Coroutine[Any, Any, T]], *, on_interrupt: str) -> T:
    """Runs it; Ctrl-C ends only the waiting, and says so."""
    try:
        return asyncio.run(work())
    except KeyboardInterrupt:
        say("\n" + on_interrupt)
        raise click.exceptions.Exit(INTERRUPTED) from None
