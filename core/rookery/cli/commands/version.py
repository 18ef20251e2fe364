"""`rookery version`: of this program, and of the manager if one answers."""

import click

from rookery._version import VERSION
from rookery.cli.command import command, json_option, pass_session
from rookery.cli.output import show_json
from rookery.cli.session import Session
from rookery.cli.text import plural
from rookery.client import ClientError


@command("version")
@json_option
@pass_session
def version(session: Session, as_json: bool) -> None:
    """Show the versions of this program and of the manager. A manager that is away is no error."""
    address = session.address()
    cluster, why = None, ""
    try:
        with session.client(timeout_s=3.0) as client:
            cluster = client.get_cluster()
    except ClientError as error:
        why = str(error)
    if as_json:
        show_json({"client": VERSION, "manager_address": address, "cluster": cluster, "error": why})
        return
    click.echo(f"client   {VERSION}")
    if cluster is None:
        click.echo(f"manager  {why}")
    else:
        nodes = f"{cluster.nodes_ready} of {plural(cluster.nodes, 'node')} ready"
        replicas = f"{cluster.replicas_ready} of {plural(cluster.replicas, 'replica')} ready"
        click.echo(f"manager  {cluster.manager_version} at {address}, {nodes}, {replicas}")
