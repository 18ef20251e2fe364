"""What peers said that no honest one says: refused, counted by kind, and told in the log at growing intervals.

Invariant: each kind is in the log with its first reason; however often it comes, the log grows slowly.
"""

import logging
import time
from collections.abc import Callable

_FIRST_S = 10.0
_LONGEST_S = 3600.0


class Refused(Exception):
    """What was said is not taken; the message says why, `kind` what it is counted under."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind


class Refusals:
    """`counts` are those since the process started, by kind. `witness` is told who was refused, and why, where that is known."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self.counts: dict[str, int] = {}
        self.witness: Callable[[str, str], None] = lambda _who, _why: None
        self._log = log
        self._clock = clock
        self._pauses: dict[str, tuple[float, float]] = {}  # when it may be told again, and how long that was put off

    def note(self, kind: str, why: str, *, who: str = "") -> None:
        if who:
            self.witness(who, why)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        now = self._clock()
        at, pause_s = self._pauses.get(kind, (now, 0.0))
        if now < at:
            return
        calm = now - at > _LONGEST_S
        pause_s = min(_LONGEST_S, 2 * pause_s) if pause_s and not calm else _FIRST_S
        self._pauses[kind] = (now + pause_s, pause_s)
        times = "" if self.counts[kind] == 1 else f", {self.counts[kind]} times now"
        self._log.warning("refused (%s%s): %s", kind, times, why[:1000])
