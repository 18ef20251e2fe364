"""`rookery certificate`: the certificates that the manager gets by ACME."""

import time

import click

from rookery.cli.command import CONTEXT_SETTINGS, global_options, json_option, pass_session
from rookery.cli.grid import Cell, Column
from rookery.cli.output import say, show_json, show_table
from rookery.cli.session import Session
from rookery.cli.text import span
from rookery.model import CertificateStatus


@click.group("certificate", context_settings=CONTEXT_SETTINGS)
@global_options
def certificate() -> None:
    """The certificates that the manager gets by ACME, for routes with `acme: true`. It renews them by itself."""


@certificate.command("ls")
@json_option
@global_options
@pass_session
def ls(session: Session, as_json: bool) -> None:
    """List certificates: from whom, until when, and what is wrong."""
    with session.client() as client:
        found = client.list_certificates()
    if as_json:
        show_json(found)
    elif not found:
        say("No certificates. A route asks for one with `acme: true`: see docs/proxy.md")
    else:
        columns = [
            Column("HOST"), Column("STATE"), Column("FROM", rank=2), Column("ENDS IN"), Column("RENEWED IN", rank=2),
            Column("USED BY", rank=3), Column("TROUBLE", flexible=True, rank=1),
        ]  # fmt: skip
        show_table(columns, [_row(status, time.time()) for status in found])


@certificate.command("renew")
@click.argument("host")
@json_option
@global_options
@pass_session
def renew(session: Session, host: str, as_json: bool) -> None:
    """Have the certificate of HOST renewed now; or tried again now, where that failed."""
    with session.client() as client:
        status = client.renew_certificate(host)
    if as_json:
        show_json(status)
    else:
        click.echo(f"the certificate of {status.certificate.host} is asked for; look with: rookery certificate ls")


def _row(status: CertificateStatus, now: float) -> list[Cell | str]:
    known = status.certificate
    left, renewed = known.expires_at - now, known.renew_at - now
    return [
        known.host,
        _state(status, now),
        known.issuer or "-",
        (span(left) if left > 0 else "ended") if known.digest else "-",
        (span(renewed) if renewed > 0 else "now") if known.digest and status.services else "-",
        ", ".join(status.services) or "-",
        status.note,
    ]


def _state(status: CertificateStatus, now: float) -> Cell:
    known = status.certificate
    if known.digest and known.expires_at > now:
        return Cell("valid", "yellow" if status.note else "green")
    return Cell("expired" if known.digest else "none", "red" if known.fault or known.digest else "yellow")
