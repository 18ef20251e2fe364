"""The plain listings: apps, services, nodes, proxies, routes."""

import time

import click

from rookery.cli.command import command, json_option, pass_session
from rookery.cli.completing import complete_app
from rookery.cli.grid import Cell, Column
from rookery.cli.output import STATE_COLOURS, say, show_json, show_table
from rookery.cli.session import Session
from rookery.cli.text import ago, clock_time, labels, plural, size
from rookery.client import NotFound
from rookery.model import AppStatus, NodeDetail, Proxy, Route, ServiceStatus

NO_APPS = "No apps yet. Deploy one: rookery deploy -f compose.yml"
NO_NODES = "No node has joined yet. Start an agent on each machine: rookery-agent --manager {manager} --token-file FILE"


@command("apps")
@json_option
@pass_session
def apps(session: Session, as_json: bool) -> None:
    """List apps: their services, ready replicas, and whether all is as it should be."""
    with session.client() as client:
        found = client.list_apps()
    if as_json:
        show_json(found)
    elif not found:
        say(NO_APPS)
    else:
        columns = [Column("APP"), Column("SERVICES", right=True), Column("READY", right=True), Column("STATE"), Column("CREATED")]
        show_table(columns, [_app_row(status, time.time()) for status in found])


def _app_row(status: AppStatus, now: float) -> list[Cell | str]:
    ready, wanted = sum(s.ready for s in status.services), sum(s.wanted for s in status.services)
    if status.app.removing:
        state = Cell("being removed", "yellow")
    else:
        state = Cell("converged", "green") if status.converged else Cell("converging", "yellow")
    return [status.app.name, str(len(status.services)), f"{ready}/{wanted}", state, ago(status.app.created_at, now)]


@command("services")
@click.argument("app", required=False, default="", shell_complete=complete_app)
@json_option
@pass_session
def services(session: Session, app: str, as_json: bool) -> None:
    """List the services of APP, or all of them."""
    with session.client() as client:
        found = client.list_services(app)
        if app and not found:
            client.get_app(app)  # says so where there is no such app
    if as_json:
        show_json(found)
    elif not found:
        say(f"{app} has no services." if app else NO_APPS)
    else:
        columns = [
            Column("SERVICE"), Column("MODE", rank=2), Column("READY", right=True), Column("REVISION", right=True, rank=3),
            Column("IMAGE", flexible=True, rank=1), Column("PORTS", flexible=True, rank=4),
            Column("WAITS FOR", flexible=True, rank=1),
        ]  # fmt: skip
        show_table(columns, [_service_row(status) for status in found])


def _service_row(status: ServiceStatus) -> list[Cell | str]:
    ready = Cell(f"{status.ready}/{status.wanted}", "green" if status.converged else "yellow")
    ports = [f"{p.published or '?'}->{p.target}/{p.protocol}" for p in status.ports]
    ports += [f"{r.host or '*'}:{r.published}{r.path}" for r in status.routes]
    why = "; ".join([*([] if status.converged else [status.why]), *status.unserved])
    service = status.service
    return [service.key, status.mode, ready, str(service.revision), status.image, ", ".join(ports), why]


@command("nodes")
@json_option
@pass_session
def nodes(session: Session, as_json: bool) -> None:
    """List nodes: their state, how full they are, and how busy."""
    with session.client() as client:
        found = client.list_nodes()
    if as_json:
        show_json(found)
    elif not found:
        say(NO_NODES.format(manager=session.address()) + "\nOr run a cluster on this machine: rookery up")
    else:
        columns = [
            Column("NODE"), Column("ID", rank=6), Column("STATE"), Column("AVAILABILITY"), Column("ADDRESS", rank=4),
            Column("REPLICAS", right=True), Column("CPU", right=True, rank=2), Column("MEMORY", right=True, rank=2),
            Column("RESERVED", rank=3), Column("RUNTIME", rank=5),
            Column("LABELS", flexible=True, rank=5), Column("WHY", flexible=True, rank=1),
        ]  # fmt: skip
        show_table(columns, [node_row(detail) for detail in found])


