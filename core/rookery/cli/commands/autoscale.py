"""`rookery autoscale`: what the number of a service's replicas follows."""

import dataclasses
import time

import click

from rookery.cli.autoscale_text import decisions_table, figures_table, parse_target, status_lines
from rookery.cli.command import BAD_INPUT, CONTEXT_SETTINGS, Failure, global_options, json_option, pass_session
from rookery.cli.completing import complete_workload
from rookery.cli.output import show_json, show_table
from rookery.cli.session import Session
from rookery.cli.spans import seconds
from rookery.cli.targets import split_service
from rookery.cli.text import plural
from rookery.model import Autoscale, AutoscaleStatus, ScaleTarget

WEEK_S = 7 * 86_400.0  # as the manager has it

_service_argument = click.argument("service", metavar="APP/SERVICE", shell_complete=complete_workload)


@click.group("autoscale", context_settings=CONTEXT_SETTINGS)
@global_options
def autoscale() -> None:
    """See what the number of a service's replicas follows; set it, end it, and have it explained."""


@autoscale.command("show")
@_service_argument
@json_option
@global_options
@pass_session
def show(session: Session, service: str, as_json: bool) -> None:
    """Show by what APP/SERVICE is scaled, and what is asked of it now."""
    found = _get(session, service)
    if as_json:
        show_json(found)
        return
    click.echo("\n".join(status_lines(found)))
    if found.latest is not None and found.latest.figures:
        click.echo()
        show_table(*figures_table(found.latest))


@autoscale.command("explain")
@_service_argument
@json_option
@global_options
@pass_session
def explain(session: Session, service: str, as_json: bool) -> None:
    """Show why APP/SERVICE has as many replicas as it has, and the latest changes with their figures."""
    found = _get(session, service)
    if as_json:
        show_json(found)
        return
    _need_policy(found)
    if found.latest is None:
        click.echo(f"{service}: its figures were not looked at yet")
        return
    click.echo(f"{service}: {plural(found.latest.after, 'replica')}, {found.ready} ready: {found.latest.why}")
    if found.decisions:
        click.echo()
        show_table(*decisions_table(found.decisions, time.time()))
    else:
        click.echo("No change that history still has.")


@autoscale.command("set")
@_service_argument
@click.option("--min", "minimum", type=click.IntRange(0, 10_000), help="The least replicas; 0 lets the last one go.")
@click.option("--max", "maximum", type=click.IntRange(1, 10_000), help="The most replicas.")
@click.option(
    "--target", "targets", multiple=True, metavar="METRIC=VALUE",
    help="What one replica is to have: concurrency=10, rps=50, latency_p95=200ms, cpu=60%, memory=70%.",
)  # fmt: skip
@click.option(
    "--idle",
    metavar="SPAN",
    type=seconds(1.0, WEEK_S),
    help="With --min 0: how long without a request before the last goes, as in 5m.",
)
@click.option("--down-window", metavar="SPAN", type=seconds(0.0, 3600.0), help="So long must fewer have been enough, as in 90s.")
@json_option
@global_options
@pass_session
def set_policy(
    session: Session,
    service: str,
    minimum: int | None,
    maximum: int | None,
    targets: tuple[str, ...],
    idle: float | None,
    down_window: float | None,
    as_json: bool,
) -> None:
    """Change by what APP/SERVICE is scaled, or begin to scale it, until its next deploy. What is left out stays."""
    target, wanted = split_service(service), _targets(targets)
    with session.client() as client:
        found = client.get_autoscale(target.app, target.service)
        before = found.policy or client.get_service(target.app, target.service).spec.autoscale
        if before is None and (maximum is None or not wanted):
            raise Failure(f"{service} is not scaled yet: say --max and --target too", status=BAD_INPUT)
        policy = before or Autoscale()
        policy = dataclasses.replace(
            policy,
            minimum=policy.minimum if minimum is None else minimum,
            maximum=policy.maximum if maximum is None else maximum,
            targets=wanted or policy.targets,
            idle_s=policy.idle_s if idle is None else idle,
            down=policy.down if down_window is None else dataclasses.replace(policy.down, window_s=down_window),
        )
        after = client.set_autoscale(target.app, target.service, policy)
    if as_json:
        show_json(after)
    else:
        click.echo("\n".join(status_lines(after)))


@autoscale.command("off")
@_service_argument
@json_option
@global_options
@pass_session
def off(session: Session, service: str, as_json: bool) -> None:
    """Leave the number of replicas of APP/SERVICE as it is, until its next deploy or 'rookery autoscale set'."""
    target = split_service(service)
    with session.client() as client:
        found = client.set_autoscale(target.app, target.service, None)
    if as_json:
        show_json(found)
    else:
        stays = f"it stays at {plural(found.replicas, 'replica')}; 'rookery scale {service}=N' sets another number"
        click.echo(f"{service} is not scaled any more: {stays}")


def _get(session: Session, service: str) -> AutoscaleStatus:
    target = split_service(service)
    with session.client() as client:
        return client.get_autoscale(target.app, target.service)


def _need_policy(found: AutoscaleStatus) -> None:
    if found.policy is None:
        raise Failure(next(iter(status_lines(found))))


def _targets(texts: tuple[str, ...]) -> tuple[ScaleTarget, ...]:
    found = []
    for text in texts:
        target = parse_target(text)
        if isinstance(target, str):
            raise Failure(target, status=BAD_INPUT)
        found.append(target)
    return tuple(found)
