"""`rookery rollout`: how a service's rollout stands, and what an operator wants of it."""

import time

import click

from rookery.cli.apps_wait import STATUS, Ended, earlier, next_steps, run_waiting, settle
from rookery.cli.command import CONTEXT_SETTINGS, global_options, json_option, pass_session, waiting_options
from rookery.cli.commands.rollback import go_back
from rookery.cli.completing import complete_workload
from rookery.cli.look import Outcome
from rookery.cli.output import say, show_json, show_table
from rookery.cli.rollout_text import figures_table, move, status_lines
from rookery.cli.session import Session
from rookery.cli.targets import ServiceTarget, split_service
from rookery.client import RolloutAction
from rookery.model import Rollout, RolloutStatus

_service_argument = click.argument("service", metavar="APP/SERVICE", shell_complete=complete_workload)


@click.group("rollout", context_settings=CONTEXT_SETTINGS)
@global_options
def rollout() -> None:
    """Look at the rollout of a service; pause, resume, abort or undo it."""


@rollout.command("status")
@_service_argument
@json_option
@global_options
@pass_session
def status(session: Session, service: str, as_json: bool) -> None:
    """Show how far the latest rollout of APP/SERVICE is, what it waits for, and what a canary compares."""
    target = split_service(service)
    with session.client() as client:
        found = client.get_rollout(target.app, target.service)
    if as_json:
        show_json(found)
        return
    click.echo("\n".join(status_lines(found, time.time())))
    table = figures_table(found)
    if table is not None:
        click.echo()
        show_table(*table)


@rollout.command("pause")
@_service_argument
@json_option
@global_options
@pass_session
def pause(session: Session, service: str, as_json: bool) -> None:
    """Leave the rollout of APP/SERVICE as far as it is, until it is resumed or aborted."""
    target = split_service(service)
    with session.client() as client:
        found = client.update_rollout(target.app, target.service, RolloutAction.PAUSE)
    if as_json:
        show_json(found)
    else:
        click.echo(f"{service}: {_what(found)} is paused; 'rookery rollout resume {service}' goes on, 'abort' goes back")


@rollout.command("resume")
@_service_argument
@waiting_options
@json_option
@global_options
@pass_session
def resume(session: Session, service: str, detach: bool, timeout: float, as_json: bool) -> None:
    """Go on with a rollout of APP/SERVICE that is paused, and wait until it is done."""
    _update(session, split_service(service), RolloutAction.RESUME, None if detach else timeout, as_json)


@rollout.command("abort")
@_service_argument
@waiting_options
@json_option
@global_options
@pass_session
def abort(session: Session, service: str, detach: bool, timeout: float, as_json: bool) -> None:
    """Give up the rollout of APP/SERVICE that is under way, and wait until it is back where it came from."""
    _update(session, split_service(service), RolloutAction.ABORT, None if detach else timeout, as_json)


@rollout.command("undo")
@_service_argument
@waiting_options
@json_option
@global_options
@pass_session
def undo(session: Session, service: str, detach: bool, timeout: float, as_json: bool) -> None:
    """Return APP/SERVICE to what ran before, whether its rollout is done or not: 'rookery rollback' without '--to'."""
    go_back(session, split_service(service), 0, None if detach else timeout, as_json)


def _update(session: Session, target: ServiceTarget, action: RolloutAction, timeout_s: float | None, as_json: bool) -> None:
    key = f"{target.app}/{target.service}"
    interrupted = f"The rollout of {key} goes on in the background. Look with: rookery rollout status {key}"
    outcome = run_waiting(lambda: _see_through(session, target, action, timeout_s, as_json), on_interrupt=interrupted)
    raise click.exceptions.Exit(STATUS[outcome])


async def _see_through(
    session: Session, target: ServiceTarget, action: RolloutAction, timeout_s: float | None, as_json: bool
) -> Outcome:
    key = f"{target.app}/{target.service}"
    async with session.async_client() as client:
        since = await earlier(client, target.app)
        begun = await client.update_rollout(target.app, target.service, action)
        if not as_json:
            click.echo(f"{key}: {_what(begun)} {'goes back' if action is RolloutAction.ABORT else 'goes on'}")
        services = frozenset({target.service})
        ended = await settle(client, target.app, since=since, timeout_s=timeout_s, services=services, silent=as_json)
        now = await client.get_rollout(target.app, target.service)
    if as_json:
        word = "started" if timeout_s is None else ended.outcome.value
        show_json({"service": key, "outcome": word, "took_s": round(ended.after_s, 3), "rollout": now})
    elif timeout_s is not None:
        _conclude(key, action, now.rollout, ended)
    return ended.outcome


def _what(status: RolloutStatus) -> str:
    return f"the rollout ({move(status.rollout)})" if status.rollout else "the rollout"


def _conclude(key: str, action: RolloutAction, now: Rollout | None, ended: Ended) -> None:
    word = "back" if action is RolloutAction.ABORT else "done"
    match ended.outcome:
        case Outcome.DONE:
            at = f" at revision {now.before if word == 'back' else now.after}" if now else ""
            click.echo(f"{key} is {word}{at} after {ended.after_s:.1f} s")
        case Outcome.FAILED:
            say(f"{key} is not {word}. Next: {next_steps(ended.look)}")
        case Outcome.TIMED_OUT:
            say(f"{key} is not {word} after {ended.after_s:.0f} s; it goes on. Next: {next_steps(ended.look)}")
