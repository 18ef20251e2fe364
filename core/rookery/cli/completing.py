"""Names for the shell's completion, from the manager. A manager that does not answer within a second completes nothing."""

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

from rookery.cli.session import Session
from rookery.client import Client, ClientError


def _names(ctx: click.Context, list_them: Callable[[Client], list[str]], incomplete: str) -> list[CompletionItem]:
    session = ctx.find_object(Session) or Session(manager=str(ctx.params.get("manager") or ""))
    try:
        with session.client(timeout_s=1.0) as client:
            return [CompletionItem(name) for name in list_them(client) if name.startswith(incomplete)]
    except (ClientError, click.ClickException):
        return []


def _apps(client: Client) -> list[str]:
    return [status.app.name for status in client.list_apps()]


def _services(client: Client) -> list[str]:
    return [status.service.key for status in client.list_services()]


def _nodes(client: Client) -> list[str]:
    return [detail.node.name for detail in client.list_nodes()]


def complete_pool(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _names(ctx, lambda client: [pool.name for pool in client.list_pools()], incomplete)


def _incidents(client: Client) -> list[str]:
    from rookery.incidents import find  # lazy: nothing else that is completed needs it

    return [incident.id for incident in find(client.list_events(limit=1_000))]


def complete_incident(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _names(ctx, _incidents, incomplete)


def complete_app(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _names(ctx, _apps, incomplete)


def complete_node(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _names(ctx, _nodes, incomplete)


def complete_workload(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Apps, then services, then the replicas of the service that is typed already."""
    if "." in incomplete:
        app = incomplete.partition("/")[0]
        return _names(ctx, lambda client: [detail.replica.name for detail in client.list_replicas(app)], incomplete)
    return _names(ctx, lambda client: [*_apps(client), *_services(client)], incomplete)


def complete_anything(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [*complete_workload(ctx, param, incomplete), *complete_node(ctx, param, incomplete)]
