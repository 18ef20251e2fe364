"""`rookery login`, `logout` and `whoami`."""

import os
import sys
from pathlib import Path
from typing import TextIO

import click

from rookery.cli.command import BAD_INPUT, UNREACHABLE, Failure, command, json_option, pass_session
from rookery.cli.login import log_in
from rookery.cli.output import say, show_json
from rookery.cli.session import Session
from rookery.identity import BadToken
from rookery.identity.find import login_path


@command("login")
@click.argument("address", metavar="[HOST:PORT]", default="")
@click.option(
    "--token-file", type=click.File("r"), metavar="FILE", help="Holds the token; '-' is the standard input (else you are asked)."
)
@pass_session
def login(session: Session, address: str, token_file: TextIO | None) -> None:
    """Get a credential for the manager at HOST:PORT, with a token from one of its admins ('rookery person add').

    It is kept in a file that only you can read, lasts 30 days, and is renewed while you use it.
    """
    from rookery.identity.join import NotJoined  # lazy: loads gRPC

    session.manager = address or session.manager
    manager = session.address()
    try:
        identity = log_in(manager, _token(token_file))
    except BadToken as error:
        raise Failure(str(error), status=BAD_INPUT) from None
    except NotJoined as error:
        raise Failure(str(error), status=1 if error.lasting else UNREACHABLE) from None
    if identity.kind != "person":
        login_path(manager).unlink(missing_ok=True)
        raise Failure(f"that token is for {identity.kind}s, not for people; 'rookery person add' makes one for you")
    click.echo(f"logged in to {manager} as {identity.id} (cluster {identity.cluster_id})")


def _token(file: TextIO | None) -> str:
    if file is not None:
        return str(file.read())
    given = os.environ.get("ROOKERY_TOKEN", "")
    if given:
        return given
    if not sys.stdin.isatty():
        raise Failure("no token: give it with --token-file FILE ('-' is the standard input), or ROOKERY_TOKEN", status=BAD_INPUT)
    return str(click.prompt("Token", hide_input=True, err=True))


@command("logout")
@click.argument("address", metavar="[HOST:PORT]", default="")
@pass_session
def logout(session: Session, address: str) -> None:
    """Forget the credential for the manager at HOST:PORT. It stays valid until it ends, or an admin removes you."""
    session.manager = address or session.manager
    manager = session.address()
    path: Path = login_path(manager)
    known = path.exists()
    path.unlink(missing_ok=True)
    click.echo(f"logged out of {manager}" if known else f"not logged in to {manager}")


@command("whoami")
@json_option
@pass_session
def whoami(session: Session, as_json: bool) -> None:
    """Show who the manager takes you for, and what you may do."""
    with session.client() as client:
        person = client.who_am_i()
    if as_json:
        show_json(person)
    elif person is None:
        say("Nobody in particular: this manager runs with --insecure, and lets everybody do everything")
    else:
        click.echo(f"{person.name}, {person.role} of {', '.join(person.apps) or 'all apps'}")
