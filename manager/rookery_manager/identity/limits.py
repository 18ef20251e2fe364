"""How much one caller may ask for at a time: calls that run, calls that begin in a second, messages in a second on its streams.

Invariant: what a caller has too much of is refused, or held up by the flow control of its stream; others do not notice. Visitors,
who are anybody, are counted by where they are, and get little.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rookery.model import PartKind

from rookery_manager.identity.peers import Peer


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """`calls` at a time, `per_s` begun in a second once `burst` are used up; a request has to be there within `request_s`."""

    calls: int
    per_s: float
    burst: float
    request_s: float


LIMITS: Mapping[PartKind | None, Limit] = {
    PartKind.AGENT: Limit(calls=128, per_s=50, burst=500, request_s=60),  # its stream, 64 uploads of logs, those that end
    PartKind.PROXY: Limit(calls=16, per_s=20, burst=100, request_s=60),
    PartKind.PERSON: Limit(calls=1_000, per_s=1_000, burst=5_000, request_s=60),  # programs too
    None: Limit(calls=8, per_s=20, burst=200, request_s=5),
}
MOST_VISITORS = 128  # calls at a time
MOST_IDLE = 4_096  # callers of which it is remembered how much they asked for
MESSAGES_PER_S, MESSAGES_BURST = 500.0, 5_000.0  # of one stream

Key = tuple[PartKind | None, str]


@dataclass(slots=True)
class _Use:
    left: float
    at: float
    running: int = 0


class Limits:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._uses: dict[Key, _Use] = {}
        self._visitors = 0

    def enter(self, peer: Peer) -> str:
        """Counts a call that begins; else why it may not."""
        limit, now, key = LIMITS[peer.kind], self._clock(), _key(peer)
        use = self._uses.get(key)
        if use is None:
            self._forget_idle(now)
            use = self._uses[key] = _Use(limit.burst, now)
        use.left, use.at = _refilled(use, limit, now), now
        if use.running >= limit.calls:
            return f"{_who(peer)} has {limit.calls} calls under way, which is as many as one may have"
        if peer.kind is None and self._visitors >= MOST_VISITORS:
            return "too many callers without a certificate of this cluster are here; try again"
        if use.left < 1:
            return f"{_who(peer)} begins more than {limit.per_s:g} calls a second"
        use.left -= 1
        use.running += 1
        self._visitors += peer.kind is None
        return ""

    def leave(self, peer: Peer) -> None:
        use = self._uses.get(_key(peer))
        if use is not None:
            use.running -= 1
        self._visitors -= peer.kind is None

    def _forget_idle(self, now: float) -> None:
        if len(self._uses) < MOST_IDLE:
            return
        for key, use in list(self._uses.items()):
            limit = LIMITS[key[0]]
            if not use.running and _refilled(use, limit, now) >= limit.burst:
                del self._uses[key]


class Paced:
    """The messages of a stream, no faster than one may send them: who sends more waits.

    Each is asked for in the reader's own name: a generator in between would cost as much as the rest of this does.
    """

    def __init__(self, messages: AsyncIterator[Any], clock: Callable[[], float]) -> None:
        self._next = aiter(messages).__anext__
        self._clock = clock
        self._left, self._at = MESSAGES_BURST, clock()

    def __aiter__(self) -> "Paced":
        return self

    def __anext__(self) -> Awaitable[Any]:
        now = self._clock()
        self._left = min(MESSAGES_BURST, self._left + (now - self._at) * MESSAGES_PER_S) - 1
        self._at = now
        return self._next() if self._left >= 0 else self._later(-self._left / MESSAGES_PER_S)

    async def _later(self, wait_s: float) -> Any:
        await asyncio.sleep(wait_s)
        return await self._next()


def _refilled(use: _Use, limit: Limit, now: float) -> float:
    return min(limit.burst, use.left + (now - use.at) * limit.per_s)


def _key(peer: Peer) -> Key:
    return (peer.kind, peer.id if peer.kind is not None else peer.host)


def _who(peer: Peer) -> str:
    return str(peer) if peer.kind is not None else f"who has no certificate, at {peer.host},"
