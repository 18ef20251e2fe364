"""`rookery history`: the revisions of a service or an app, and what became of them."""

import time

import click

from rookery.cli.command import command, json_option, pass_session
from rookery.cli.completing import complete_workload
from rookery.cli.grid import Cell, Column, Row
from rookery.cli.history import app_history, departures, told
from rookery.cli.history import history as steps_of
from rookery.cli.output import say, show_json, show_table
from rookery.cli.session import Session
from rookery.cli.targets import ServiceTarget, split
from rookery.cli.text import clock_time


@command("history")
@click.argument("target", metavar="APP[/SERVICE]", shell_complete=complete_workload)
@json_option
@pass_session
def history(session: Session, target: str, as_json: bool) -> None:
    """Show the revisions of a service or an app, newest first: who made them, what they changed, what became of them."""
    wanted = split(target)
    if isinstance(wanted, ServiceTarget):
        _show_service(session, wanted, as_json)
    else:
        _show_app(session, wanted.app, as_json)


def _show_service(session: Session, target: ServiceTarget, as_json: bool) -> None:
    with session.client() as client:
        detail = client.get_service(target.app, target.service)
    steps = steps_of(detail.status.service, detail.revisions, detail.rollouts)
    if as_json:
        show_json(steps)
        return
    now = time.time()
    columns = [
        Column(""), Column("REV", right=True), Column("WHEN", rank=2), Column("WHO", rank=3, flexible=True),
        Column("CHANGED", flexible=True), Column("OUTCOME", flexible=True),
    ]  # fmt: skip
    rows: list[Row] = [
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


def _show_app(session: Session, app: str, as_json: bool) -> None:
    with session.client() as client:
        revisions = client.list_app_revisions(app)
        status = client.get_app(app)
    if as_json:
        show_json(revisions)
        return
    now = time.time()
    columns = [
        Column(""), Column("REV", right=True), Column("WHEN", rank=1), Column("WHO", rank=2, flexible=True),
        Column("SERVICES", flexible=True), Column("WHY", flexible=True, rank=3),
    ]  # fmt: skip
    rows: list[Row] = [
        [
            Cell("*", "green") if step.in_force else "",
            str(step.revision),
            clock_time(step.created_at, now),
            step.actor,
            step.services,
            step.why,
        ]
        for step in app_history(status.app, revisions)
    ]
    show_table(columns, rows)
    for line in departures(status, revisions):
        say(line)
