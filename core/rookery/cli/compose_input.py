"""The compose files that a command is given: its options, and their errors and warnings in words."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rookery.cli.command import BAD_INPUT
from rookery.cli.output import warn

if TYPE_CHECKING:
    from rookery.compose import ComposeError, Loaded

F = TypeVar("F", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path, allow_dash=True)


class ComposeFailure(click.ClickException):
    """Everything that is wrong with compose files, one finding a line."""

    exit_code = BAD_INPUT

    def __init__(self, error: "ComposeError") -> None:
        super().__init__(str(error))
        self.error = error

    def show(self, file: Any = None) -> None:
        for warning in self.error.warnings:
            warn(str(warning))
        for finding in self.error.errors:
            click.echo(click.style("error: ", fg="red", bold=True) + str(finding), file=file, err=True)


def compose_options(command: F) -> F:
    """The options that `load_app` takes."""
    for option in (
        click.option("--project-dir", type=click.Path(path_type=Path, file_okay=False), help="Where relative paths start."),
        click.option("--profile", "profiles", multiple=True, metavar="NAME", help="A profile to turn on (repeatable)."),
        click.option("--env-file", "env_files", type=_PATH, multiple=True, metavar="FILE", help="Variables, in place of .env."),
        click.option("--app", metavar="NAME", help="The app's name (else the file's `name:`, else the directory's)."),
        click.option("--file", "-f", "files", type=_PATH, multiple=True, metavar="FILE",
                     help="A compose file, - is stdin (repeatable)."),
    ):  # fmt: skip
        command = option(command)
    return command


def given_options(
    files: tuple[Path, ...],
    app: str | None,
    env_files: tuple[Path, ...],
    profiles: tuple[str, ...],
    project_dir: Path | None,
) -> list[str]:
    """These options as words of a command line."""
    given = [("-f", str(file)) for file in files]
    given += [("--app", app)] if app else []
    given += [("--env-file", str(file)) for file in env_files]
    given += [("--profile", profile) for profile in profiles]
    given += [("--project-dir", str(project_dir))] if project_dir else []
    return [word for pair in given for word in pair]


def load_app(
    files: tuple[Path, ...],
    app: str | None,
    env_files: tuple[Path, ...],
    profiles: tuple[str, ...],
    project_dir: Path | None,
) -> "Loaded":
    """What the files describe; those of the directory where none are named. Warnings are printed."""
    from rookery.compose import ComposeError, find_files, load  # lazy: loads YAML

    found = files or find_files(project_dir or Path())
    if not found:
        place = project_dir or Path.cwd()
        raise click.UsageError(f"no compose file in {place} or above it; name one with -f FILE")
    try:
        loaded = load(found, app=app, env_files=env_files, profiles=profiles, project_dir=project_dir)
    except ComposeError as error:
        raise ComposeFailure(error) from None
    for warning in loaded.warnings:
        warn(str(warning))
    return loaded
