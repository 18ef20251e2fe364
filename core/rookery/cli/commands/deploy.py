"""`rookery deploy`: makes an app what its compose file says, and shows how it gets there."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click

from rookery.cli.apps_wait import STATUS, Ended, converge, failures, last_words, run_waiting
from rookery.cli.changes import change_lines
from rookery.cli.command import command, json_option, pass_session
from rookery.cli.compose_input import compose_options, load_app
from rookery.cli.converge import Look, Outcome
from rookery.cli.display import progress
from rookery.cli.output import say, show_json, warn
from rookery.cli.session import Session
from rookery.client import Applied
from rookery.model import AppSpec, AppStatus, ChangeKind, PortMode, Proxy


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    prune: bool
    detach: bool
    timeout_s: float
    monitor_s: float


@command("deploy")
@compose_options
@click.option("--prune/--no-prune", default=False, help="Remove services that the file no longer names.")
@click.option("--detach", "-d", is_flag=True, help="Do not wait until all is ready.")
@click.option("--timeout", type=click.FloatRange(min=0), default=300.0, show_default=True, help="Seconds to wait.")
@click.option(
    "--monitor", type=click.FloatRange(min=0), default=1.0, show_default=True, help="Seconds that all must stay ready to count."
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
    wish = Wish(prune=prune, detach=detach, timeout_s=timeout, monitor_s=monitor)
    outcome = run_waiting(lambda: _deploy(session, spec, wish, as_json), on_interrupt=interrupted)
    raise click.exceptions.Exit(STATUS[outcome])


async def _deploy(session: Session, spec: AppSpec, wish: Wish, as_json: bool) -> Outcome:
    async with session.async_client() as client:
        old = await failures(client, spec.name)
        applied = await client.apply(spec, prune=wish.prune)
        if not as_json:
            for line in change_lines(spec.name, applied.changes, fields=False):
                click.echo(line)
        ended = Ended(Outcome.DONE, Look([]), 0.0)
        if not wish.detach:
            stable_s = wish.monitor_s if _changes_anything(applied) else 0.0
            with progress(silent=as_json) as display:
                ended = await converge(
                    client,
                    spec.name,
                    display,
                    old_failures=old,
                    timeout_s=wish.timeout_s,
                    stable_s=stable_s,
                    updated={c.service: c.revision for c in applied.changes if c.kind is ChangeKind.UPDATE},
                )
        status = await client.get_app(spec.name)
        proxies = await client.list_proxies()
        words = await last_words(client, ended.look) if ended.outcome is Outcome.FAILED and not as_json else []
    if as_json:
        word = "started" if wish.detach else ended.outcome.value
        answer = {
            "app": spec.name,
            "outcome": word,
            "took_s": round(ended.after_s, 3),
            "changes": applied.changes,
            "status": status,
        }
        show_json(answer)
    elif wish.detach:
        click.echo(f"{spec.name} is being deployed. Look with: rookery ps {spec.name}")
    else:
        for line in words:
            click.echo(line)
        _conclude(spec, applied, status, ended)
        for line in _unheard(status, proxies):
            warn(line)
    return ended.outcome


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
            failed = [line.subject for line in seen.lines if line.outcome is Outcome.FAILED]
            say(f"{spec.name} failed after {took_s:.1f} s. Next: rookery logs {failed[0]} --tail 20; rookery explain {failed[0]}")
        case Outcome.TIMED_OUT:
            late = [line.subject for line in seen.lines if line.outcome is None] or [spec.name]
            say(
                f"{spec.name} is not ready after {took_s:.0f} s; it goes on. "
                f"Next: rookery explain {late[0]}; rookery logs {late[0]}"
            )


def _changes_anything(applied: Applied) -> bool:
    return any(change.kind is not ChangeKind.KEEP for change in applied.changes)


def _published(status: AppStatus) -> list[str]:
    lines = []
    for service in status.services:
        ports = [f"port {port.published}" for port in service.ports if port.published and port.mode is PortMode.INGRESS]
        ports += [f"http://{route.host or 'any host'}:{route.published}{route.path}" for route in service.routes]
        if ports:
            lines.append(f"  {service.service.key} answers on {', '.join(ports)} of every proxy")
    return lines


def _unheard(status: AppStatus, proxies: Iterable[Proxy]) -> list[str]:
    """The app's ports that a proxy does not listen on, and why."""
    published = {port.published for s in status.services for port in s.ports if port.mode is PortMode.INGRESS}
    published |= {route.published for s in status.services for route in s.routes}
    return [
        f"proxy {proxy.info.id} does not listen on port {error.port}: {error.why}"
        for proxy in proxies
        if proxy.connected
        for error in proxy.listener_errors
        if error.port in published
    ]
