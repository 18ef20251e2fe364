"""`rookery pool`: nodes that come and go with what is to run."""

import time

import click

from rookery.cli.command import BAD_INPUT, CONTEXT_SETTINGS, TIMED_OUT, Failure, global_options, json_option, pass_session
from rookery.cli.completing import complete_pool
from rookery.cli.grid import Cell, Column
from rookery.cli.output import say, show_json, show_table
from rookery.cli.session import Session
from rookery.cli.spans import seconds
from rookery.cli.text import ago, plural, span
from rookery.client import NotFound
from rookery.model import MemberState, Pool, PoolMember, PoolSpec, ProviderKind, Resources, RuntimeKind

_COLOURS = {MemberState.JOINED: "green", MemberState.DELETING: "bright_black"}
_LOOK_S = 0.3
_name = click.argument("name", metavar="POOL", shell_complete=complete_pool)


@click.group("pool", context_settings=CONTEXT_SETTINGS)
@global_options
def pool() -> None:
    """Pools of nodes that grow when replicas wait for room, and shrink when nodes could be spared."""


@pool.command("create")
@click.argument("name", metavar="POOL")
@click.option("--provider", type=click.Choice([kind.value for kind in ProviderKind]), required=True, help="What makes nodes.")
@click.option("--min", "least", type=int, default=0, show_default=True, help="Nodes at least.")
@click.option("--max", "most", type=int, default=10, show_default=True, help="Nodes at most.")
@click.option("--spare", type=int, default=0, show_default=True, help="1: room for all replicas with any one node lost.")
@click.option("--cpus", type=float, default=0.0, help="CPUs of a node, until one has joined and told.")
@click.option("--memory", metavar="SIZE", default="", help="Memory of a node (8G), until one has joined and told.")
@click.option("--runtime", type=click.Choice([kind.value for kind in RuntimeKind]), help="What runs replicas on its nodes.")
@click.option("--label", multiple=True, metavar="KEY=VALUE", help="A label of its nodes; may be repeated.")
@click.option("--setting", multiple=True, metavar="KEY=VALUE", help="For the provider, as image=NAME; may be repeated.")
@click.option("--agent-manager", metavar="HOST:PORT", default="", help="Where agents reach the manager (its own address).")
@click.option(
    "--shrink-after", metavar="SPAN", type=seconds(), default="5m", show_default=True, help="So long must a node be superfluous."
)
@click.option(
    "--join-timeout", metavar="SPAN", type=seconds(), default="5m", show_default=True, help="So long may a new node take to join."
)
@click.option(
    "--call-timeout",
    metavar="SPAN",
    type=seconds(),
    default="2m",
    show_default=True,
    help="So long may a call of the provider take.",
)
@click.argument("command", nargs=-1, metavar="[-- PROGRAM [ARG]...]")
@json_option
@global_options
@pass_session
def create(
    session: Session, name: str, provider: str, least: int, most: int, spare: int, cpus: float, memory: str, runtime: str | None,
    label: tuple[str, ...], setting: tuple[str, ...], agent_manager: str, shrink_after: float, join_timeout: float,
    call_timeout: float, command: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Make POOL. With --provider command, PROGRAM is run on the manager's machine (docs/pools.md)."""
    kind = ProviderKind(provider)
    by_default = RuntimeKind.PROCESS if kind is ProviderKind.PROCESS else RuntimeKind.DOCKER
    spec = PoolSpec(
        provider=kind,
        min=least,
        max=most,
        spare=spare,
        size=Resources(cpus=cpus, memory_bytes=_size(memory)),
        runtime=RuntimeKind(runtime) if runtime else by_default,
        labels=_pairs("--label", label),
        command=command,
        settings=_pairs("--setting", setting),
        manager=agent_manager,
        shrink_after_s=shrink_after,
        join_timeout_s=join_timeout,
        call_timeout_s=call_timeout,
    )
    with session.client() as client:
        made = client.create_pool(name, spec)
    _tell(made, f"{name}: {made.why}", as_json)


@pool.command("ls")
@json_option
@global_options
@pass_session
def ls(session: Session, as_json: bool) -> None:
    """List pools: how many nodes each has, and what it does."""
    with session.client() as client:
        found = client.list_pools()
    if as_json:
        show_json(found)
    elif not found:
        say("No pools. Make one to try: rookery pool create small --provider process --max 3")
    else:
        columns = [
            Column("POOL"), Column("PROVIDER", rank=2), Column("NODES", right=True), Column("MIN", right=True),
            Column("MAX", right=True), Column("SPARE", right=True, rank=3), Column("TROUBLE", flexible=True, rank=1),
            Column("WHY", flexible=True, rank=1),
        ]  # fmt: skip
        show_table(columns, [_row(pool) for pool in found])


@pool.command("show")
@_name
@json_option
@global_options
@pass_session
def show(session: Session, name: str, as_json: bool) -> None:
    """Show POOL: its nodes, what they wait for, and the latest decision."""
    with session.client() as client:
        found = client.get_pool(name)
    _tell(found, "\n".join(_outline(found, time.time())), as_json)
    if found.members and not as_json:
        columns = [
            Column("NODE"), Column("STATE"), Column("SINCE", right=True), Column("PROVIDER'S ID", flexible=True, rank=2),
            Column("WHY", flexible=True, rank=1),
        ]  # fmt: skip
        show_table(columns, [_member_row(member, time.time()) for member in found.members])


@pool.command("set")
@_name
@click.option("--min", "least", type=int, help="Nodes at least.")
@click.option("--max", "most", type=int, help="Nodes at most.")
@click.option("--spare", type=int, help="1: room for all replicas with any one node lost.")
@click.option("--shrink-after", metavar="SPAN", type=seconds(), help="So long must a node be superfluous, as in 5m.")
@click.option("--join-timeout", metavar="SPAN", type=seconds(), help="So long may a new node take to join.")
@click.option("--call-timeout", metavar="SPAN", type=seconds(), help="So long may a call of the provider take.")
@json_option
@global_options
@pass_session
def set_(
    session: Session, name: str, least: int | None, most: int | None, spare: int | None, shrink_after: float | None,
    join_timeout: float | None, call_timeout: float | None, as_json: bool,
) -> None:  # fmt: skip
    """Change what is wanted of POOL."""
    wanted = (least, most, spare, shrink_after, join_timeout, call_timeout)
    if all(value is None for value in wanted):
        raise Failure("nothing to set: give --min, --max, --spare or one of the times", status=BAD_INPUT)
    with session.client() as client:
        changed = client.update_pool(
            name,
            min=least,
            max=most,
            spare=spare,
            shrink_after_s=shrink_after,
            join_timeout_s=join_timeout,
            call_timeout_s=call_timeout,
        )
    _tell(changed, f"{name}: {changed.why}", as_json)


@pool.command("rm")
@_name
@click.option("--force", is_flag=True, help="Only forget it: its machines and nodes stay, and are yours to remove.")
@click.option("--detach", "-d", is_flag=True, help="Do not wait until its nodes are gone.")
@click.option("--timeout", type=click.FloatRange(min=0), default=300.0, show_default=True, help="Seconds to wait.")
@json_option
@global_options
@pass_session
def remove(session: Session, name: str, force: bool, detach: bool, timeout: float, as_json: bool) -> None:
    """Drain and remove all nodes of POOL, then POOL."""
    deadline = time.monotonic() + timeout
    with session.client() as client:
        client.remove_pool(name, force=force)
        left: Pool | None = None
        while not detach:
            try:
                left = client.get_pool(name)
            except NotFound:
                left = None
                break
            if time.monotonic() > deadline:
                break
            time.sleep(_LOOK_S)
    outcome = "started" if detach else "timed-out" if left else "removed"
    if as_json:
        show_json({"pool": name, "outcome": outcome})
    elif left is not None:
        say(f"{plural(len(left.members), 'node')} left after {timeout:g} s; it goes on. Look with: rookery pool show {name}")
    else:
        click.echo(f"removing {name}" if detach else f"removed {name}")
    raise click.exceptions.Exit(TIMED_OUT if left is not None else 0)


def _tell(pool: Pool, text: str, as_json: bool) -> None:
    if as_json:
        show_json(pool)
    else:
        click.echo(text)


def _row(pool: Pool) -> list[Cell | str]:
    joined = sum(1 for m in pool.members if m.state is MemberState.JOINED)
    nodes = f"{joined}/{len(pool.members)}" if joined != len(pool.members) else str(joined)
    spec = pool.spec
    trouble = Cell(pool.trouble, "red")
    return [pool.name, spec.provider, nodes, str(spec.min), str(spec.max), str(spec.spare), trouble, pool.why]


def _member_row(member: PoolMember, now: float) -> list[Cell | str]:
    state = Cell(member.state, _COLOURS.get(member.state, "yellow"))
    return [member.name, state, ago(member.changed_at, now), member.provider_id, member.why]


def _outline(pool: Pool, now: float) -> list[str]:
    spec = pool.spec
    lines = [f"{pool.name}: {spec.min} to {spec.max} nodes by {spec.provider}, spare {spec.spare}", f"latest: {pool.why}"]
    if pool.removing:
        lines.append("being removed")
    if pool.trouble:
        again = f"; tries again in {max(0.0, pool.retry_at - now):.0f} s" if pool.failures else ""
        failures = f" ({plural(pool.failures, 'failure')} in a row{again})" if pool.failures else ""
        lines.append(f"trouble: {pool.trouble}{failures}")
    if pool.superfluous_since:
        lines.append(f"a node could be spared for {ago(pool.superfluous_since, now)} (it goes after {span(spec.shrink_after_s)})")
    return lines


def _pairs(option: str, given: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise Failure(f"{option}: expected KEY=VALUE, got {text!r}", status=BAD_INPUT)
        found[key] = value
    return found


def _size(text: str) -> int:
    from rookery.compose.units import size_bytes  # lazy: only this needs it

    found = size_bytes(text) if text else 0
    if found is None:
        raise Failure(f"--memory: expected a size, as in 8G, got {text!r}", status=BAD_INPUT)
    return found
