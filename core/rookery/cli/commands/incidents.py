"""`rookery incidents` and `rookery incident`: what went wrong and what was done about it, one story each."""

import time

import click

from rookery.cli.command import BAD_INPUT, Failure, command, json_option, pass_session
from rookery.cli.completing import complete_anything, complete_incident
from rookery.cli.grid import Cell, Column, Row
from rookery.cli.incident_text import after, story_lines
from rookery.cli.output import say, show_json, show_table
from rookery.cli.session import Session
from rookery.cli.text import clock_time, did_you_mean, parse_since
from rookery.client import Client
from rookery.incidents import Incident, Outcome, find, story

EVENTS_READ = 10_000  # the most that the manager gives at once

_COLOURS = {Outcome.OPEN: "yellow", Outcome.RECOVERED: "green", Outcome.GAVE_UP: "red"}


@command("incidents")
@click.argument("subject", metavar="[APP|SERVICE|REPLICA|NODE]", required=False, default="", shell_complete=complete_anything)
@click.option("--since", metavar="TIME", default="", help="Only those since then: 10m, 1h30m, 2026-01-31T12:00:00.")
@json_option
@pass_session
def incidents(session: Session, subject: str, since: str, as_json: bool) -> None:
    """List what went wrong, oldest first: nodes that went down, crashes, failed rollouts, and how each ended."""
    now = time.time()
    try:
        since_at = parse_since(since, now) if since else 0.0
    except ValueError as error:
        raise Failure(f"--since: {error}", status=BAD_INPUT) from None
    with session.client() as client:
        known = [one for one in _all(client) if not subject or one.concerns(subject)]
    found = [one for one in known if one.outcome is Outcome.OPEN or max(one.noticed_at, one.ended_at) >= since_at]
    if as_json:
        show_json(found)
        return
    if not found:
        say(f"No incidents{f' of {subject}' if subject else ''}{' since then' if known else ''}.")
        return
    columns = [
        Column("ID"), Column("WHEN"), Column("WHAT", flexible=True), Column("AFFECTED", flexible=True, rank=1),
        Column("NOTICED AFTER", right=True, rank=2), Column("RECOVERED IN", right=True), Column("STATE"),
    ]  # fmt: skip
    show_table(columns, [_row(one, now) for one in found])
    say(f"The story of one: rookery incident {found[-1].id}")


@command("incident")
@click.argument("incident_id", metavar="ID", shell_complete=complete_incident)
@json_option
@pass_session
def incident(session: Session, incident_id: str, as_json: bool) -> None:
    """Tell an incident's story: what happened, when it was noticed, what was done, how long that took, what is still open."""
    with session.client() as client:
        known = _all(client)
    one = next((one for one in known if one.id == incident_id), None)
    if one is None:
        hint = did_you_mean(incident_id, [one.id for one in known]) or "; rookery incidents lists them"
        raise Failure(f"no incident {incident_id}{hint}")
    if as_json:
        show_json(story(one))
    else:
        for line in story_lines(story(one), time.time()):
            click.echo(line)


def _all(client: Client) -> tuple[Incident, ...]:
    events = client.list_events(limit=EVENTS_READ)
    if len(events) == EVENTS_READ:
        say(f"Only the newest {EVENTS_READ} events were read: what was before them is not told.")
    return find(events)


def _row(one: Incident, now: float) -> Row:
    affected = f"{one.affected[0]} and {len(one.affected) - 1} more" if len(one.affected) > 1 else "".join(one.affected)
    state = f"{one.outcome.value}; {one.note}" if one.note and one.outcome is Outcome.RECOVERED else one.outcome.value
    return [
        one.id,
        clock_time(one.began_at, now),
        one.what,
        affected,
        after(one.noticed_after_s),
        after(one.recovered_in_s),
        Cell(state, _COLOURS[one.outcome]),
    ]
