"""The agent's side of its lease: for how long the manager surely counts on this node.

Invariant: it ends before the manager's does. It counts from when what the manager answered was sent, on a clock that also goes on
while the machine is suspended, and a little short, since clocks drift (docs/decisions/0018-fencing.md).
"""

import math
import sys
import time
from collections import deque

CLOCK_DRIFT = 0.01
"""How much slower this machine's clock may go than the manager's, which allows for the same."""


def clock() -> float:
    """Seconds since the machine started, suspended or not. It never jumps, and goes on when the agent starts again."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Lease:
    """One agent's lease. `until` is when the latest one of an agent that ended before this one ends; minus infinity: none."""

    def __init__(self, until: float = -math.inf) -> None:
        self.until = until
        self._asked: deque[float] = deque()

    def begin(self) -> None:
        """A new stream: what was asked on the one before is answered no more."""
        self._asked.clear()

    def ask(self, now: float) -> None:
        """A heartbeat (or the hello) is about to be sent. Each is answered once, in order."""
        self._asked.append(now)

    def waiting_s(self, now: float) -> float:
        """How long the oldest one has been waiting for its answer; 0 where none does."""
        return now - self._asked[0] if self._asked else 0.0

    def answered(self) -> float:
        """When what is answered now was asked. Raises LookupError where nothing was."""
        if not self._asked:
            raise LookupError("nothing was asked")
        return self._asked.popleft()

    def renew(self, asked_at: float, lease_s: float) -> None:
        self.until = asked_at + lease_s / (1 + CLOCK_DRIFT)

    def silent_s(self, now: float) -> float:
        """Seconds since it ended, 0 while it holds; infinite where there was none since the machine started."""
        return max(0.0, now - self.until)
