"""`rookery restart`: new replicas of the same revision, one after another as an update replaces them."""

import time

import click

from rookery.cli.apps_wait import STATUS, earlier, next_steps, run_waiting, settle
from rookery.cli.command import command, json_option, pass_session, waiting_options
from rookery.cli.completing import complete_workload
from rookery.cli.look import Look, Outcome
from rookery.cli.output import say, show_json
from rookery.cli.session import Session
from rookery.cli.targets import AppTarget, ServiceTarget, split


@command("restart")
@click.argument("targets", metavar="APP[/SERVICE]...", nargs=-1, required=True, shell_complete=complete_workload)
@waiting_options
@json_option
@pass_session
def restart(session: Session, targets: tuple[str, ...], detach: bool, timeout: float, as_json: bool) -> None:
    """Replace the replicas of services, or of all services of apps, by new ones of the same revision, and wait until it is done.

    They are replaced as `update_config` says, so that no request fails.
    """
    named = [split(text) for text in dict.fromkeys(targets)]
    whole = {target.app for target in named if isinstance(target, AppTarget)}
    wanted = [target for target in named if isinstance(target, AppTarget) or target.app not in whole]
    interrupted = f"The restart goes on in the background. Look with: rookery ps {targets[0]}"
    outcome = run_waiting(lambda: _restart(session, wanted, None if detach else timeout, as_json), on_interrupt=interrupted)
    raise click.exceptions.Exit(STATUS[outcome])


async def _restart(session: Session, targets: list[AppTarget | ServiceTarget], timeout_s: float | None, as_json: bool) -> Outcome:
    begun = time.monotonic()
    async with session.async_client() as client:
        for target in targets:  # all of them are known before anything is done to one
            await (
                client.get_service(target.app, target.service)
                if isinstance(target, ServiceTarget)
                else client.get_app(target.app)
            )
        since = {app: await earlier(client, app) for app in dict.fromkeys(target.app for target in targets)}
        restarted: dict[str, list[str]] = {app: [] for app in since}
        for target in targets:
            done = await client.restart(target.app, target.service if isinstance(target, ServiceTarget) else "")
            restarted[target.app] += done.services
        keys = [f"{app}/{service}" for app, services in restarted.items() for service in services]
        if not as_json:
            click.echo("\n".join(f"{key}: restarting" for key in keys) or "No services to restart.")
        outcome, look = Outcome.DONE, Look([])
        for app, services in restarted.items():
            if not services:
                continue
            ended = await settle(client, app, since=since[app], timeout_s=timeout_s, services=frozenset(services), silent=as_json)
            if outcome is Outcome.DONE:
                outcome, look = ended.outcome, ended.look
    took_s = time.monotonic() - begun
    if as_json:
        word = "started" if timeout_s is None else outcome.value
        show_json({"services": keys, "outcome": word, "took_s": round(took_s, 3)})
    elif timeout_s is not None and keys:
        _conclude(", ".join(keys), outcome, look, took_s)
    return outcome


def _conclude(what: str, outcome: Outcome, look: Look, took_s: float) -> None:
    match outcome:
        case Outcome.DONE:
            click.echo(f"{what}: restarted after {took_s:.1f} s")
        case Outcome.FAILED:
            say(f"{what}: not restarted. Next: {next_steps(look)}")
        case Outcome.TIMED_OUT:
            say(f"{what}: not restarted after {took_s:.0f} s; it goes on. Next: {next_steps(look)}")
