"""`rookery secret`: the secrets of apps that are kept in the cluster."""

import click

from rookery.cli.command import CONTEXT_SETTINGS, global_options
from rookery.cli.stored_files import add_commands
from rookery.model import FileKind


@click.group("secret", context_settings=CONTEXT_SETTINGS)
@global_options
def secret() -> None:
    """Make, list, inspect, rotate or remove secrets that are kept in the cluster, for `external: true` in a compose file.

    Each belongs to one app, and goes by APP/NAME; the app need not be there yet. No command shows what is in one.
    """


add_commands(secret, FileKind.SECRET)
