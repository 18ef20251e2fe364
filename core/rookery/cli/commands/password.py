"""`rookery password`: a user's line for `x-rookery.http[].basic_auth`."""

import sys

import click

from rookery.cli.command import BAD_INPUT, Failure, command


@command("password")
@click.argument("name")
def password(name: str) -> None:
    """Ask for a password and print the line that stands for user NAME in `basic_auth`.

    Without a terminal the password is the first line of the standard input.
    """
    from rookery.http_rules import parse_user  # lazy: no other command needs these
    from rookery.passwords import user_line

    line = user_line(name, "x")
    if parse_user(line) is None:
        raise Failure(f"{name!r} is no name of a user: 1 to 64 printable ASCII characters without ':' and ';'", status=BAD_INPUT)
    if sys.stdin.isatty():
        said: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        said = sys.stdin.readline().rstrip("\r\n")
    if not said:
        raise Failure("the password is empty", status=BAD_INPUT)
    click.echo(user_line(name, said))
