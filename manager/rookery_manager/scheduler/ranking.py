"""The scores, and the order that they put the nodes into, kept up to date while a batch fills them.

Nodes that fit are leaves of a tree with one level for each spread preference: below its root a branch for each zone, say, below
that one for each rack, below that the nodes. A branch counts the service's replicas in it, and keeps its children in a heap.
Since scores hardly ever get better within a batch, an entry of a heap is a lower bound: the best child is found by working out
anew only what comes to the top, so that a placement costs O(log nodes), whatever the other placements changed. A tree is made
anew where a score did get better: when a replica got its successor on another node than its own.
"""

import heapq
from collections.abc import Iterable

from rookery.model import Score

from rookery_manager.scheduler.constraint import attribute
from rookery_manager.scheduler.filters import Filter
from rookery_manager.scheduler.room import Ask, Room

Key = tuple[object, ...]  # recent failures first; of one shape within a branch
Path = tuple[str, ...]  # a node's values of the preferences


class Leaf:
    __slots__ = ("_ask", "_best", "_changes", "_filter", "room")

    def __init__(self, room: Room, ask: Ask, filter: Filter) -> None:
        self.room = room
        self._ask = ask
        self._filter = filter
        self._changes = -1
        self._best: tuple[Key, Room] | None = None

    def peek(self) -> tuple[Key, Room] | None:
        """The node with its key; None where it is full. What was worked out holds until something is placed there."""
        if self._changes != self.room.changes:
            self._changes = self.room.changes
            fits = self._filter.unfit_room(self.room) is None
            self._best = (node_key(self.room, self._ask), self.room) if fits else None
        return self._best


class Branch:
    __slots__ = ("_children", "_counts", "_heap", "path")

    def __init__(self, path: Path, counts: dict[Path, int]) -> None:
        self.path = path
        self._counts = counts
        self._children: list[Branch | Leaf] = []
        self._heap: list[tuple[Key, int]] = []

    def grow(self, child: "Branch | Leaf") -> None:
        self._children.append(child)

    def heapify(self) -> None:
        for child in self._children:
            if isinstance(child, Branch):
                child.heapify()
        found = ((self._key(child), index) for index, child in enumerate(self._children))
        self._heap = [(key, index) for key, index in found if key is not None]
        heapq.heapify(self._heap)

    def peek(self) -> tuple[Key, Room] | None:
        """The best node below, with its key among the children of the branch above."""
        while self._heap:
            before, index = self._heap[0]
            child = self._children[index]
            best = child.peek()
            if best is None:
                heapq.heappop(self._heap)
                continue
            key = self._raised(child, best[0])
            if key == before:
                return key, best[1]
            heapq.heapreplace(self._heap, (key, index))
        return None

    def _key(self, child: "Branch | Leaf") -> Key | None:
        best = child.peek()
        return None if best is None else self._raised(child, best[0])

    def _raised(self, child: "Branch | Leaf", key: Key) -> Key:
        """The child's own count goes before what decides below it, failures stay first."""
        return (key[0], self._counts.get(child.path, 0), key) if isinstance(child, Branch) else key


def node_key(room: Room, ask: Ask, *, less: int = 0) -> Key:
    """What decides between the nodes of one branch; `less` replicas of the service are not counted."""
    assert ask.key is not None
    return (
        room.failures(ask.key),
        room.staying(ask.key) - less,
        share(room, ask),
        room.count - less,
        room.node.info.hostname,
        room.node.id,
    )


def share(room: Room, ask: Ask) -> float:
    """The reserved part of the node's CPU or memory, whichever is more, once the replica is on it; 0 where nothing is known."""
    cpus = (room.cpus + ask.cpus) / room.cpus_total if room.cpus_total else 0.0
    memory = (room.memory + ask.memory) / room.memory_total if room.memory_total else 0.0
    return max(cpus, memory)


class Spread:
    """How many replicas of a service are in each branch of the tree of its preferences. Nodes that take nothing do not count."""

    __slots__ = ("_preferences", "counts")

    def __init__(self, preferences: tuple[str, ...], ask: Ask, rooms: Iterable[Room]) -> None:
        self._preferences = preferences
        self.counts: dict[Path, int] = {}
        if preferences and ask.key is not None:
            for room in rooms:
                self.add(room, room.staying(ask.key))

    def path(self, room: Room) -> Path:
        return tuple(attribute(room.node, name).casefold() for name in self._preferences)

    def add(self, room: Room, replicas: int) -> None:
        if replicas and self._preferences:
            path = self.path(room)
            for depth in range(1, len(path) + 1):
                self.counts[path[:depth]] = self.counts.get(path[:depth], 0) + replicas

    def scores(self, room: Room, ask: Ask, *, less: int = 0) -> tuple[Score, ...]:
        """Everything that decides, in its order, but for name and id at the end."""
        failures, own, part, everything, *_ = node_key(room, ask, less=less)
        path = self.path(room)
        spread = [
            Score(name=f"replicas in {name}={path[i]}", value=self.counts.get(path[: i + 1], 0) - less)
            for i, name in enumerate(self._preferences)
        ]
        return (
            Score(name="recent failures", value=_number(failures)),
            *spread,
            Score(name="replicas of the service", value=_number(own)),
            Score(name="reserved share", value=_number(part)),
            Score(name="replicas", value=_number(everything)),
        )


def tree(leaves: Iterable[Leaf], spread: Spread) -> Branch:
    """The leaves under the branches of their preferences' values."""
    branches: dict[Path, Branch] = {(): Branch((), spread.counts)}
    for leaf in leaves:
        path = spread.path(leaf.room)
        for depth in range(1, len(path) + 1):
            if path[:depth] not in branches:
                branches[path[:depth]] = Branch(path[:depth], spread.counts)
                branches[path[: depth - 1]].grow(branches[path[:depth]])
        branches[path].grow(leaf)
    branches[()].heapify()
    return branches[()]


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return value
