"""`rookery inspect`: one thing, whole."""

from collections.abc import Iterator
from typing import Any

import click

from rookery.cli.command import command, json_option, pass_session
from rookery.cli.completing import complete_anything
from rookery.cli.jsonable import jsonable
from rookery.cli.output import show_json
from rookery.cli.session import Session
from rookery.cli.targets import AppTarget, NodeTarget, ReplicaTarget, ServiceTarget, find_any
from rookery.cli.text import iso_time, one_line, size
from rookery.client import Client
from rookery.model import AppStatus, NodeDetail, ReplicaDetail, ServiceDetail


@command("inspect")
@click.argument("thing", shell_complete=complete_anything)
@json_option
@pass_session
def inspect(session: Session, thing: str, as_json: bool) -> None:
    """Show everything about THING: an app (shop), a service (shop/web), a replica (shop/web.3, or its id) or a node."""
    with session.client() as client:
        value = _get(client, thing)
    if as_json:
        show_json(value)
    else:
        click.echo("\n".join(outline(jsonable(value))))


def _get(client: Client, thing: str) -> AppStatus | ServiceDetail | ReplicaDetail | NodeDetail:
    match find_any(client, thing):
        case AppTarget(app):
            return client.get_app(app)
        case ServiceTarget(app, service):
            return client.get_service(app, service)
        case ReplicaTarget(replica=replica):
            return client.get_replica(replica)
        case NodeTarget(node):
            return client.get_node(node)


def outline(value: Any, indent: int = 0) -> Iterator[str]:
    """The lines of a tree as one reads it: what is empty is left out, instants and sizes are in words."""
    pad = "  " * indent
    for key, item in value.items():
        if item is None or item == "" or item == [] or item == {}:
            continue
        if isinstance(item, dict):
            inner = list(outline(item, indent + 1))
            if inner:
                yield f"{pad}{key}:"
                yield from inner
        elif isinstance(item, list) and isinstance(item[0], dict):
            yield f"{pad}{key}:"
            for part in item:
                lines = list(outline(part, indent + 2))
                if lines:
                    yield f"{pad}  - {lines[0].lstrip()}"
                    yield from lines[1:]
        else:
            text = _words(key, item)
            if text:
                yield f"{pad}{key}: {text}"


def _words(key: str, item: Any) -> str:
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, list):
        return one_line(("; " if key == "unserved" else " ").join(str(part) for part in item))  # those are sentences
    if key.endswith("_at"):
        return iso_time(item) if item else ""
    if key.endswith("_bytes"):
        return size(item) if item else ""
    if isinstance(item, float):
        return f"{item:g}" + (" s" if key.endswith("_s") else "")
    return one_line(str(item))
