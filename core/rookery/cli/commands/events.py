"""`rookery events`: what happened in the cluster, and why."""

import time
from collections.abc import Iterator
from itertools import chain

import click

from rookery.cli.command import command, json_option, pass_session
from rookery.cli.completing import complete_anything
from rookery.cli.event_lines import folded
from rookery.cli.output import say, show_json
from rookery.cli.session import Session
from rookery.cli.text import clock_time, one_line
from rookery.client import Client
from rookery.model import Event

_COLOURS = {"node": "magenta", "replica": "cyan", "service": "blue", "app": "blue", "revision": "blue", "manager": "magenta"}


@command("events")
@click.argument("subject", required=False, default="", shell_complete=complete_anything)
@click.option("--follow", "-f", is_flag=True, help="Go on with what happens from now on.")
@click.option("--limit", "-n", type=click.IntRange(min=1), default=100, show_default=True, help="How many of the newest.")
@click.option("--all", "-a", "show_all", is_flag=True, help="Also steps that the next one makes plain, as --follow and --json.")
@json_option
@pass_session
def events(session: Session, subject: str, follow: bool, limit: int, show_all: bool, as_json: bool) -> None:
    """Show the events of SUBJECT (an app, service, replica or node), or all, oldest first.

    What went wrong, as one story each: rookery incidents. With --json -f each event is an object on a line of its own.
    """
    with session.client() as client:
        past = client.list_events(subject, limit=limit)
        if not follow:
            if as_json:
                show_json(past)
            elif not past:
                say(f"No events of {subject}." if subject else "No events yet. Deploy an app: rookery deploy -f compose.yml")
            else:
                for event in past if show_all else folded(past):
                    click.echo(event_line(event, time.time()))
            return
        # What came between the listing and the watch must not be missed.
        after = past[-1].revision if past else client.get_cluster().revision
        for event in chain(past, _follow(client, subject, after)):
            if as_json:
                show_json(event, one_line=True)
            else:
                click.echo(event_line(event, time.time()))


def _follow(client: Client, subject: str, after: int) -> Iterator[Event]:
    for changes in client.watch(after_revision=after, reconnect=True):
        for event in changes.events:
            if event.revision > after and concerns(event, subject):
                yield event


def concerns(event: Event, subject: str) -> bool:
    """Whether an event is about the subject or a part of it: of an app its services, of a service its replicas."""
    if not subject or event.subject == subject or (len(subject) >= 4 and event.id.startswith(subject)):
        return True
    return event.subject.startswith((f"{subject}/", f"{subject}.")) and event.kind != "node"


def event_line(event: Event, now: float) -> str:
    at = click.style(clock_time(event.at, now), fg="bright_black")
    subject = click.style(event.subject, fg=_COLOURS.get(event.kind))
    actor = click.style(f" ({event.actor})", fg="bright_black") if event.actor not in ("", "manager") else ""
    return f"{at}  {subject}: {one_line(event.why)}{actor}"
