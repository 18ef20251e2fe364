"""`rookery plan`: what a deploy would do."""

from pathlib import Path

import click

from rookery.cli.changes import change_lines
from rookery.cli.command import command, json_option, pass_session
from rookery.cli.compose_input import compose_options, load_app
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
    """Show what a deploy would change and where new replicas would go. Nothing is done."""
    loaded = load_app(files, app, env_files, profiles, project_dir)
    with session.client() as client:
        planned = client.plan(loaded.app, prune=prune)
    if as_json:
        show_json(planned)
    else:
        _show(planned)


def _show(planned: Planned) -> None:
    for line in change_lines(planned.app, planned.changes, fields=True):
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
    if all(change.kind is ChangeKind.KEEP for change in planned.changes):
        click.echo("Nothing would change.")
    else:
        click.echo("\nNothing was done. Do it with: rookery deploy")
