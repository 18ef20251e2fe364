"""The command line `rookery`: its global options and the way to each command.

Invariant: importing this loads click and nothing heavier; a command's module is loaded when the command runs.
"""

import importlib

import click

from rookery._version import VERSION
from rookery.cli.command import CONTEXT_SETTINGS, INTERRUPTED, as_failure, global_options
from rookery.cli.table import COMMANDS


class LazyGroup(click.Group):
    """A group whose commands are those of the table."""

    # ruff: noqa: ARG002 (click gives a context to each of these)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = importlib.import_module(f"rookery.cli.commands.{entry.module}")
        command: click.Command = getattr(module, entry.attribute)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            from difflib import get_close_matches  # lazy: only a mistyped command needs it

            near = get_close_matches(name, COMMANDS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ". 'rookery --help' lists them"
            raise click.UsageError(f"no command {name}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, entry in COMMANDS.items():
            sections.setdefault(entry.section, []).append((name, entry.help))
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            raise click.exceptions.Exit(INTERRUPTED) from None
        except Exception as error:
            raise as_failure(error) from error


@click.command(
    cls=LazyGroup,
    context_settings=CONTEXT_SETTINGS,
    epilog="Exit status: 0 done, 1 failed, 2 wrong use or bad input, 3 timed out, 4 no manager answers.",
)
@global_options
@click.version_option(VERSION, "--version", message="rookery %(version)s")
def cli() -> None:
    """Run compose apps on a cluster of machines.

    Begin with 'rookery up' (a cluster on this machine) and 'rookery deploy -f compose.yml'.
    """


def main() -> None:
    cli(prog_name="rookery")


if __name__ == "__main__":
    main()
