"""How many nodes of a pool would do: asked of the scheduler itself, about nodes that do not exist yet or are taken away.

The number of nodes is found by next-fit: a new node is filled until the scheduler refuses the rest, which goes to the next one.
It is at most twice the best packing (D. S. Johnson, 1973), and right where all replicas are alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rookery.model import POOL_LABEL, Node, NodeId, NodeInfo, Pool

from rookery_manager.scheduler import NodeView, Placed, Request, Rooms, charge, place


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is on a node: `residents` would have to move, `staying` says why that must not be; `left` have not ended."""

    residents: tuple[Request, ...] = ()
    staying: str = ""
    left: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolView:
    """`nodes` are all of the cluster, `loads` those of the pool. `pending` are replicas that no node took, `coming` the nodes
    that other pools are making."""

    pool: Pool
    nodes: Mapping[NodeId, NodeView] = field(default_factory=dict)
    loads: Mapping[NodeId, Load] = field(default_factory=dict)
    pending: tuple[Request, ...] = ()
    coming: tuple[NodeView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """So many nodes more, and why."""

    nodes: int = 0
    why: str = ""


def imagined(pool: Pool, name: str) -> NodeView:
    """An empty node of the pool, as it would be: like the last that joined, else as the operator says."""
    spec, seen = pool.spec, pool.seen
    labels = {**(seen.labels if seen else {}), **spec.labels, POOL_LABEL: pool.name}
    info = NodeInfo(
        hostname=name,
        os=seen.os if seen else "linux",
        arch=seen.arch if seen else "",
        capacity=seen.capacity if seen else spec.size,
        runtimes=seen.runtimes if seen else (spec.runtime,),
        labels=labels,
    )
    return NodeView(node=Node(id=NodeId(f"imagined/{name}"), info=info))


def need(view: PoolView, own: Sequence[NodeView]) -> Need:
    """What lacks beside the nodes that there are, and the `own` ones that are being made."""
    there = {**view.nodes, **{v.node.id: v for v in (*view.coming, *own)}}
    waiting = _ours(view.pool, _refused(view.pending, there))
    if waiting:
        nodes, first = _fill(view.pool, waiting)
        fit = f", about {first} fit{'s' if first == 1 else ''} a node" if nodes > 1 else ""
        return Need(nodes=nodes, why=f"{_replicas(len(waiting))} wait{'s' if len(waiting) == 1 else ''} for room{fit}")
    if not view.pool.spec.spare:
        return Need()
    return _spare(view.pool, there, view.loads)


def removable(view: PoolView, node_id: NodeId) -> bool:
    """True where all replicas of the node fit elsewhere, and with a spare wanted, any other node of the pool could go as well."""
    load = view.loads.get(node_id, Load())
    if load.staying:
        return False
    rest = {other: v for other, v in view.nodes.items() if other != node_id}
    rooms = Rooms(rest.values())
    if not view.pool.spec.spare:
        return not _refused(load.residents, rest, rooms)
    moved: dict[NodeId, list[Request]] = {}
    fitting = rooms.fitting(load.residents)
    for request, answer in zip(load.residents, place(load.residents, {n: rest[n] for n in fitting}), strict=True):
        if not isinstance(answer, Placed):
            return False
        rest[answer.node_id] = charge(rest[answer.node_id], request)
        moved.setdefault(answer.node_id, []).append(request)
    loads = {
        other: Load(residents=(*there.residents, *moved.get(other, ())))
        for other, there in view.loads.items()
        if other != node_id
    }
    return _spare(view.pool, rest, loads).nodes == 0


def _spare(pool: Pool, nodes: Mapping[NodeId, NodeView], loads: Mapping[NodeId, Load]) -> Need:
    """What lacks if the node of the pool were lost whose loss would be the worst."""
    worst = Need()
    rooms = Rooms(nodes.values())
    empty = Rooms([imagined(pool, "empty")])
    for node_id, load in loads.items():
        if worst.nodes and empty.surely_take(load.residents):  # one node more would do: it can't be worse
            continue
        homeless = _ours(pool, _refused(load.residents, nodes, rooms, without=node_id))
        if homeless:
            count, _ = _fill(pool, homeless)
            if count > worst.nodes:
                would = f"{_replicas(len(homeless))} of {nodes[node_id].node.name} would have no room if that were lost"
                worst = Need(nodes=count, why=f"{would} (spare {pool.spec.spare})")
    return worst


def _refused(
    requests: Sequence[Request], nodes: Mapping[NodeId, NodeView], rooms: Rooms | None = None, *, without: NodeId | None = None
) -> tuple[Request, ...]:
    """Those that no node takes, `without` one of them; `rooms` are the same nodes."""
    rooms = Rooms(nodes.values()) if rooms is None else rooms
    if rooms.surely_take(requests, without=without):
        return ()
    answers = place(requests, {node_id: nodes[node_id] for node_id in rooms.fitting(requests) if node_id != without})
    return tuple(r for r, answer in zip(requests, answers, strict=True) if not isinstance(answer, Placed))


def _ours(pool: Pool, requests: Sequence[Request]) -> tuple[Request, ...]:
    """Those that an empty node of the pool would take: for the others another node is no help."""
    empty = Rooms([imagined(pool, "empty")])
    # One by one: each is asked about a node that has nothing on it.
    return tuple(r for r in requests if empty.takes(r))


def _fill(pool: Pool, requests: Sequence[Request]) -> tuple[int, int]:
    """How many empty nodes take the requests, each of which fits one; and how many went to the first."""
    count = first = 0
    rest = tuple(requests)
    while rest:
        count += 1
        node = imagined(pool, f"empty-{count}")
        left = _refused(rest, {node.node.id: node})
        first = first or len(rest) - len(left)
        rest = left
    return count, first


def _replicas(count: int) -> str:
    return "1 replica" if count == 1 else f"{count} replicas"
