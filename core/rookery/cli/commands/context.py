"""`rookery context`: names for managers, kept in a file of the user's."""

import os

import click

from rookery.cli.command import BAD_INPUT, CONTEXT_SETTINGS, Failure, json_option, pass_session
from rookery.cli.grid import Cell, Column, Row
from rookery.cli.output import say, show_json, show_table
from rookery.cli.session import Session, choose_manager
from rookery.cli.settings import Settings, load_settings, save_settings
from rookery.cli.text import did_you_mean
from rookery.client.address import parse_address


@click.group("context", context_settings=CONTEXT_SETTINGS)
def context() -> None:
    """Save and choose the managers to talk to.

    The manager is the first that is set of --manager, ROOKERY_MANAGER, the context in use, and 127.0.0.1:7070. The first two take
    a saved name as well as an address.
    """


@context.command("save")
@click.argument("name")
@click.argument("address", metavar="HOST:PORT")
@click.option("--use/--no-use", default=True, help="Also use it from now on (the default).")
def save(name: str, address: str, use: bool) -> None:
    """Save the manager at HOST:PORT as NAME."""
    if not name or any(not (c.isalnum() or c in "-_.") for c in name):
        raise Failure(f"expected a name of letters, digits, '-', '_' and '.', got {name!r}", status=BAD_INPUT)
    try:
        address = parse_address(address)
    except ValueError as error:
        raise Failure(str(error), status=BAD_INPUT) from None
    settings = load_settings()
    save_settings(Settings(contexts={**settings.contexts, name: address}, current=name if use else settings.current))
    click.echo(f"{name} is {address}" + (", in use from now on" if use else ""))


@context.command("use")
@click.argument("name")
def use(name: str) -> None:
    """Use the saved manager NAME from now on; `default` is 127.0.0.1:7070."""
    settings = load_settings()
    if name != "default":
        _known(settings, name)
    save_settings(Settings(contexts=settings.contexts, current=name if name in settings.contexts else ""))
    click.echo(f"using {name}" + (f" ({settings.contexts[name]})" if name in settings.contexts else ""))


@context.command("rm")
@click.argument("name")
def remove(name: str) -> None:
    """Forget the saved manager NAME."""
    settings = load_settings()
    _known(settings, name)
    rest = {known: address for known, address in settings.contexts.items() if known != name}
    save_settings(Settings(contexts=rest, current="" if settings.current == name else settings.current))
    click.echo(f"forgot {name}")


@context.command("show")
@json_option
@pass_session
def show(session: Session, as_json: bool) -> None:
    """Show the saved managers, and which one is used and why."""
    settings = load_settings()
    address, origin = choose_manager(session.manager, os.environ.get("ROOKERY_MANAGER", ""), settings)
    if as_json:
        show_json({"address": address, "from": origin, "current": settings.current, "contexts": settings.contexts})
        return
    click.echo(f"{address} (from: {origin})")
    if settings.contexts:
        rows: list[Row] = [
            [Cell("*" if n == settings.current else "", "green"), n, a] for n, a in sorted(settings.contexts.items())
        ]
        show_table([Column(""), Column("NAME"), Column("MANAGER")], rows)
    else:
        say("Nothing saved. Save a manager: rookery context save NAME HOST:PORT")


def _known(settings: Settings, name: str) -> None:
    if name not in settings.contexts:
        raise Failure(f"no context {name}{did_you_mean(name, settings.contexts)}", status=BAD_INPUT)
