"""`rookery audit`: who did what, and who was refused what; and whether the history still is what was written."""

import time

import click

from rookery.cli.command import BAD_INPUT, CONTEXT_SETTINGS, FAILED, Failure, global_options, json_option, pass_session
from rookery.cli.grid import Column, Row
from rookery.cli.output import say, show_json, show_table
from rookery.cli.session import Session
from rookery.cli.text import clock_time, one_line, parse_since


class _Audit(click.Group):
    """A group whose first argument may also be a person: then it is for `show`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, "-h", "--help"):
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group("audit", cls=_Audit, context_settings=CONTEXT_SETTINGS)
def audit() -> None:
    """Show who did what and from where, and what they tried and were refused: 'rookery audit [PERSON]'. Verify the history."""


@audit.command("show")
@click.argument("name", metavar="[PERSON]", required=False, default="*")
@click.option("--limit", "-n", type=click.IntRange(min=1), default=100, show_default=True, help="How many of the newest.")
@click.option("--of", "--app", "subject", default="", metavar="SUBJECT", help="Only what concerns this app, service or node.")
@click.option("--kind", default="", metavar="KIND", help="Only of this kind: app, service, node, person, token, authority…")
@click.option("--action", "text", default="", metavar="TEXT", help="Only what says this, as in 'scaled' or 'removed'.")
@click.option("--refused", is_flag=True, help="Only what was refused.")
@click.option("--since", default="", metavar="WHEN", help="Only from then on: a span, as in 1h or 7d, or a time.")
@json_option
@global_options
@pass_session
def show(
    session: Session, name: str, limit: int, subject: str, kind: str, text: str, refused: bool, since: str, as_json: bool
) -> None:
    """Show what PERSON, or all people, did and from where, oldest first; and what they tried and were refused."""
    try:
        since_at = parse_since(since, time.time()) if since else 0.0
    except ValueError as error:
        raise Failure(f"--since: {error}", status=BAD_INPUT) from None
    if refused and kind:
        raise Failure("--refused is a kind already; give one of --refused and --kind", status=BAD_INPUT)
    with session.client() as client:
        kind = "attempt" if refused else kind
        found = client.list_events(subject, limit=limit, by=name, kind=kind, since_at=since_at, text=text)
    if as_json:
        show_json(found)
        return
    if not found:
        who = "Nobody" if name == "*" else f"Nothing tells that {name}"
        did = "was refused anything" if refused else "did anything"
        narrowed = subject or text or since or (kind and not refused)
        say(f"{who} {did}{' of that' if narrowed else ''}.")
        return
    now = time.time()
    rows: list[Row] = [[clock_time(e.at, now), e.actor, e.kind, e.subject, one_line(e.why)] for e in found]
    columns = [Column("TIME"), Column("WHO"), Column("KIND"), Column("OF"), Column("WHAT", flexible=True)]
    show_table(columns, rows)


@audit.command("verify")
@click.option(
    "--expect", default="", metavar="HEAD", help="A head that was printed before, REVISION:HASH: it must be in the history."
)
@json_option
@global_options
@pass_session
def verify(session: Session, expect: str, as_json: bool) -> None:
    """Check that nothing in the history was changed, taken out or put in, and that what is in force is what it wrote.

    It prints the head, a hash over all of it. Keep that elsewhere: without it, nobody can tell a history whose end was cut off,
    or that was written anew as a whole.
    """
    with session.client() as client:
        report = client.verify_audit(expect)
    if as_json:
        show_json(report)
        if report.fault:
            raise click.exceptions.Exit(FAILED)
        return
    if report.fault:
        raise Failure(f"{report.fault}. {report.checked} revisions after {report.from_revision} were what they should be")
    click.echo(f"{report.head_revision}:{report.head_hash}")
    proven = (
        ""
        if expect
        else " Keep this head elsewhere, and give it to --expect the next time: only so a history that was cut off shows."
    )
    since = f"from revision {report.from_revision + 1} on"
    say(f"{report.checked} revisions, {since}, are what was written, and what is in force is what they wrote.{proven}")