def node_row(detail: NodeDetail) -> list[Cell | str]:
    node, stats = detail.node, detail.stats
    heard = stats is not None and stats.memory_total_bytes > 0
    cpu = f"{stats.cpu_percent:.0f}%" if stats and heard else "-"
    memory = f"{size(stats.memory_used_bytes)} / {size(stats.memory_total_bytes)}" if stats and heard else "-"
    reserved = detail.reserved
    full = [f"{reserved.cpus:g}/{node.info.capacity.cpus:g} cpu"] if reserved.cpus else []
    full += [size(reserved.memory_bytes)] if reserved.memory_bytes else []
    held_off = [f"held off, it went down {node.downs} times in a row"] if node.held_off else []
    down_why = [node.why] if node.state != "ready" else []
    why = "; ".join([*down_why, *held_off, *(f"{c.name}: {c.why}" for c in node.conditions)])
    return [
        node.name, node.id[:8], Cell(node.state, STATE_COLOURS.get(node.state)),
        Cell(node.availability, STATE_COLOURS.get(node.availability)), node.info.address, str(detail.replicas), cpu, memory,
        ", ".join(full), ", ".join(node.info.runtimes), labels(node.all_labels), why,
    ]  # fmt: skip


@command("proxies")
@json_option
@pass_session
def proxies(session: Session, as_json: bool) -> None:
    """List proxies, and the version of the route table that each has acknowledged."""
    with session.client() as client:
        found = client.list_proxies()
    if as_json:
        show_json(found)
    elif not found:
        say(f"No proxy has connected. Start one: rookery-proxy --manager {session.address()}")
    else:
        columns = [
            Column("PROXY"), Column("ADDRESS"), Column("CONNECTED"), Column("WORKERS", right=True), Column("TABLE", right=True),
            Column("SEEN", rank=2), Column("TROUBLE", flexible=True, rank=1),
        ]  # fmt: skip
        show_table(columns, [_proxy_row(proxy, time.time()) for proxy in found])


def _proxy_row(proxy: Proxy, now: float) -> list[Cell | str]:
    connected = Cell("yes", "green") if proxy.connected else Cell("no", "red")
    trouble = "; ".join(f"port {error.port}: {error.why}" for error in proxy.listener_errors)
    seen = clock_time(proxy.last_seen_at, now) if proxy.last_seen_at else "-"
    info = proxy.info
    return [
        info.hostname or info.id[:8], info.address, connected, str(info.workers), str(proxy.acked_version), seen, trouble
    ]  # fmt: skip


@command("routes")
@click.argument("app", required=False, default="", shell_complete=complete_app)
@json_option
@pass_session
def routes(session: Session, app: str, as_json: bool) -> None:
    """List what proxies listen for (of APP, or all), and how many endpoints are behind it."""
    with session.client() as client:
        table = client.list_routes()
        if app and app not in {status.app.name for status in client.list_apps()}:
            client.get_app(app)
            raise NotFound(f"no app {app}", code="NOT_FOUND")
    found = [route for route in table.routes if app in ("", route.app)]
    if as_json:
        show_json({"version": table.version, "routes": found})
    elif not found:
        say("No routes: no service publishes a port. Add `ports:` to one and deploy again.")
    else:
        columns = [
            Column("PORT", right=True), Column("PROTOCOL", rank=3), Column("HOST", rank=1), Column("PATH", rank=1),
            Column("SERVICE"), Column("ENDPOINTS", flexible=True), Column("WHY", flexible=True, rank=2),
        ]  # fmt: skip
        show_table(columns, [_route_row(route) for route in found])
        say(f"{plural(len(found), 'route')}, table version {table.version}")


def _route_row(route: Route) -> list[Cell | str]:
    ends = [f"{end.address}:{end.port}" for end in route.endpoints]
    endpoints = Cell(f"{len(ends)}: {', '.join(ends)}") if ends else Cell("none", "red")
    why = route.why_empty if not ends else ""
    if route.rules.redirect is not None:
        endpoints, why = Cell("none: it redirects"), ""
    protocol = f"{route.protocol or 'detect'}{' over TLS' if route.tls else ''}"
    path = f"{route.path} [{route.rules.selection}]" if route.rules.is_selective else route.path
    return [str(route.port), protocol, route.host, path, f"{route.app}/{route.service}", endpoints, why]
