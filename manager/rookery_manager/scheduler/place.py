"""Placing replicas in batches, and telling node by node why.

Invariant: a batch gives what its requests would give one by one, each seeing the placements before it.
"""

from collections.abc import Mapping, Sequence

from rookery.model import NodeId, NodeVerdict, RuntimeKind, Score, ServiceKey, ServiceSpec

from rookery_manager.scheduler.answers import Placed, Refused, Request
from rookery_manager.scheduler.filters import Filter, Reason, Unfit, summary
from rookery_manager.scheduler.ranking import Branch, Leaf, Spread, tree
from rookery_manager.scheduler.room import Ask, Room
from rookery_manager.scheduler.usage import NodeView


def place(requests: Sequence[Request], nodes: Mapping[NodeId, NodeView]) -> tuple[Placed | Refused, ...]:
    """An answer for each request, in their order; later ones see what earlier ones took."""
    rooms = {node_id: Room(view) for node_id, view in nodes.items()}
    groups = _Groups(rooms)
    answers: list[Placed | Refused] = []
    for request in requests:
        group = groups.of(request)
        room = group.choose(request)
        if room is None:
            answers.append(Refused(replica_id=request.replica_id, why=group.refusal(request)))
            continue
        scores = group.scores(room, request)
        answers.append(
            Placed(replica_id=request.replica_id, node_id=room.node.id, why=_why(room, request, scores), scores=scores)
        )
        groups.add(room, request, group.ask)
    return tuple(answers)


def explain(request: Request, nodes: Mapping[NodeId, NodeView]) -> tuple[NodeVerdict, ...]:
    """What each node is for the replica, best first, those that do not fit at the end; `chosen` is the one that `place` takes."""
    rooms = {node_id: Room(view) for node_id, view in nodes.items()}
    group = _Groups(rooms).of(request)
    chosen = group.choose(request)
    fitting: list[tuple[tuple[float, ...], NodeVerdict]] = []
    others: list[NodeVerdict] = []
    for room in sorted(rooms.values(), key=lambda room: (room.node.name, room.node.id)):
        unfit = group.unfit(room, request)
        if unfit is not None:
            others.append(NodeVerdict(node_id=room.node.id, node_name=room.node.name, fits=False, why=unfit.why))
            continue
        scores = group.scores(room, request)
        verdict = NodeVerdict(
            node_id=room.node.id,
            node_name=room.node.name,
            fits=True,
            why=_why(room, request, scores),
            scores=scores,
            chosen=room is chosen,
        )
        fitting.append((tuple(score.value for score in scores), verdict))
    fitting.sort(key=lambda scored: scored[0])
    return (*(verdict for _, verdict in fitting), *others)


def eligible(spec: ServiceSpec, node_view: NodeView) -> str | None:
    """Why a global service gets no replica on the node; None where it gets one.

    What passes (an engine that is away, a full disk) is no reason, since replicas that are there would have to go.
    """
    unfit = Filter(Ask(None, spec)).unfit(Room(node_view), lasting_only=True)
    return None if unfit is None else unfit.why


# Nodes by the slots of a service that have a replica there which is to stay.
_Homes = dict[int, list[Room]]
# Nodes by what the filters that no placement changes depend on: runtime, platform, constraints.
_Suitable = dict[tuple[RuntimeKind, str, tuple[str, ...]], list[Room]]


