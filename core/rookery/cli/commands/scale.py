"""`rookery scale`: how many replicas services have."""

from dataclasses import dataclass

import click

from rookery.cli.apps_wait import STATUS, converge, earlier, run_waiting
from rookery.cli.command import BAD_INPUT, Failure, command, json_option, pass_session, waiting_options
from rookery.cli.completing import complete_workload
from rookery.cli.display import progress
from rookery.cli.look import Outcome
from rookery.cli.output import say, show_json
from rookery.cli.session import Session
from rookery.cli.targets import ServiceTarget, split
from rookery.client import BadRequest, Scaled


@dataclass(frozen=True, slots=True)
class Wish:
    app: str
    service: str
    replicas: int


@command("scale")
@click.argument("wishes", metavar="APP/SERVICE=N...", nargs=-1, required=True, shell_complete=complete_workload)
@waiting_options
@json_option
@pass_session
def scale(session: Session, wishes: tuple[str, ...], detach: bool, timeout: float, as_json: bool) -> None:
    """Set how many replicas services have, and wait until they are ready (or gone)."""
    wanted = [parse_wish(text) for text in wishes]
    keys = " ".join(f"{wish.app}/{wish.service}" for wish in wanted)
    interrupted = f"Scaling goes on in the background. Look with: rookery ps {keys}"
    outcome = run_waiting(lambda: _scale(session, wanted, detach, timeout, as_json), on_interrupt=interrupted)
    if outcome is Outcome.TIMED_OUT and not as_json:
        say(f"Not there after {timeout:g} s; it goes on. See why: rookery explain {keys.split()[0]}")
    raise click.exceptions.Exit(STATUS[outcome])


def parse_wish(text: str) -> Wish:
    """`shop/web=3`. Raises Failure for anything else."""
    name, equals, number = text.rpartition("=")
    try:
        target = split(name)
    except BadRequest:
        target = None
    if not equals or not isinstance(target, ServiceTarget):
        raise Failure(f"expected APP/SERVICE=N, as in shop/web=3, got {text!r}", status=BAD_INPUT)
    if not (number.isascii() and number.isdecimal()) or int(number) > 1_000_000:
        raise Failure(f"{name}: expected a number of replicas, 0 or more, got {number!r}", status=BAD_INPUT)
    return Wish(target.app, target.service, int(number))


async def _scale(session: Session, wishes: list[Wish], detach: bool, timeout: float, as_json: bool) -> Outcome:
    async with session.async_client() as client:
        apps = list(dict.fromkeys(wish.app for wish in wishes))
        since = {app: await earlier(client, app) for app in apps}
        done: dict[str, Scaled] = {}
        for wish in wishes:
            scaled = await client.scale(wish.app, wish.service, wish.replicas)
            done[f"{wish.app}/{wish.service}"] = scaled
            if not as_json:
                click.echo(f"{wish.app}/{wish.service}: {scaled.before} -> {scaled.after}")
        outcome = Outcome.DONE
        for app in [] if detach else apps:
            services = frozenset(wish.service for wish in wishes if wish.app == app)
            with progress(silent=as_json) as display:
                ended = await converge(
                    client, app, display, since=since[app], timeout_s=timeout, services=services, heeds_rollouts=False
                )
            outcome = ended.outcome if outcome is Outcome.DONE else outcome
        if as_json:
            show_json({"services": done, "outcome": "started" if detach else outcome.value})
        return outcome
