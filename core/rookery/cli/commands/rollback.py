"""`rookery rollback`: the way back of a service, or of a whole app, to an earlier revision."""

import click

from rookery.cli.apps_wait import STABLE_S, STATUS, Ended, earlier, next_steps, run_waiting, settle
from rookery.cli.command import command, json_option, pass_session, waiting_options
from rookery.cli.completing import complete_workload
from rookery.cli.look import Outcome
from rookery.cli.output import say, show_json, warn
from rookery.cli.session import Session
from rookery.cli.targets import AppTarget, ServiceTarget, split
from rookery.client import RolledBack


@command("rollback")
@click.argument("target", metavar="APP[/SERVICE]", shell_complete=complete_workload)
@click.option("--to", type=click.IntRange(1, 2**31 - 1), default=None, help="The revision; without it, what was before.")
@waiting_options
@json_option
@pass_session
def rollback(session: Session, target: str, to: int | None, detach: bool, timeout: float, as_json: bool) -> None:
    """Return a service, or all services of an app, to an earlier revision, and wait until their replicas are back.

    How many replicas there are stays as it is. 'rookery history' lists the revisions, of a service and of an app.
    """
    go_back(session, split(target), to or 0, None if detach else timeout, as_json)


def go_back(session: Session, target: AppTarget | ServiceTarget, to: int, timeout_s: float | None, as_json: bool) -> None:
    """Returns it and exits with how that ended; `to` 0 is what was before, a timeout of None does not wait."""
    key = name_of(target)
    interrupted = f"The roll-back of {key} goes on in the background. Look with: rookery ps {key}"
    outcome = run_waiting(lambda: _rollback(session, target, to, timeout_s, as_json), on_interrupt=interrupted)
    raise click.exceptions.Exit(STATUS[outcome])


def name_of(target: AppTarget | ServiceTarget) -> str:
    return f"{target.app}/{target.service}" if isinstance(target, ServiceTarget) else target.app


async def _rollback(
    session: Session, target: AppTarget | ServiceTarget, to: int, timeout_s: float | None, as_json: bool
) -> Outcome:
    service = target.service if isinstance(target, ServiceTarget) else ""
    async with session.async_client() as client:
        since = await earlier(client, target.app)
        done = await client.rollback(target.app, service, to)
        changes = bool(done.services) or done.before != done.after
        if not as_json:
            _tell(target, done, changes)
        ended = await settle(
            client,
            target.app,
            since=since,
            timeout_s=timeout_s,
            services=frozenset({service} if service else {change.service for change in done.services}),
            stable_s=STABLE_S if changes else 0.0,
            silent=as_json,
        )
    if as_json:
        of_app = {"app": target.app, "services": done.services, "left": done.left, "gone": done.gone}
        what = {"service": name_of(target)} if service else of_app
        word = "started" if timeout_s is None else ended.outcome.value
        show_json({**what, "before": done.before, "after": done.after, "outcome": word, "took_s": round(ended.after_s, 3)})
    elif timeout_s is not None:
        _conclude(target, done, ended)
    return ended.outcome


def _tell(target: AppTarget | ServiceTarget, done: RolledBack, changes: bool) -> None:
    key = name_of(target)
    if not changes:
        click.echo(f"{key} is at revision {done.after} already: nothing changed")
    elif isinstance(target, ServiceTarget):
        click.echo(f"{key}: revision {done.before} -> {done.after}")
    else:
        for change in done.services:
            click.echo(f"{key}/{change.service}: revision {change.before} -> {change.after}")
    for left in done.left:
        warn(f"{target.app}/{left} was not there then and stays")
    for gone in done.gone:
        warn(f"{target.app}/{gone} was there then, is gone, and does not come back; deploy it")


def _conclude(target: AppTarget | ServiceTarget, done: RolledBack, ended: Ended) -> None:
    key = name_of(target)
    match ended.outcome:
        case Outcome.DONE if isinstance(target, ServiceTarget):
            click.echo(f"{key} is at revision {done.after} after {ended.after_s:.1f} s")
        case Outcome.DONE:
            click.echo(f"{key} is as at revision {done.after} after {ended.after_s:.1f} s")
        case Outcome.FAILED:
            say(f"{key} is not back. Next: {next_steps(ended.look)}; rookery rollback {key} --to N")
        case Outcome.TIMED_OUT:
            say(f"{key} is not back after {ended.after_s:.0f} s; it goes on. Next: {next_steps(ended.look)}")
