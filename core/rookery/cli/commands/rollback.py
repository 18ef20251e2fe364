"""`rookery rollback` and `rookery history`: a service's revisions, and the way back to one of them."""

import time

import click

from rookery.cli.apps_wait import STATUS, Ended, converge, failures, last_words, run_waiting
from rookery.cli.command import BAD_INPUT, Failure, command, json_option, pass_session
from rookery.cli.completing import complete_workload
from rookery.cli.converge import Look, Outcome
from rookery.cli.display import progress
from rookery.cli.grid import Cell, Column
from rookery.cli.history import history as steps_of
from rookery.cli.history import told
from rookery.cli.output import say, show_json, show_table
from rookery.cli.session import Session
from rookery.cli.targets import ServiceTarget, split
from rookery.cli.text import clock_time
from rookery.client import BadRequest

_STABLE_S = 1.0  # as deploy waits for


@command("rollback")
@click.argument("service", metavar="APP/SERVICE", shell_complete=complete_workload)
@click.option("--to", type=click.IntRange(1, 2**31 - 1), default=None, help="The revision; without it, what ran before.")
@click.option("--detach", "-d", is_flag=True, help="Do not wait until it is back.")
@click.option("--timeout", type=click.FloatRange(min=0), default=300.0, show_default=True, help="Seconds to wait.")
@json_option
@pass_session
def rollback(session: Session, service: str, to: int | None, detach: bool, timeout: float, as_json: bool) -> None:
    """Return a service to an earlier revision, and wait until its replicas are back.

    How many replicas it has stays as it is. 'rookery history' lists the revisions.
    """
    target = _service(service)
    interrupted = f"The roll-back of {service} goes on in the background. Look with: rookery ps {service}"
    outcome = run_waiting(
        lambda: _rollback(session, target, to or 0, None if detach else timeout, as_json), on_interrupt=interrupted
    )
    raise click.exceptions.Exit(STATUS[outcome])


@command("history")
@click.argument("service", metavar="APP/SERVICE", shell_complete=complete_workload)
@json_option
@pass_session
def history(session: Session, service: str, as_json: bool) -> None:
    """Show the revisions of a service, newest first: who made them, what they changed, what became of them."""
    target = _service(service)
    with session.client() as client:
        detail = client.get_service(target.app, target.service)
    steps = steps_of(detail.status.service, detail.revisions)
    if as_json:
        show_json(steps)
        return
    now = time.time()
    columns = [
        Column(""), Column("REV", right=True), Column("WHEN", rank=2), Column("WHO", rank=3, flexible=True),
        Column("CHANGED", flexible=True), Column("OUTCOME", flexible=True),
    ]  # fmt: skip
    rows = [
        [
            Cell("*", "green") if step.in_force else "",
            str(step.revision),
            clock_time(step.created_at, now),
            step.actor,
            told(step),
            step.outcome,
        ]
        for step in steps
    ]
    show_table(columns, rows)


def _service(text: str) -> ServiceTarget:
    try:
        target = split(text)
    except BadRequest:
        target = None
    if not isinstance(target, ServiceTarget):
        raise Failure(f"expected APP/SERVICE, as in shop/web, got {text!r}", status=BAD_INPUT)
    return target


async def _rollback(session: Session, target: ServiceTarget, to: int, timeout_s: float | None, as_json: bool) -> Outcome:
    """Waits unless `timeout_s` is None."""
    key = f"{target.app}/{target.service}"
    async with session.async_client() as client:
        old = await failures(client, target.app)
        done = await client.rollback(target.app, target.service, to)
        if not as_json:
            same = f"{key} is at revision {done.after} already: nothing changed"
            click.echo(same if done.before == done.after else f"{key}: revision {done.before} -> {done.after}")
        ended = Ended(Outcome.DONE, Look([]), 0.0)
        if timeout_s is not None:
            with progress(silent=as_json) as display:
                ended = await converge(
                    client,
                    target.app,
                    display,
                    old_failures=old,
                    timeout_s=timeout_s,
                    services=frozenset({target.service}),
                    stable_s=0.0 if done.before == done.after else _STABLE_S,
                    updated={target.service: done.after},
                )
        words = await last_words(client, ended.look) if ended.outcome is Outcome.FAILED and not as_json else []
    if as_json:
        word = "started" if timeout_s is None else ended.outcome.value
        show_json(
            {"service": key, "before": done.before, "after": done.after, "outcome": word, "took_s": round(ended.after_s, 3)}
        )
        return ended.outcome
    for line in words:
        click.echo(line)
    if timeout_s is not None:
        _conclude(key, done.after, ended)
    return ended.outcome


def _conclude(key: str, revision: int, ended: Ended) -> None:
    match ended.outcome:
        case Outcome.DONE:
            click.echo(f"{key} is at revision {revision} after {ended.after_s:.1f} s")
        case Outcome.FAILED:
            say(f"{key} is not back. Next: rookery history {key}; rookery logs {key} --tail 20; rookery rollback {key} --to N")
        case Outcome.TIMED_OUT:
            say(f"{key} is not back after {ended.after_s:.0f} s; it goes on. Next: rookery explain {key}")
