"""`rookery deploy`: makes an app what its compose file says, and shows how it gets there."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click

from rookery.cli.apps_wait import STABLE_S, STATUS, Ended, earlier, next_steps, run_waiting, settle
from rookery.cli.changes import change_lines, overtaking_lines
from rookery.cli.command import Failure, command, json_option, pass_session, waiting_options
from rookery.cli.compose_input import compose_options, load_app
from rookery.cli.look import Outcome
from rookery.cli.output import say, show_json, warn
from rookery.cli.session import Session
from rookery.client import Applied, AsyncClient, Conflict
from rookery.model import AppSpec, AppStatus, ChangeKind, PortMode, Proxy


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """`timeout_s` None is not to wait."""

    prune: bool
    if_revision: int | None
    timeout_s: float | None
    monitor_s: float


@command("deploy")
@compose_options
@click.option("--prune/--no-prune", default=False, help="Remove services that the file no longer names.")
@click.option(
    "--if-revision",
    type=click.IntRange(0, 2**31 - 1),
    metavar="N",
    default=None,
    help="Only if the app is at this revision, as 'rookery plan' said; 0: if there is no such app.",
)
@waiting_options
@click.option(
    "--monitor",
    type=click.FloatRange(min=0),
    default=STABLE_S,
    show_default=True,
    help="Seconds that all must stay ready to count.",
)
@json_option
@pass_session
def deploy(
    session: Session,
    files: tuple[Path, ...],
    app: str | None,
    env_files: tuple[Path, ...],
    profiles: tuple[str, ...],
    project_dir: Path | None,
    prune: bool,
    if_revision: int | None,
    detach: bool,
    timeout: float,
    monitor: float,
    as_json: bool,
) -> None:
    """Make an app what its compose file says, and wait until it is.

    Deploying the same file again changes nothing. Exit status: 0 all services are ready, 1 one of them failed, 2 the file is
    wrong, 3 not ready within --timeout, 4 no manager answers.
    """
    spec = load_app(files, app, env_files, profiles, project_dir).app
    interrupted = (
        f"The deploy of {spec.name} goes on in the background. Look with: rookery ps {spec.name}; rookery events {spec.name} -f"
    )
    wish = Wish(prune=prune, if_revision=if_revision, timeout_s=None if detach else timeout, monitor_s=monitor)
    outcome = run_waiting(lambda: _deploy(session, spec, wish, as_json), on_interrupt=interrupted)
    raise click.exceptions.Exit(STATUS[outcome])


async def _deploy(session: Session, spec: AppSpec, wish: Wish, as_json: bool) -> Outcome:
    async with session.async_client() as client:
        since = await earlier(client, spec.name)
        applied = await _apply(client, spec, wish)
        if not as_json:
            for line in (*change_lines(spec.name, applied.changes, fields=False), *overtaking_lines(spec.name, applied.changes)):
                click.echo(line)
        stable_s = wish.monitor_s if _changes_anything(applied) else 0.0
        ended = await settle(client, spec.name, since=since, timeout_s=wish.timeout_s, stable_s=stable_s, silent=as_json)
        status = await client.get_app(spec.name)
        proxies = await client.list_proxies()
    if as_json:
        word = "started" if wish.timeout_s is None else ended.outcome.value
        answer = {
            "app": spec.name,
            "outcome": word,
            "took_s": round(ended.after_s, 3),
            "app_revision": applied.app_revision,
            "changes": applied.changes,
            "status": status,
        }
        show_json(answer)
    elif wish.timeout_s is None:
        click.echo(f"{spec.name} is being deployed. Look with: rookery ps {spec.name}")
    else:
        _conclude(spec, applied, status, ended)
        for line in _unheard(status, proxies):
            warn(line)
    return ended.outcome


async def _apply(client: AsyncClient, spec: AppSpec, wish: Wish) -> Applied:
    try:
        return await client.apply(spec, prune=wish.prune, if_revision=wish.if_revision)
    except Conflict as error:
        if wish.if_revision is None:
            raise
        raise Failure(f"{error}\nNothing was done. Next: rookery plan") from None


def _conclude(spec: AppSpec, applied: Applied, status: AppStatus, ended: Ended) -> None:
    named = {service.name for service in spec.services} | {change.service for change in applied.changes}
    for left in [service.service.key for service in status.services if service.service.name not in named]:
        warn(f"{left} is not in the compose file and goes on; --prune removes it")
    seen, took_s = ended.look, ended.after_s
    match ended.outcome:
        case Outcome.DONE:
            changed = _changes_anything(applied)
            click.echo(
                f"{spec.name} is ready after {took_s:.1f} s" if changed else f"{spec.name} was ready already: nothing changed"
            )
            for line in _published(status):
                click.echo(line)
        case Outcome.FAILED:
            say(f"{spec.name} failed after {took_s:.1f} s. Next: {next_steps(seen)}")
        case Outcome.TIMED_OUT:
            say(f"{spec.name} is not ready after {took_s:.0f} s; it goes on. Next: {next_steps(seen)}")


def _changes_anything(applied: Applied) -> bool:
    return any(change.kind is not ChangeKind.KEEP for change in applied.changes)


def _published(status: AppStatus) -> list[str]:
    lines = []
    for service in status.services:
        ports = [f"port {port.published}" for port in service.ports if port.published and port.mode is PortMode.INGRESS]
        ports += [
            f"http{'s' if route.tls else ''}://{route.host or 'any host'}:{route.published}{route.path}"
            for route in service.routes
        ]
        if ports:
            lines.append(f"  {service.service.key} answers on {', '.join(ports)} of every proxy")
    return lines


def _unheard(status: AppStatus, proxies: Iterable[Proxy]) -> list[str]:
    """The app's ports that a proxy does not listen on, and why."""
    published = {port.published for s in status.services for port in s.ports if port.mode is PortMode.INGRESS}
    published |= {route.published for s in status.services for route in s.routes}
    return [
        f"proxy {proxy.info.id}, port {error.port}: {error.why}"
        for proxy in proxies
        if proxy.connected
        for error in proxy.listener_errors
        if error.port in published
    ]
