"""`rookery plan`: what a deploy would do."""

import shlex
from pathlib import Path

import click

from rookery.cli.changes import change_lines, overtaking_lines
from rookery.cli.command import command, json_option, pass_session
from rookery.cli.compose_input import compose_options, given_options, load_app
from rookery.cli.grid import Cell, Column, Row
from rookery.cli.output import show_json, show_table
from rookery.cli.session import Session
from rookery.client import Planned
from rookery.model import ChangeKind
from rookery.model.ids import replica_name


@command("plan")
@compose_options
@click.option("--prune/--no-prune", default=False, help="Remove services that the file no longer names.")
@json_option
@pass_session
def plan(
    session: Session,
    files: tuple[Path, ...],
    app: str | None,
    env_files: tuple[Path, ...],
    profiles: tuple[str, ...],
    project_dir: Path | None,
    prune: bool,
    as_json: bool,
) -> None:
    """Show what a deploy would change, in what order and how, and where new replicas would go. Nothing is done."""
    loaded = load_app(files, app, env_files, profiles, project_dir)
    with session.client() as client:
        planned = client.plan(loaded.app, prune=prune)
    if as_json:
        show_json(planned)
        return
    _show(planned)
    if all(change.kind is ChangeKind.KEEP for change in planned.changes):
        click.echo("Nothing would change.")
    else:
        given = given_options(files, app, env_files, profiles, project_dir) + (["--prune"] if prune else [])
        words = shlex.join(["rookery", "deploy", *given, "--if-revision", str(planned.app_revision)])
        click.echo(f"\nNothing was done. Do it with: {words}")


def _show(planned: Planned) -> None:
    for line in change_lines(planned.app, planned.changes, fields=True, plans=planned.services):
        click.echo(line)
    for line in overtaking_lines(planned.app, planned.changes, done=False):
        click.echo(line)
    if planned.placements:
        click.echo()
        rows: list[Row] = [
            [
                replica_name(planned.app, placed.service, placed.slot, placed.node_name),
                Cell(placed.node_name or placed.node_id[:8]) if placed.node_id else Cell("nowhere", "red"),
                placed.why,
            ]
            for placed in planned.placements
        ]
        show_table([Column("NEW REPLICA"), Column("NODE"), Column("WHY", flexible=True, rank=1)], rows)
