"""`rookery person`: who may do what."""

import click

from rookery.cli.command import CONTEXT_SETTINGS, Failure, global_options, json_option, pass_session
from rookery.cli.commands.token import seconds_of, show_created
from rookery.cli.grid import Column, Row
from rookery.cli.output import show_json, show_table
from rookery.cli.session import Session
from rookery.model import PartKind, Person, Role

role_option = click.option(
    "--role",
    type=click.Choice([str(role) for role in Role]),
    required=True,
    help="Each may do what the one before may, and more.",
)
app_option = click.option("--app", "apps", multiple=True, metavar="APP", help="The role is for this app; may be repeated.")
expires_option = click.option("--expires", default="1d", show_default=True, metavar="SPAN", help="The end of the token.")


@click.group("person", context_settings=CONTEXT_SETTINGS)
@global_options
def person() -> None:
    """Add, list, change or remove people, and what they may do.

    A viewer looks; a deployer also changes apps; an operator also nodes; an admin also people and tokens, and makes backups.
    """


@person.command("add")
@click.argument("name")
@role_option
@app_option
@expires_option
@json_option
@global_options
@pass_session
def add(session: Session, name: str, role: str, apps: tuple[str, ...], expires: str, as_json: bool) -> None:
    """Add a person, and print the token with which they can log in once."""
    lifetime_s = seconds_of(expires)
    with session.client() as client:
        if any(known.name == name for known in client.list_people()):
            raise Failure(f"there is {name} already: 'rookery person set' changes the role, 'rookery person token' makes a token")
        client.put_person(name, Role(role), apps)
        created = client.create_token(PartKind.PERSON, person=name, lifetime_s=lifetime_s, uses=1)
    show_created(created, as_json, _hint(session, name))


@person.command("token")
@click.argument("name")
@expires_option
@json_option
@global_options
@pass_session
def token(session: Session, name: str, expires: str, as_json: bool) -> None:
    """Print a token with which NAME can log in once more, as on another machine."""
    lifetime_s = seconds_of(expires)
    with session.client() as client:
        created = client.create_token(PartKind.PERSON, person=name, lifetime_s=lifetime_s, uses=1)
    show_created(created, as_json, _hint(session, name))


def _hint(session: Session, name: str) -> str:
    return f"It is for {name} alone, and for one use: rookery login {session.address()}"


@person.command("set")
@click.argument("name")
@role_option
@app_option
@global_options
@pass_session
def set_(session: Session, name: str, role: str, apps: tuple[str, ...]) -> None:
    """Give NAME another role, or the role for other apps."""
    with session.client() as client:
        if not any(known.name == name for known in client.list_people()):
            raise Failure(f"there is no {name}; 'rookery person add' makes one")
        now = client.put_person(name, Role(role), apps)
    click.echo(f"{now.name} is {now.role} of {_apps(now)}")


@person.command("ls")
@json_option
@global_options
@pass_session
def ls(session: Session, as_json: bool) -> None:
    """List people, and what they may do."""
    with session.client() as client:
        people = client.list_people()
    if as_json:
        show_json(people)
        return
    rows: list[Row] = [[known.name, str(known.role), _apps(known)] for known in people]
    show_table([Column("NAME"), Column("ROLE"), Column("OF")], rows)


@person.command("rm")
@click.argument("name")
@global_options
@pass_session
def rm(session: Session, name: str) -> None:
    """Remove a person. Their credentials are void at once."""
    with session.client() as client:
        client.remove_person(name)
    click.echo(f"removed {name}")


def _apps(known: Person) -> str:
    return ", ".join(known.apps) or "all apps"
