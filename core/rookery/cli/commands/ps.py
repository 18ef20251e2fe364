"""`rookery ps`: replicas, where they are and how they do."""

import time

import click

from rookery.cli.command import command, json_option, pass_session
from rookery.cli.completing import complete_node, complete_workload
from rookery.cli.grid import Cell, Column
from rookery.cli.output import STATE_COLOURS, say, show_json, show_table
from rookery.cli.session import Session
from rookery.cli.targets import ServiceTarget, split
from rookery.cli.text import ago, size
from rookery.client import Client
from rookery.model import ReplicaDetail

COLUMNS = [
    Column("REPLICA"), Column("ID", rank=6), Column("STATE"), Column("READY"), Column("NODE"), Column("REV", right=True, rank=5),
    Column("RESTARTS", right=True, rank=4), Column("CPU", right=True, rank=3), Column("MEMORY", right=True, rank=3),
    Column("SINCE", rank=2), Column("IMAGE", flexible=True, rank=7), Column("WHY", flexible=True, rank=1),
]  # fmt: skip
_MOST_NAMED = 3


@command("ps")
@click.argument("target", metavar="[APP|APP/SERVICE]", required=False, default="", shell_complete=complete_workload)
@click.option("--all", "-a", "ended", is_flag=True, help="Also those that are stopped, failed or lost.")
@click.option("--node", metavar="NODE", default="", shell_complete=complete_node, help="Only those on this node.")
@json_option
@pass_session
def ps(session: Session, target: str, ended: bool, node: str, as_json: bool) -> None:
    """List the replicas of an app or service, or all of them."""
    with session.client() as client:
        found = _find(client, target, node, ended)
        services = client.list_services() if not (found or target or node) else ()
    if as_json:
        show_json(found)
    elif found:
        show_table(COLUMNS, [_row(detail, time.time()) for detail in found])
    elif target or node:
        place = " ".join(filter(None, [f"of {target}" if target else "", f"on {node}" if node else ""]))
        hint = "" if ended else "; --all shows those that have ended"
        say(f"No replicas {place}{hint}.")
    elif services:
        names = ", ".join(sorted(status.service.key for status in services)[:_MOST_NAMED])
        say(f"No replicas now. There are services, such as {names}: 'rookery services' shows how many they are to have.")
    else:
        say("No replicas yet. Deploy an app: rookery deploy -f compose.yml")


def _find(client: Client, target: str, node: str, ended: bool) -> list[ReplicaDetail]:
    app, service = "", ""
    if target:
        wanted = split(target)
        app, service = wanted.app, wanted.service if isinstance(wanted, ServiceTarget) else ""
    node_id = client.get_node(node).node.id if node else ""
    found = client.list_replicas(app, service, node_id=node_id, ended=ended)
    if not found and app:  # says so where there is no such app or service
        if service:
            client.get_service(app, service)
        else:
            client.get_app(app)
    return sorted(found, key=lambda detail: (detail.replica.key, detail.replica.slot, detail.replica.created_at))


def _row(detail: ReplicaDetail, now: float) -> list[Cell | str]:
    replica, stats = detail.replica, detail.stats
    ready = Cell("yes", "green") if replica.ready else Cell("no", "bright_black" if replica.ended else "yellow")
    why = "" if replica.ready else replica.why
    return [
        replica.name, replica.id[:8], Cell(replica.state, STATE_COLOURS.get(replica.state)), ready,
        detail.node_name or replica.node_name or "-", str(replica.revision), str(replica.restarts or ""),
        f"{stats.cpu_percent:.0f}%" if stats else "", size(stats.memory_bytes) if stats else "",
        ago(replica.changed_at, now), detail.image, why,
    ]  # fmt: skip
