"""`rookery proxy`: what an operator wants of one proxy."""

import click

from rookery.cli.command import CONTEXT_SETTINGS, global_options, pass_session
from rookery.cli.session import Session


@click.group("proxy", context_settings=CONTEXT_SETTINGS)
@global_options
def proxy() -> None:
    """Remove a proxy. 'rookery proxies' lists them."""


@proxy.command("rm")
@click.argument("name", metavar="PROXY")
@global_options
@pass_session
def rm(session: Session, name: str) -> None:
    """Make all certificates of PROXY void: it serves nothing any more. By its hostname, its id, or the beginning of that."""
    with session.client() as client:
        client.remove_proxy(name)
    click.echo(f"removed {name}")
