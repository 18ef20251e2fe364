"""`rookery rm`: removes apps, and waits until nothing of them runs."""

import sys

import click

from rookery.cli.apps_wait import STATUS, run_waiting, until_gone
from rookery.cli.command import BAD_INPUT, Failure, command, json_option, pass_session
from rookery.cli.completing import complete_app
from rookery.cli.display import progress
from rookery.cli.look import Outcome
from rookery.cli.output import say, show_json
from rookery.cli.session import Session
from rookery.cli.text import plural


@command("rm")
@click.argument("apps", metavar="APP...", nargs=-1, required=True, shell_complete=complete_app)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--detach", "-d", is_flag=True, help="Do not wait until they are gone.")
@click.option("--timeout", type=click.FloatRange(min=0), default=300.0, show_default=True, help="Seconds to wait.")
@json_option
@pass_session
def rm(session: Session, apps: tuple[str, ...], yes: bool, detach: bool, timeout: float, as_json: bool) -> None:
    """Remove apps: all their services and replicas. Named volumes stay on their nodes.

    At a terminal it asks first.
    """
    for app in apps:
        if "/" in app:
            raise Failure(f"{app} is not an app; to stop a service, take it out of the compose file and deploy", status=BAD_INPUT)
    if not yes and sys.stdin.isatty():
        _ask(session, apps)
    interrupted = f"Removing goes on in the background. Look with: rookery ps {apps[0]}"
    outcome = run_waiting(lambda: _remove(session, apps, detach, timeout, as_json), on_interrupt=interrupted)
    if outcome is Outcome.TIMED_OUT and not as_json:
        say(f"Not gone after {timeout:g} s; it goes on. Look with: rookery ps {apps[0]} --all")
    raise click.exceptions.Exit(STATUS[outcome])


def _ask(session: Session, apps: tuple[str, ...]) -> None:
    with session.client() as client:
        for app in apps:
            status = client.get_app(app)
            running = sum(service.running for service in status.services)
            what = f"{plural(len(status.services), 'service')}, {plural(running, 'running replica')}"
            if not click.confirm(f"Remove {app} ({what})?"):
                say("Nothing removed.")
                raise click.exceptions.Exit(1)


async def _remove(session: Session, apps: tuple[str, ...], detach: bool, timeout: float, as_json: bool) -> Outcome:
    async with session.async_client() as client:
        for app in apps:
            await client.get_app(app)  # all of them are known before anything is done to one
        for app in apps:
            await client.remove_app(app)
        outcome = Outcome.DONE
        for app in [] if detach else apps:
            with progress(silent=as_json) as display:
                ended, _ = await until_gone(client, app, display, timeout_s=timeout)
            outcome = ended if outcome is Outcome.DONE else outcome
        if as_json:
            show_json({"apps": apps, "outcome": "started" if detach else "removed" if outcome is Outcome.DONE else outcome.value})
        elif detach:
            click.echo(f"removing {', '.join(apps)}")
        return outcome
