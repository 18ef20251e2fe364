"""`rookery config`: the compose file as it is understood, which needs no manager; and the configs of apps."""

from pathlib import Path

import click

from rookery.cli.command import CONTEXT_SETTINGS, global_options, json_option
from rookery.cli.compose_input import compose_options, load_app
from rookery.cli.output import show_json
from rookery.cli.stored_files import add_commands
from rookery.model import FileKind


@click.group("config", context_settings=CONTEXT_SETTINGS, invoke_without_command=True)
@global_options
@compose_options
@click.option("--quiet", "-q", is_flag=True, help="Only check.")
@click.option("--services", "only_services", is_flag=True, help="Only the services' names.")
@json_option
@click.pass_context
def config(
    ctx: click.Context,
    files: tuple[Path, ...],
    app: str | None,
    env_files: tuple[Path, ...],
    profiles: tuple[str, ...],
    project_dir: Path | None,
    quiet: bool,
    only_services: bool,
    as_json: bool,
) -> None:
    """Print the compose files merged, with their variables put in. Errors are printed all at once, with file and line.

    The commands are for configs that are kept in the cluster, for `external: true` in a compose file.
    """
    if ctx.invoked_subcommand is not None:
        return
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


add_commands(config, FileKind.CONFIG)
