"""Waiting for an app to become what was asked for, or to be gone: what deploy, restart, rollback, scale and rm have in common."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import click

from rookery.cli.command import INTERRUPTED, TIMED_OUT
from rookery.cli.converge import failures_of, look_at_services
from rookery.cli.display import progress
from rookery.cli.look import Line, Look, Outcome
from rookery.cli.output import say
from rookery.cli.rollouts import Awaited, awaited, takes_steps
from rookery.cli.text import plural
from rookery.cli.waiting import Display, wait_until
from rookery.client import AsyncClient, ClientError, LogLine, NotFound
from rookery.model import ReplicaId, ReplicaState, Strategy

T = TypeVar("T")
STABLE_S = 1.0  # what ends right after its start has not worked
_LAST_WORDS = 10  # lines of each replica that failed
_LAST_WORDS_WITHIN_S = 5.0
STATUS = {Outcome.DONE: 0, Outcome.FAILED: 1, Outcome.TIMED_OUT: TIMED_OUT}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a wait ended, the last look, and after how long it was so."""

    outcome: Outcome
    look: Look
    after_s: float


@dataclass(frozen=True, slots=True)
class Earlier:
    """What there was of an app before something was asked of it, so that what comes of that can be told apart: the replicas that
    had failed, and the number of each service's latest rollout."""

    failures: frozenset[ReplicaId] = frozenset()
    rollouts: Mapping[str, int] = field(default_factory=dict)


async def earlier(client: AsyncClient, app: str) -> Earlier:
    """As it is now; nothing where there is no such app."""
    try:
        found = await client.list_replicas(app, ended=True)
        services = await client.list_services(app)
    except NotFound:
        return Earlier()
    failures = frozenset(detail.replica.id for detail in found if detail.replica.state is ReplicaState.FAILED)
    return Earlier(failures, {s.service.key: s.service.rollout.number for s in services if s.service.rollout})


async def converge(
    client: AsyncClient,
    app: str,
    display: Display,
    *,
    since: Earlier,
    timeout_s: float,
    services: frozenset[str] = frozenset(),
    stable_s: float = 0.0,
    heeds_rollouts: bool = True,
) -> Ended:
    """Waits until the app (or only some of its services) is as wanted and stayed so for `stable_s`, or can't become so.

    Where it `heeds_rollouts`, it can't become so either where one of them is turned round, paused or overtaken.
    """
    begun = time.monotonic()
    failed_at: dict[str, float] = {}
    converged_at: float | None = None
    rollouts: dict[str, Awaited] | None = None
    strategies: dict[str, Strategy] = {}

    async def look() -> Look:
        nonlocal converged_at, rollouts
        status = await client.get_app(app)
        replicas = [detail.replica for detail in await client.list_replicas(app, ended=True)]
        now = time.monotonic()
        watched = [s for s in status.services if not services or s.service.name in services]
        if rollouts is None:
            found = {s.service.key: awaited(s, since.rollouts.get(s.service.key, 0)) for s in watched if heeds_rollouts}
            rollouts = {key: rollout for key, rollout in found.items() if rollout}
        for service in watched:
            key = service.service.key
            if key not in strategies and takes_steps(service.service.rollout):
                strategies[key] = (await client.get_service(app, service.service.name)).spec.strategy
            for replica in failures_of(service, replicas):
                failed_at.setdefault(replica.id, now)
        ages = {key: now - at for key, at in failed_at.items()}
        seen = look_at_services(watched, replicas, since.failures, ages, rollouts, strategies)
        if seen.outcome is not Outcome.DONE:
            converged_at = None
            return seen
        converged_at = now if converged_at is None else converged_at
        left_s = converged_at + stable_s - now
        return seen if left_s <= 0 else replace(seen, outcome=None, again_s=left_s)

    outcome, seen = await wait_until(client, look, display, app=app, timeout_s=timeout_s)
    return Ended(outcome, seen, (converged_at or time.monotonic()) - begun)


async def settle(
    client: AsyncClient,
    app: str,
    *,
    since: Earlier,
    timeout_s: float | None,
    services: frozenset[str] = frozenset(),
    stable_s: float = STABLE_S,
    silent: bool = False,
) -> Ended:
    """Waits as `converge` does and shows it, with the last words of what failed or restarts; a timeout of None does not wait."""
    if timeout_s is None:
        return Ended(Outcome.DONE, Look([]), 0.0)
    with progress(silent=silent) as display:
        ended = await converge(client, app, display, since=since, timeout_s=timeout_s, services=services, stable_s=stable_s)
    if ended.outcome is not Outcome.DONE and not silent:
        for line in await _last_words(client, ended.look):
            click.echo(line)
    return ended


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


async def _last_words(client: AsyncClient, look: Look) -> list[str]:
    """What the replicas that failed or keep restarting wrote last, as far as it can still be read."""
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


def next_steps(look: Look) -> str:
    """What to look at after a wait that did not end well: the replica that failed, or the rollout that ended otherwise."""
    failed = next((line for line in look.lines if line.outcome is Outcome.FAILED), None)
    late = next((line for line in look.lines if line.outcome is None), None)
    if failed is not None and failed.culprit:
        return f"rookery logs {failed.subject} --tail 20; rookery explain {failed.subject}"
    if failed is not None:
        key = failed.subject
        return f"rookery rollout status {key}; rookery history {key}; rookery logs {key} --tail 20"
    if late is None:
        return "rookery services"
    if look.stage is not None:
        return f"rookery rollout status {late.subject}"
    return f"rookery explain {late.subject}; rookery logs {late.subject}"
