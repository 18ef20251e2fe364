"""`rookery token`: with what agents and proxies join."""

import time

import click

from rookery.cli.command import BAD_INPUT, CONTEXT_SETTINGS, Failure, global_options, json_option, pass_session
from rookery.cli.grid import Column, Row
from rookery.cli.output import say, show_json, show_table
from rookery.cli.session import Session
from rookery.cli.text import ago, parse_since, span
from rookery.client import CreatedToken
from rookery.model import JoinToken, PartKind

kind_argument = click.argument("kind", type=click.Choice(["agent", "proxy"]))


def seconds_of(expires: str) -> float:
    """How long `24h` is; 0 for what is not given. Raises Failure."""
    if not expires:
        return 0.0
    try:
        return -parse_since(expires, 0.0)
    except ValueError:
        raise Failure(f"--expires: expected a span, as in 1h or 7d, got {expires!r}", status=BAD_INPUT) from None


def show_created(created: CreatedToken, as_json: bool, hint: str) -> None:
    if as_json:
        show_json({"id": created.token.id, "token": created.text, "expires_at": created.token.expires_at})
        return
    click.echo(created.text)
    say(hint)


@click.group("token", context_settings=CONTEXT_SETTINGS)
@global_options
def token() -> None:
    """Make, list, remove or rotate the tokens with which agents and proxies join.

    The manager keeps one of each in its data directory, in agent.token and proxy.token.
    """


@token.command("create")
@kind_argument
@click.option("--expires", default="", metavar="SPAN", help="As in 1h or 7d (else it has no end).")
@click.option("--uses", type=click.IntRange(1, 1_000_000), help="How often it can be used (else any number of times).")
@json_option
@global_options
@pass_session
def create(session: Session, kind: str, expires: str, uses: int | None, as_json: bool) -> None:
    """Print a new token with which an agent, or a proxy, can join. It can't be printed again."""
    lifetime_s = seconds_of(expires)
    with session.client() as client:
        created = client.create_token(PartKind(kind), lifetime_s=lifetime_s, uses=uses or 0)
    show_created(
        created, as_json, f"Keep it secret. Put it into a file, and: rookery-{kind} --manager HOST:PORT --token-file FILE"
    )


@token.command("rotate")
@kind_argument
@json_option
@global_options
@pass_session
def rotate(session: Session, kind: str, as_json: bool) -> None:
    """Print a new token in the place of all others of its kind. Who has joined stays."""
    with session.client() as client:
        created = client.create_token(PartKind(kind), replace=True)
    show_created(created, as_json, f"The tokens for a {kind} from before are void; {kind}s that have joined stay.")


@token.command("ls")
@json_option
@global_options
@pass_session
def ls(session: Session, as_json: bool) -> None:
    """List the tokens that are valid."""
    with session.client() as client:
        tokens = client.list_tokens()
    if as_json:
        show_json(tokens)
        return
    now = time.time()
    rows: list[Row] = [[t.id, t.person or f"any {t.kind}", ago(t.created_at, now), *_limits(t, now)] for t in tokens]
    show_table([Column("TOKEN"), Column("FOR"), Column("AGE"), Column("EXPIRES IN"), Column("USES LEFT")], rows)


def _limits(token: JoinToken, now: float) -> tuple[str, str]:
    expires = span(token.expires_at - now) if token.expires_at else "never"
    return expires, "any number" if token.uses_left < 0 else str(token.uses_left)


@token.command("rm")
@click.argument("token_id", metavar="TOKEN")
@global_options
@pass_session
def rm(session: Session, token_id: str) -> None:
    """Remove a token, by its id. Who has joined with it stays."""
    with session.client() as client:
        client.remove_token(token_id)
    click.echo(f"removed token {token_id}")
