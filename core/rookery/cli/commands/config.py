"""`rookery config`: the compose file as it is understood. Needs no manager."""

from pathlib import Path

import click

from rookery.cli.command import command, json_option
from rookery.cli.compose_input import compose_options, load_app
from rookery.cli.output import show_json


@command("config")
@compose_options
@click.option("--quiet", "-q", is_flag=True, help="Only check.")
@click.option("--services", "only_services", is_flag=True, help="Only the services' names.")
@json_option
def config(
    files: tuple[Path, ...],
    app: str | None,
    env_files: tuple[Path, ...],
    profiles: tuple[str, ...],
    project_dir: Path | None,
    quiet: bool,
    only_services: bool,
    as_json: bool,
) -> None:
    """Print the compose files merged, with their variables put in. Errors are printed all at once, with file and line."""
    from rookery.compose import dump  # lazy: loads YAML

    loaded = load_app(files, app, env_files, profiles, project_dir)
    if quiet:
        return
    if only_services:
        names = [service.name for service in loaded.app.services]
        show_json(names) if as_json else click.echo("\n".join(names))
    elif as_json:
        show_json(loaded.resolved)
    else:
        click.echo(dump(loaded.resolved), nl=False)
