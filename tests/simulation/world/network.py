"""The network: which way is open, how long a message takes, and pipes that deliver in order or break, as TCP does.

A lost packet is a late one. Where a way is cut, what was sent waits; once it was cut for as long as gRPC's keepalive bears (10 to
15 s), both ends of a stream find it broken, each when its own time is up. In chaos, which no TCP would do, messages that carry
generations and statuses, and changes of the routes, get lost, come twice and overtake each other.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any

KEEPALIVE_S = (10.0, 15.0)
MOST_UNSENT = 200  # messages that fit in the windows of a stream; then writing waits
CHAOTIC = frozenset({"assignments", "delta", "status", "acknowledge"})  # a whole table is believed: it comes first in a stream

Way = tuple[str, str]


class Network:
    def __init__(self, rng: random.Random) -> None:
        self.random = rng
        self.chaos = 0.0  # how likely a message that may be is mistreated
        self.loss = 0.0
        self._cut: dict[Way, float] = {}  # since when
        self._slow: dict[str, float] = {}  # the longest delay by machine
        self._pipes: dict[Pipe, None] = {}
        self.on_cut: Callable[[str, str], None] = lambda _a, _b: None

    def is_cut(self, source: str, target: str) -> bool:
        return (source, target) in self._cut

    @property
    def cuts(self) -> int:
        return len(self._cut)

    def cut(self, source: str, target: str) -> None:
        loop = asyncio.get_running_loop()
        self._cut.setdefault((source, target), loop.time())
        self.on_cut(source, target)
        for pipe in self._pipes:
            if {pipe.source, pipe.target} == {source, target}:
                for end in pipe.ends:
                    loop.call_later(
                        self.random.uniform(*KEEPALIVE_S), self._give_up, end, (source, target), self._cut[source, target]
                    )

    def heal(self, source: str, target: str) -> None:
        since = self._cut.pop((source, target), None)
        if since is None:
            return
        self.on_cut(source, target)
        loop = asyncio.get_running_loop()
        again_s = self.random.uniform(0.0, min(2.0, loop.time() - since))  # until TCP sends again what was lost
        for pipe in self._pipes:
            if (pipe.source, pipe.target) == (source, target):
                loop.call_later(again_s, pipe.pump)

    def heal_all(self) -> None:
        self.chaos = self.loss = 0.0
        self._slow.clear()
        for source, target in list(self._cut):
            self.heal(source, target)

    def slow_down(self, machine: str, delay_s: float) -> None:
        self._slow[machine] = delay_s
        self.on_cut(machine, machine)

    def delay_s(self, source: str, target: str) -> float:
        most = max(self._slow.get(source, 0.002), self._slow.get(target, 0.002))
        delay = self.random.uniform(0.0002, most)
        if self.loss and self.random.random() < self.loss:
            delay += 0.2 * 2 ** self.random.randrange(3)
        return delay

    def add(self, pipe: "Pipe") -> None:
        self._pipes[pipe] = None

    def drop(self, pipe: "Pipe") -> None:
        self._pipes.pop(pipe, None)

    def break_all(self) -> None:
        """Every stream breaks, as when a switch is replaced."""
        for end in list(dict.fromkeys(end for pipe in self._pipes for end in pipe.ends)):
            end.break_off()

    def _give_up(self, end: Any, way: Way, since: float) -> None:
        if self._cut.get(way) == since:
            end.break_off()


class Pipe:
    """One direction of a stream; `take` gets each item when it arrives. `ends` are both ends of the stream."""

    def __init__(self, network: Network, source: str, target: str, take: Callable[[Any], None], ends: tuple[Any, ...]) -> None:
        self.source = source
        self.target = target
        self.ends = ends
        self._network = network
        self._take = take
        self._queue: deque[tuple[float, Any]] = deque()
        self._latest = 0.0
        self._held_back: Any = None
        self._room: list[asyncio.Future[None]] = []
        self._closed = False
        network.add(self)

    async def room(self) -> None:
        """Returns when another message fits."""
        while len(self._queue) > MOST_UNSENT and not self._closed:
            waiting = asyncio.get_running_loop().create_future()
            self._room.append(waiting)
            await waiting

    def put(self, kind: str, item: Any) -> None:
        if self._closed:
            return
        for one in self._mistreated(kind, item):
            loop = asyncio.get_running_loop()
            self._latest = max(self._latest, loop.time() + self._network.delay_s(self.source, self.target))
            self._queue.append((self._latest, one))
            loop.call_at(self._latest, self.pump)

    def pump(self) -> None:
        now = asyncio.get_running_loop().time() + 1e-9
        while self._queue and self._queue[0][0] <= now and not self._closed:
            if self._network.is_cut(self.source, self.target):
                return
            _, item = self._queue.popleft()
            self._take(item)
        self._wake()

    def close(self) -> None:
        self._closed = True
        self._queue.clear()
        self._network.drop(self)
        self._wake()

    def _wake(self) -> None:
        room, self._room = self._room, []
        for waiting in room:
            if not waiting.done():
                waiting.set_result(None)

    def _mistreated(self, kind: str, item: Any) -> list[Any]:
        network = self._network
        held, self._held_back = self._held_back, None
        after = [] if held is None else [held]
        if kind not in CHAOTIC or network.random.random() >= network.chaos:
            return [item, *after]
        match network.random.randrange(3):
            case 0:
                return after
            case 1:
                return [item, item, *after]
        self._held_back = item
        return after
