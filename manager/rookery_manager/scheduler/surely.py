"""Whether replicas fit for certain, found without placing them: what is asked about every node of a big pool must be cheap.

`place` takes any order and any spread, so it is counted what it can do at worst. A node blocks a replica only once so many others
of the batch are on it as it takes of the largest one. Where the nodes together take at least as many of the largest as there are
in the batch, some node is always left for the next. That is so too where one node takes them all.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from rookery.model import NodeId, RuntimeKind, ServiceKey, ServiceSpec

from rookery_manager.scheduler.answers import Request
from rookery_manager.scheduler.filters import Filter
from rookery_manager.scheduler.room import Ask, Room
from rookery_manager.scheduler.usage import NodeView

_MOST_TRIED = 3
"""Of so many nodes, those with the most room, it is asked whether they take all."""

_Likeness = tuple[RuntimeKind, str, tuple[str, ...]]  # as in place: what filters depend on that no placement changes


class Rooms:
    """Nodes as they are, for many questions. It is not told of placements."""

    def __init__(self, nodes: Iterable[NodeView]) -> None:
        self._rooms = sorted((Room(view) for view in nodes), key=_fullness)
        self._asks: dict[tuple[ServiceKey, int], tuple[Ask, Filter]] = {}
        self._suitable: dict[_Likeness, list[Room]] = {}

    def surely_take(self, requests: Sequence[Request], *, without: NodeId | None = None) -> bool:
        """True only where `place` of the requests on these nodes, `without` one of them, places all. Where it is False, ask
        `place`. Requests that are pinned or exclude nodes are not for it."""
        counts = Counter((request.key, id(request.spec)) for request in requests)
        asked = [
            (*self._ask(request.key, request.spec), counts[request.key, id(request.spec)]) for request in _distinct(requests)
        ]
        cpus = max((ask.cpus for ask, _, _ in asked), default=0)
        memory = max((ask.memory for ask, _, _ in asked), default=0)
        if all(self._is_enough(ask, filter, cpus, memory, len(requests), without) for ask, filter, _ in asked):
            return True
        first = [room for room in self._rooms[: _MOST_TRIED + 1] if room.node.id != without]
        return any(_takes_all(room, asked) for room in first)

    def fitting(self, requests: Sequence[Request]) -> frozenset[NodeId]:
        """The nodes that would take at least one of the requests: `place` of them needs no others.

        Where it spreads by a preference those are all: what runs on full nodes is part of the spread.
        """
        if any(request.spec.placement.preferences for request in requests):
            return frozenset(room.node.id for room in self._rooms)
        found: set[NodeId] = set()
        for request in _distinct(requests):
            ask, filter = self._ask(request.key, request.spec)
            found.update(room.node.id for room in self._suited(ask, filter) if filter.unfit_room(room) is None)
        return frozenset(found)

    def takes(self, request: Request) -> bool:
        """Whether any node would take the request as it is now."""
        ask, filter = self._ask(request.key, request.spec)
        return any(filter.unfit_room(room) is None for room in self._suited(ask, filter))

    def _is_enough(self, ask: Ask, filter: Filter, cpus: int, memory: int, wanted: int, without: NodeId | None) -> bool:
        """Whether the nodes that suit it take `wanted` replicas of this size."""
        left = wanted
        for room in self._suited(ask, filter):
            if room.node.id != without:
                left -= _count(room, ask, filter, cpus, memory, wanted)
                if left <= 0:
                    return True
        return False

    def _ask(self, key: ServiceKey, spec: ServiceSpec) -> tuple[Ask, Filter]:
        found = self._asks.get((key, id(spec)))
        if found is None:
            ask = Ask(key, spec)
            found = self._asks[key, id(spec)] = ask, Filter(ask)
        return found

    def _suited(self, ask: Ask, filter: Filter) -> list[Room]:
        spec = ask.spec
        likeness = spec.runtime, spec.container.platform, spec.placement.constraints
        if likeness not in self._suitable:
            self._suitable[likeness] = [room for room in self._rooms if filter.unfit_node(room.node) is None]
        return self._suitable[likeness]


def _count(room: Room, ask: Ask, filter: Filter, cpus: int, memory: int, wanted: int) -> int:
    """How many of this size the node takes at least before it refuses `ask`."""
    count = wanted
    if cpus and room.cpus_total:
        count = min(count, (room.cpus_total - room.cpus) // cpus)
    if memory and room.memory_total:
        count = min(count, (room.memory_total - room.memory) // memory)
    if count <= 0:
        return 0
    most = ask.spec.placement.max_replicas_per_node
    if most:
        count = min(count, most - room.replicas(ask.key) if ask.key else most)
    if ask.host_ports:
        count = min(count, 1) if filter.unfit_room(room) is None else 0
    return max(0, count)


def _takes_all(room: Room, asked: Sequence[tuple[Ask, Filter, int]]) -> bool:
    cpus = room.cpus + sum(ask.cpus * count for ask, _, count in asked)
    memory = room.memory + sum(ask.memory * count for ask, _, count in asked)
    if (room.cpus_total and cpus > room.cpus_total) or (room.memory_total and memory > room.memory_total):
        return False
    # Host ports of several may be the same, and so may their services: those are for `place` to judge.
    plain = all(not ask.host_ports and not ask.spec.placement.max_replicas_per_node for ask, _, _ in asked)
    return plain and all(filter.unfit(room) is None for _, filter, _ in asked)


def _distinct(requests: Sequence[Request]) -> Iterable[Request]:
    return {(request.key, id(request.spec)): request for request in requests}.values()


def _fullness(room: Room) -> float:
    cpus = room.cpus / room.cpus_total if room.cpus_total else 0.0
    memory = room.memory / room.memory_total if room.memory_total else 0.0
    return max(cpus, memory)
