"""`rookery node`: what an operator wants of one node."""

import click

from rookery.cli.apps_wait import STATUS, run_waiting
from rookery.cli.command import BAD_INPUT, CONTEXT_SETTINGS, Failure, global_options, json_option, pass_session
from rookery.cli.commands.inspect import outline
from rookery.cli.completing import complete_node
from rookery.cli.display import progress
from rookery.cli.jsonable import jsonable
from rookery.cli.look import Line, Look, Outcome
from rookery.cli.output import say, show_json
from rookery.cli.session import Session
from rookery.cli.text import labels, one_line, plural
from rookery.cli.waiting import wait_until
from rookery.model import Availability, Replica, ReplicaState


@click.group("node", context_settings=CONTEXT_SETTINGS)
@global_options
def node() -> None:
    """Drain, activate, label, inspect or remove a node. 'rookery nodes' lists them."""


@node.command("drain")
@click.argument("name", metavar="NODE", shell_complete=complete_node)
@click.option("--detach", "-d", is_flag=True, help="Do not wait until it is empty.")
@click.option("--timeout", type=click.FloatRange(min=0), default=300.0, show_default=True, help="Seconds to wait.")
@json_option
@global_options
@pass_session
def drain(session: Session, name: str, detach: bool, timeout: float, as_json: bool) -> None:
    """Move all replicas off NODE and give it no new ones, until 'rookery node activate'."""
    interrupted = f"Draining goes on in the background. Look with: rookery ps --node {name}"
    outcome = run_waiting(lambda: _drain(session, name, detach, timeout, as_json), on_interrupt=interrupted)
    if outcome is Outcome.TIMED_OUT and not as_json:
        say(f"Not empty after {timeout:g} s; it goes on. See what is left: rookery ps --node {name}")
    raise click.exceptions.Exit(STATUS[outcome])


async def _drain(session: Session, name: str, detach: bool, timeout: float, as_json: bool) -> Outcome:
    async with session.async_client() as client:
        detail = await client.update_node(name, availability=Availability.DRAINED)
        target = detail.node

        async def look() -> Look:
            left = [d.replica for d in await client.list_replicas(node_id=target.id)]
            if not left:
                return Look([Line(target.name, "drained", Outcome.DONE)], Outcome.DONE)
            return Look([Line(target.name, f"{plural(len(left), 'replica')} left", waits=_why(left))])

        outcome = Outcome.DONE
        if not detach:
            with progress(silent=as_json) as display:
                outcome, _ = await wait_until(client, look, display, timeout_s=timeout)
        if as_json:
            show_json(await client.get_node(target.id))
        elif detach:
            click.echo(f"draining {target.name} ({plural(detail.replicas, 'replica')})")
        return outcome


def _why(replicas: list[Replica]) -> str:
    first = next((replica for replica in replicas if replica.why and replica.state is not ReplicaState.RUNNING), None)
    return f"{first.name} {first.state}: {one_line(first.why)}" if first else ""


@node.command("activate")
@click.argument("name", metavar="NODE", shell_complete=complete_node)
@json_option
@global_options
@pass_session
def activate(session: Session, name: str, as_json: bool) -> None:
    """Let NODE have replicas again."""
    with session.client() as client:
        detail = client.update_node(name, availability=Availability.ACTIVE)
    if as_json:
        show_json(detail)
    else:
        click.echo(f"{detail.node.name} is active")


@node.command("label")
@click.argument("name", metavar="NODE", shell_complete=complete_node)
@click.argument("changes", metavar="[KEY=VALUE|KEY-]...", nargs=-1)
@json_option
@global_options
@pass_session
def label(session: Session, name: str, changes: tuple[str, ...], as_json: bool) -> None:
    """Set labels of NODE (KEY=VALUE) and remove them (KEY-); without any, show what it has."""
    put, gone = _parse_labels(changes)
    with session.client() as client:
        detail = client.update_node(name, set_labels=put, remove_labels=gone) if changes else client.get_node(name)
    if as_json:
        show_json(detail)
    else:
        click.echo(f"{detail.node.name}: {labels(detail.node.all_labels) or 'no labels'}")


def _parse_labels(changes: tuple[str, ...]) -> tuple[dict[str, str], list[str]]:
    put, gone = {}, []
    for change in changes:
        key, equals, value = change.partition("=")
        if equals and key:
            put[key] = value
        elif not equals and len(change) > 1 and change.endswith("-"):
            gone.append(change[:-1])
        else:
            raise Failure(f"expected KEY=VALUE or KEY- (to remove it), got {change!r}", status=BAD_INPUT)
    return put, gone


@node.command("inspect")
@click.argument("name", metavar="NODE", shell_complete=complete_node)
@json_option
@global_options
@pass_session
def inspect(session: Session, name: str, as_json: bool) -> None:
    """Show everything about NODE."""
    with session.client() as client:
        detail = client.get_node(name)
    if as_json:
        show_json(detail)
    else:
        click.echo("\n".join(outline(jsonable(detail))))


@node.command("rm")
@click.argument("name", metavar="NODE", shell_complete=complete_node)
@click.option("--force", is_flag=True, help="Although it is up, or has replicas: they count as lost.")
@global_options
@pass_session
def remove(session: Session, name: str, force: bool) -> None:
    """Forget NODE. Its agent, if it runs, must be stopped first."""
    with session.client() as client:
        found = client.get_node(name).node
        client.remove_node(found.id, force=force)
    click.echo(f"removed {found.name}")
