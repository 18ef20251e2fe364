"""`rookery logs`: what replicas wrote, from whatever node they are on."""

import time
from collections.abc import Iterable, Iterator
from itertools import islice

import click

from rookery.cli.command import BAD_INPUT, Failure, command, json_option, pass_session
from rookery.cli.completing import complete_workload
from rookery.cli.output import show_json
from rookery.cli.session import Session
from rookery.cli.targets import AppTarget, ReplicaTarget, ServiceTarget, find_workload
from rookery.cli.text import iso_time, parse_since
from rookery.client import Client, LogEntry, LogFailure, LogLine

_COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "bright_cyan", "bright_yellow", "bright_green", "bright_magenta")
_SORTED_AT_MOST = 100_000  # lines held in memory to put those of several replicas in order


@command("logs")
@click.argument("target", metavar="APP|APP/SERVICE|REPLICA", shell_complete=complete_workload)
@click.option("--follow", "-f", is_flag=True, help="Go on with what they write from now on.")
@click.option("--since", metavar="TIME", default="", help="Only lines since then: 10m, 1h30m, 2026-01-31T12:00:00.")
@click.option("--tail", "-n", metavar="N|all", default="all", show_default=True, help="Only the last lines of each replica.")
@click.option("--timestamps", "-t", is_flag=True, help="Show when each line was written (UTC).")
@json_option
@pass_session
def logs(session: Session, target: str, follow: bool, since: str, tail: str, timestamps: bool, as_json: bool) -> None:
    """Show the logs of an app, a service or one replica, in order of time.

    With --json each line is an object on a line of its own.
    """
    try:
        since_at = parse_since(since, time.time()) if since else 0.0
    except ValueError as error:
        raise Failure(f"--since: {error}", status=BAD_INPUT) from None
    with session.client() as client:
        found = find_workload(client, target)
        entries = _read(client, found, follow, _lines(tail), since_at)
        prefix = Prefix(with_app=isinstance(found, AppTarget), shown=not isinstance(found, ReplicaTarget))
        failed = False
        for entry in entries if follow else in_order(entries):
            failed |= isinstance(entry, LogFailure)
            if as_json:
                show_json(entry, one_line=True)
            else:
                _show(entry, prefix, timestamps)
    if failed:
        raise click.exceptions.Exit(1)


def _lines(tail: str) -> int:
    if tail == "all":
        return -1
    if not (tail.isascii() and tail.isdecimal()):
        raise Failure(f"--tail: expected a number of lines or 'all', got {tail!r}", status=BAD_INPUT)
    return int(tail)


def _read(
    client: Client, target: AppTarget | ServiceTarget | ReplicaTarget, follow: bool, tail: int, since_at: float
) -> Iterator[LogEntry]:
    match target:
        case AppTarget(app):
            return client.logs(app, follow=follow, tail=tail, since_at=since_at)
        case ServiceTarget(app, service):
            return client.logs(app, service, follow=follow, tail=tail, since_at=since_at)
        case ReplicaTarget(app, service, replica):
            return client.logs(app, service, replica, follow=follow, tail=tail, since_at=since_at)


def in_order(entries: Iterable[LogEntry]) -> Iterator[LogEntry]:
    """The entries by time, failures last; what is more than fits in memory follows as it comes."""
    coming = iter(entries)
    first = list(islice(coming, _SORTED_AT_MOST))
    yield from sorted(first, key=lambda entry: entry.at if isinstance(entry, LogLine) else float("inf"))
    yield from coming


class Prefix:
    """The replica's name before each line, as wide as the widest so far, in a colour of its own."""

    def __init__(self, *, with_app: bool, shown: bool) -> None:
        self._with_app = with_app
        self._shown = shown
        self._width = 0
        self._colours: dict[str, str] = {}

    def of(self, entry: LogEntry) -> str:
        if not self._shown:
            return ""
        name = entry.replica if self._with_app else entry.replica.partition("/")[2]
        label = f"{name}@{entry.node_name}" if entry.node_name and not name.endswith(f".{entry.node_name}") else name
        self._width = max(self._width, len(label))
        colour = self._colours.setdefault(entry.replica_id, _COLOURS[len(self._colours) % len(_COLOURS)])
        return click.style(f"{label:<{self._width}} | ", fg=colour)


def _show(entry: LogEntry, prefix: Prefix, timestamps: bool) -> None:
    match entry:
        case LogLine():
            at = click.style(f"{iso_time(entry.at)} ", fg="bright_black") if timestamps else ""
            click.echo(f"{prefix.of(entry)}{at}{entry.text}")
        case LogFailure():
            where = f" on {entry.node_name}" if entry.node_name else ""
            click.echo(
                click.style("error: ", fg="red") + f"the log of {entry.replica}{where} can't be read: {entry.why}", err=True
            )