class _Group:
    """The requests of one spec, service and set of excluded nodes: their filter, and their order of the nodes."""

    def __init__(self, first: Request, rooms: Mapping[NodeId, Room], suitable: _Suitable, homes: _Homes) -> None:
        self.spec, self._rooms, self._suitable, self._homes = first.spec, rooms, suitable, homes
        self.ask = Ask(first.key, first.spec)
        self._filter = Filter(self.ask)
        taking = (r for r in rooms.values() if r.node.takes_work)
        self._spread = Spread(first.spec.placement.preferences, self.ask, taking)
        self.exclude = first.exclude
        self._tree: Branch | None = None  # a pinned replica needs none
        self._refusal: str | None = None

    def choose(self, request: Request) -> Room | None:
        if request.pinned is not None:
            return next((room for room in self._pinned(request) if self.unfit(room, request) is None), None)
        if self._tree is None:
            self._plant()
        assert self._tree is not None
        best = self._tree.peek()
        if best is None:
            return None
        # The heaps count the replica that this one replaces; where that one is, it does not count.
        homes = [room for room in self._homes.get(request.slot, ()) if self.unfit(room, request) is None]
        return min([best[1], *homes], key=lambda room: self._order(room, request)) if homes else best[1]

    def unfit(self, room: Room, request: Request) -> Unfit | None:
        if request.pinned is not None and room.node.id != request.pinned:
            return Unfit(reason=Reason.EXCLUDED, why="the replica belongs on another node")
        if room.node.id in self.exclude:
            return Unfit(reason=Reason.EXCLUDED, why="it is not to be used for this replica")
        return self._filter.unfit(room)

    def scores(self, room: Room, request: Request) -> tuple[Score, ...]:
        return self._spread.scores(room, self.ask, less=int(request.slot in room.slots(request.key)))

    def refusal(self, request: Request) -> str:
        """Why no node takes it: once refused, a spec is refused for the rest of the batch."""
        if request.pinned is not None:
            unfits = [self.unfit(room, request) for room in self._pinned(request)]
            whys = [unfit.why for unfit in unfits if unfit is not None]
            return f"its node can't take it: {whys[0]}" if whys else "its node is gone"
        if self._refusal is None:
            unfits = [self.unfit(room, request) for room in self._rooms.values()]
            self._refusal = summary([unfit for unfit in unfits if unfit is not None], self.ask)
        return self._refusal

    def changed(self, room: Room, by: int) -> None:
        """So many more replicas of the service are to stay there; where it is fewer, the order of the nodes is found anew."""
        if room.node.takes_work:
            self._spread.add(room, by)
            self._tree = self._tree if by > 0 else None

    def _plant(self) -> None:
        """Puts the nodes that may take it into their order. Which are suitable, full or not, is found once for all like it."""
        placement = self.spec.placement
        likeness = self.spec.runtime, self.spec.container.platform, placement.constraints
        if likeness not in self._suitable:
            self._suitable[likeness] = [room for room in self._rooms.values() if self._filter.unfit_node(room.node) is None]
        suitable = [room for room in self._suitable[likeness] if room.node.id not in self.exclude]
        self._tree = tree((Leaf(room, self.ask, self._filter) for room in suitable), self._spread)

    def _order(self, room: Room, request: Request) -> tuple[tuple[float, ...], str, str]:
        return tuple(score.value for score in self.scores(room, request)), room.node.name, room.node.id

    def _pinned(self, request: Request) -> list[Room]:
        room = self._rooms.get(request.pinned) if request.pinned is not None else None
        return [] if room is None else [room]


class _Groups:
    def __init__(self, rooms: Mapping[NodeId, Room]) -> None:
        self._rooms = rooms
        self._suitable: _Suitable = {}
        self._of_service: dict[str, list[_Group]] = {}
        self._homes: dict[str, _Homes] = {}
        self._found: dict[tuple[str, int, frozenset[NodeId]], _Group] = {}

    def of(self, request: Request) -> _Group:
        """The request's group; equal specs are one even if they are two objects."""
        identity = (request.key, id(request.spec), request.exclude)
        group = self._found.get(identity)
        if group is None:
            known = self._of_service.setdefault(request.key, [])
            group = next((g for g in known if g.exclude == request.exclude and g.spec == request.spec), None)
            if group is None:
                group = _Group(request, self._rooms, self._suitable, self._homes_of(request.key))
                known.append(group)
            self._found[identity] = group
        return group

    def add(self, room: Room, request: Request, ask: Ask) -> None:
        """The replica is there, and the one in its slot, wherever that is, is not to stay."""
        homes = self._homes[request.key].get(request.slot, [])
        elsewhere = [home for home in homes if home is not room]
        for home in elsewhere:
            home.succeed(request)
        room.add(request, ask)
        if request.slot:
            self._homes[request.key][request.slot] = [room]
        for group in self._of_service[request.key]:
            for home in elsewhere:
                group.changed(home, -1)
            if room not in homes:
                group.changed(room, 1)

    def _homes_of(self, key: ServiceKey) -> _Homes:
        if key not in self._homes:
            found: _Homes = {}
            for room in self._rooms.values():
                for slot in room.slots(key):
                    found.setdefault(slot, []).append(room)
            self._homes[key] = found
        return self._homes[key]


def _why(room: Room, request: Request, scores: Sequence[Score]) -> str:
    """`n2 has 0 replicas of shop/web and 3 in all`, and what else decides where it does."""
    if request.pinned is not None:
        return f"{request.key} runs on every node that fits"
    failures, *spread, own, _, everything = scores
    failed = [f"failed {_times(failures.value)} with {request.key} lately"] if failures.value else []
    groups = [f"{score.name.removeprefix('replicas in ')} has {score.value:.0f}" for score in spread]
    has = f"has {_count(own.value, 'replica')} of {request.key} and {everything.value:.0f} in all"
    return f"{room.node.name} " + ", ".join([has, *groups, *failed])


def _count(value: float, noun: str) -> str:
    return f"{value:.0f} {noun}" + ("" if value == 1 else "s")


def _times(value: float) -> str:
    return "once" if value == 1 else f"{value:.0f} times"
