"""`rookery ca`: the certificate authority, and its replacement by a new one."""

import time

import click

from rookery.cli.command import CONTEXT_SETTINGS, global_options, json_option, pass_session
from rookery.cli.grid import Column, Row
from rookery.cli.output import say, show_json, show_table
from rookery.cli.session import Session
from rookery.cli.text import clock_time, span
from rookery.model import AuthorityStatus, Mover, PartKind

_LOOK_S = 0.5
_NAMED = 5


@click.group("ca", context_settings=CONTEXT_SETTINGS)
@global_options
def ca() -> None:
    """Show the certificate authority of the cluster; replace it by a new one, while everything goes on."""


@ca.command("rotate")
@click.option("--detach", "-d", is_flag=True, help="Do not watch how it goes on.")
@click.option(
    "--timeout", type=click.FloatRange(min=0), default=60.0, show_default=True, metavar="SECONDS", help="How long to watch."
)
@json_option
@global_options
@pass_session
def rotate(session: Session, detach: bool, timeout: float, as_json: bool) -> None:
    """Replace the authority by a new one. Agents and proxies move to it at once, people when they use their credential next.

    Both are trusted until everybody has moved, or their certificates of the old one have ended: then the old one is dropped.
    """
    with session.client() as client:
        began = client.rotate_authority()
    _keep_login(session)
    if not (detach or as_json):
        began = _watch(session, time.monotonic() + timeout)
    if as_json:
        show_json(began)
        return
    if began.old_digest:
        say(_goes_on(began))
    say("Keep a copy of the manager's ca/ again: copies from before are of the old authority.")


def _watch(session: Session, until: float) -> AuthorityStatus:
    told = ""
    while True:
        with session.client() as client:  # each time with the credential of now
            status = client.get_authority_status()
        line = _progress(status)
        if line != told:
            click.echo(line)
            told = line
        if not status.old_digest or not _expected(status) or time.monotonic() >= until:
            return status
        time.sleep(_LOOK_S)


def _keep_login(session: Session) -> None:
    from rookery.cli.login import keep_login  # lazy: loads gRPC

    if not session.insecure:
        keep_login(session.address(), now=True)


def _expected(status: AuthorityStatus) -> bool:
    """Whether somebody is to be waited for who does not have to do anything for it."""
    return any(not mover.moved for mover in status.movers if mover.kind is not PartKind.PERSON)


def _progress(status: AuthorityStatus) -> str:
    if not status.old_digest:
        return f"done: the authority is {status.digest[:8]}, and no other is trusted"
    waiting = [mover for mover in status.movers if not mover.moved]
    moved = f"moved: {_counts(status.movers)}"
    return f"{moved}; not yet: {_names(waiting)}" if waiting else moved


def _counts(movers: tuple[Mover, ...]) -> str:
    said = []
    for kind, one, many in (
        (PartKind.AGENT, "agent", "agents"), (PartKind.PROXY, "proxy", "proxies"), (PartKind.PERSON, "person", "people")
    ):  # fmt: skip
        of_kind = [mover for mover in movers if mover.kind is kind]
        if of_kind:
            said.append(f"{sum(m.moved for m in of_kind)} of {len(of_kind)} {one if len(of_kind) == 1 else many}")
    return ", ".join(said) or "nobody is there to move"


def _names(movers: list[Mover]) -> str:
    names = [f"{mover.kind} {mover.name}" for mover in movers]
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _goes_on(status: AuthorityStatus) -> str:
    if all(mover.moved for mover in status.movers):
        return "The old one is dropped in a moment."
    by = clock_time(status.done_by, time.time())
    return f"It goes on by itself, and is done by {by} at the latest. 'rookery ca status' tells how far it is."


@ca.command("status")
@json_option
@global_options
@pass_session
def status_(session: Session, as_json: bool) -> None:
    """Show the authority, and while it is replaced, who has moved to the new one and who has not."""
    with session.client() as client:
        found = client.get_authority_status()
    if as_json:
        show_json(found)
        return
    now = time.time()
    click.echo(f"authority  {found.digest[:8]}, made {clock_time(found.made_at, now)}, ends in {span(found.ends_at - now)}")
    if not found.old_digest:
        return
    click.echo(f"replaces   {found.old_digest[:8]}, which is trusted too, since {clock_time(found.began_at, now)}")
    click.echo(_progress(found))
    waiting = [mover for mover in found.movers if not mover.moved]
    if waiting:
        rows: list[Row] = [[str(m.kind), m.name, m.id, span(max(0.0, m.ends_at - now))] for m in waiting]
        show_table([Column("NOT MOVED"), Column("NAME"), Column("ID", flexible=True), Column("OLD ONE ENDS IN")], rows)
    say(
        f"Join tokens that were handed out before pin {found.old_digest[:8]}: they work until it is dropped, and are then "
        "to be made anew. The manager's agent.token and proxy.token are of the new one."
    )
    say(_goes_on(found) + (f" 'rookery ca finish --force' drops {found.old_digest[:8]} now." if waiting else ""))


@ca.command("finish")
@click.option("--force", is_flag=True, help="Although somebody has not moved, who then has to join, or log in, again.")
@json_option
@global_options
@pass_session
def finish(session: Session, force: bool, as_json: bool) -> None:
    """Drop the old authority now."""
    with session.client() as client:
        found = client.drop_authority(force=force)
    if as_json:
        show_json(found)
        return
    click.echo(_progress(found))
    say("Join tokens and certificates of the old one are worth nothing now.")
