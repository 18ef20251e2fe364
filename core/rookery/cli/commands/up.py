"""`rookery up` and `rookery down`: a cluster on this machine."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click

from rookery.cli.command import BAD_INPUT, TIMED_OUT, Failure, command, json_option, pass_session
from rookery.cli.local import record
from rookery.cli.local.parts import Wanted, credential
from rookery.cli.local.supervise import CannotStart, Supervisor
from rookery.cli.output import say, show_json
from rookery.cli.session import Session
from rookery.cli.text import plural
from rookery.client.address import DEFAULT_PORT
from rookery.process import data_dir

_DETACHED_WITHIN_S = 90.0
_DOWN_WITHIN_S = 120.0
_LEFTOVERS_WITHIN_S = 60.0

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the cluster keeps its data (else the user's own place).",
)


@command("up")
@click.option("--nodes", type=click.IntRange(1, 50), default=3, show_default=True, help="How many agents.")
@click.option(
    "--runtime",
    type=click.Choice(["auto", "docker", "process"]),
    default="auto",
    show_default=True,
    help="What runs the replicas; auto is Docker where an engine answers.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="Of the manager; 0 is any.")
@data_option
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Of the proxy.")
@click.option("--bind", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where the proxy listens.")
@click.option("--detach", "-d", is_flag=True, help="Return when it is up; 'rookery down' stops it.")
@click.option("--fresh", is_flag=True, help="Begin with nothing: forget what an earlier cluster here knew.")
@click.option("--verbose", "-v", is_flag=True, help="Show the logs of the parts.")
@pass_session
def up(
    session: Session,
    nodes: int,
    runtime: str,
    port: int,
    data: Path | None,
    workers: int,
    bind: str,
    detach: bool,
    fresh: bool,
    verbose: bool,
) -> None:
    """Run a cluster on this machine: a manager, agents and a proxy as processes, until Ctrl-C or 'rookery down'.

    Apps and their data are kept: the next 'rookery up' goes on with them.
    """  # fmt: skip
    wanted = Wanted(
        data=_place(data),
        nodes=nodes,
        runtime=runtime,
        port=port,
        workers=workers,
        bind=bind,
        insecure=session.insecure or "ROOKERY_INSECURE" in os.environ,
    )
    if record.is_supervised(wanted.data):
        _say_it_is_up(wanted.data)
        return
    try:
        record.prepare(wanted.data, fresh=False)
    except record.NotOurs as error:
        raise Failure(str(error), status=BAD_INPUT) from None
    if detach:
        _detach(wanted, fresh=fresh)
    else:
        _run(wanted, fresh=fresh, verbose=verbose)


def _place(data: Path | None) -> Path:
    return (data or data_dir("local")).absolute()


def _say_it_is_up(data: Path) -> None:
    known = record.read(data)
    where = f": manager at {known.manager}" if known and known.manager else " (it is starting)"
    click.echo(f"Rookery is up already{where}. To change it: rookery down, then up again")


def _run(wanted: Wanted, *, fresh: bool, verbose: bool) -> None:
    with record.only_supervisor(wanted.data) as alone:
        if not alone:
            _say_it_is_up(wanted.data)
            return
        record.stop_leftovers(wanted.data, within_s=_LEFTOVERS_WITHIN_S, say=say)
        record.prepare(wanted.data, fresh=fresh)
        say(f"starting a manager, {plural(wanted.nodes, 'agent')} and a proxy; logs in {wanted.data / 'logs'}")
        supervisor = Supervisor(wanted, verbose=verbose, tell=say, announce=lambda address: _next_steps(wanted, address))
        try:
            asyncio.run(supervisor.run())
        except CannotStart as error:
            raise Failure(str(error)) from None
        say("stopped")


def _next_steps(wanted: Wanted, address: str) -> None:
    click.echo(f"Rookery is up: {plural(wanted.nodes, 'node')}, manager at {address}, data in {wanted.data}")
    _say_how_to_reach(wanted, address)
    click.echo("  rookery nodes\n  rookery deploy -f compose.yml\nStop it with Ctrl-C, or with 'rookery down' from elsewhere.")


def _say_how_to_reach(wanted: Wanted, address: str) -> None:
    """What must be set for other commands to find it, where that is not how they look for it anyway."""
    if address != f"127.0.0.1:{DEFAULT_PORT}":
        click.echo(f"  export ROOKERY_MANAGER={address}")
    if wanted.insecure:
        click.echo("  export ROOKERY_INSECURE=1    # nothing protects this cluster from other programs on this machine")
    elif wanted.data != _place(None):
        click.echo(f"  export ROOKERY_CREDENTIAL={credential(wanted)}")


def _detach(wanted: Wanted, *, fresh: bool) -> None:
    """Runs `rookery up` in the background and waits until it says that it is up."""
    again = [
        sys.executable, "-m", "rookery.cli.main", "up", "--nodes", str(wanted.nodes), "--runtime", wanted.runtime,
        "--port", str(wanted.port), "--data", str(wanted.data), "--workers", str(wanted.workers), "--bind", wanted.bind,
        *(["--fresh"] if fresh else []), *(["--insecure"] if wanted.insecure else []),
    ]  # fmt: skip
    log = wanted.data / "up.log"
    with log.open("wb") as out:
        child = subprocess.Popen(again, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    deadline = time.monotonic() + _DETACHED_WITHIN_S
    while child.poll() is None:
        known = record.read(wanted.data)
        if known is not None and known.ready and known.supervisor.pid == child.pid:
            click.echo(f"Rookery is up: {plural(wanted.nodes, 'node')}, manager at {known.manager}, data in {wanted.data}")
            _say_how_to_reach(wanted, known.manager)
            click.echo("  rookery nodes\n  rookery deploy -f compose.yml\nStop it with 'rookery down'.")
            return
        if time.monotonic() > deadline:
            raise Failure(f"not up after {_DETACHED_WITHIN_S:g} s; its log is {log}; 'rookery down' stops it", status=TIMED_OUT)
        time.sleep(0.05)
    raise Failure(f"it did not come up:\n{log.read_text(errors='replace').rstrip()}")


@command("down")
@data_option
@json_option
def down(data: Path | None, as_json: bool) -> None:
    """Stop the cluster that 'rookery up' runs on this machine. Apps and their data are kept."""
    place = _place(data)
    stopped = False
    if record.is_supervised(place):
        stopped = True
        _stop_supervisor(place)
    elif (known := record.read(place)) is not None and any(record.is_alive(part) for part in known.parts):
        stopped = True
        record.stop_leftovers(place, within_s=_LEFTOVERS_WITHIN_S, say=say)
    if as_json:
        show_json({"stopped": stopped, "data": str(place)})
    else:
        click.echo("Rookery is down" if stopped else f"Rookery is not up here (data: {place})")


def _stop_supervisor(place: Path) -> None:
    deadline = time.monotonic() + _DOWN_WITHIN_S
    asked: record.Process | None = None
    while record.is_supervised(place) or (asked is not None and record.is_alive(asked)):
        known = record.read(place)
        # A supervisor that has only just begun may not have written its record yet: the one there is then of an earlier one.
        if known is not None and known.supervisor != asked and record.send(known.supervisor, signal.SIGTERM):
            asked = known.supervisor
            say(f"stopping the cluster (process {asked.pid}): the proxy, the agents with their replicas, the manager")
        if time.monotonic() > deadline:
            raise Failure(f"it did not stop within {_DOWN_WITHIN_S:g} s; its log is in {place}", status=TIMED_OUT)
        time.sleep(0.05)
