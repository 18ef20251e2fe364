"""`rookery explain`: why a replica is where it is, or is nowhere."""

import time

import click

from rookery.cli.command import BAD_INPUT, Failure, command, json_option, pass_session
from rookery.cli.commands.events import event_line
from rookery.cli.completing import complete_workload
from rookery.cli.grid import Cell, Column
from rookery.cli.output import show_json, show_table
from rookery.cli.session import Session
from rookery.cli.targets import AppTarget, ReplicaTarget, ServiceTarget, find_workload
from rookery.client import Client, Explanation


@command("explain")
@click.argument("target", metavar="APP/SERVICE|REPLICA", shell_complete=complete_workload)
@json_option
@pass_session
def explain(session: Session, target: str, as_json: bool) -> None:
    """Show, node by node, why a replica is where it is; for a service, where one more replica would go."""
    with session.client() as client:
        explanation = _ask(client, target)
    if as_json:
        show_json(explanation)
    else:
        _show(explanation)


def _ask(client: Client, text: str) -> Explanation:
    match find_workload(client, text):
        case ServiceTarget(app, service):
            return client.explain(app, service)
        case ReplicaTarget(app, service, replica):
            return client.explain(app, service, replica)
        case AppTarget(app):
            keys = [status.service.key for status in client.list_services(app)]
            raise Failure(f"{app} is an app: name one of its services: {', '.join(keys)}", status=BAD_INPUT)


def _show(explanation: Explanation) -> None:
    told = explanation.summary if explanation.subject in explanation.summary else f"{explanation.subject}: {explanation.summary}"
    click.echo(click.style(told.removesuffix(": "), bold=True))
    if explanation.nodes:
        names = list(dict.fromkeys(score.name for verdict in explanation.nodes for score in verdict.scores))
        # Where there is no room for all of them, the last ones, which decide least, go first.
        scores = [Column(name.upper(), right=True, rank=2 + place) for place, name in enumerate(names)]
        columns = [Column(""), Column("NODE"), Column("FITS"), *scores]
        rows = []
        for verdict in sorted(explanation.nodes, key=lambda v: (not v.chosen, not v.fits)):
            values = {score.name: f"{score.value:g}" for score in verdict.scores}
            fits = Cell("yes", "green") if verdict.fits else Cell("no", "red")
            chosen = Cell("*", "green") if verdict.chosen else ""
            rows.append(
                [chosen, verdict.node_name or verdict.node_id[:8], fits, *(values.get(n, "") for n in names), verdict.why]
            )
        click.echo()
        show_table([*columns, Column("WHY", flexible=True, rank=1)], rows)
        if names:
            click.echo(click.style("* chosen. Scores decide from left to right; the lowest wins.", fg="bright_black"))
    if explanation.events:
        click.echo("\n" + click.style("What happened", bold=True))
        for event in explanation.events:
            click.echo("  " + event_line(event, time.time()))
