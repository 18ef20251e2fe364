"""`rookery top`: what goes on now, second by second."""

import sys
import time

import click

from rookery.cli.command import CONTEXT_SETTINGS, global_options, json_option, pass_session
from rookery.cli.completing import complete_app
from rookery.cli.grid import render
from rookery.cli.output import say, show_json, show_table, width
from rookery.cli.session import Session
from rookery.cli.traffic_text import COLUMNS, rates, rows
from rookery.client import Client
from rookery.model import TrafficReport


@click.group("top", context_settings=CONTEXT_SETTINGS)
@global_options
def top() -> None:
    """Watch what goes on now."""


@top.command("services")
@click.argument("app", required=False, default="", shell_complete=complete_app)
@click.option("--replicas", is_flag=True, help="A line for each replica, too.")
@click.option(
    "--interval", type=click.FloatRange(min=1.0, max=3600.0), default=2.0, show_default=True, metavar="SECONDS",
    help="What a look covers; proxies report once a second.",
)  # fmt: skip
@click.option("--once", is_flag=True, help="One look, and end; so it is wherever the output is no terminal.")
@json_option
@global_options
@pass_session
def services(session: Session, app: str, replicas: bool, interval: float, once: bool, as_json: bool) -> None:
    """Show what the proxies see of services (of APP, or all): requests, errors, p50 and p99 latencies, bytes.

    During a rollout the revisions have a line each. Latencies are from the buckets of the proxies' histogram: as exact as
    these are fine.
    """
    with session.client() as client:
        before = client.get_traffic(app)
        if once or as_json or not sys.stdout.isatty():
            before, after = _next(client, app, before, interval)
            found = rates(before, after, replicas=replicas)
            if as_json:
                show_json({"seconds": after.at - before.at, "proxies": after.proxies, "services": found})
            else:
                _hint(after)
                show_table(COLUMNS, rows(found))
            return
        _live(client, app, before, interval, replicas=replicas)


def _next(client: Client, app: str, before: TrafficReport, interval: float) -> tuple[TrafficReport, TrafficReport]:
    time.sleep(interval)
    return before, client.get_traffic(app)


def _hint(report: TrafficReport) -> None:
    if not report.proxies:
        say("No proxy reports, so nothing is counted.")
    elif not report.services:
        say("No services yet. Deploy an app: rookery deploy -f compose.yml")


def _live(client: Client, app: str, before: TrafficReport, interval: float, *, replicas: bool) -> None:
    """Draws a look in place of the one before, until it is interrupted."""
    from rich.console import Console  # lazy: rich takes longer to load than most commands to run
    from rich.live import Live
    from rich.text import Text

    ctx = click.get_current_context()
    console = Console(no_color=ctx.color is False, highlight=False)
    _hint(before)
    with Live(Text("…"), console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            before, after = _next(client, app, before, interval)
            lines = render(COLUMNS, rows(rates(before, after, replicas=replicas)), width())
            title = f"{time.strftime('%H:%M:%S')}  {after.proxies} proxies, the last {after.at - before.at:.1f} s"
            live.update(Text.from_ansi("\n".join([title, *lines])), refresh=True)
            before = after
