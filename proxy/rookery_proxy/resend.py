"""Whether a request that broke is sent again.

Pure: the time and the counts are arguments. Requests that are sent again are load that nobody asked for, most of all when much
breaks: so they may be a part of the requests at most. (Finagle and Linkerd call this a retry budget, and have the same shares.)
"""

from collections import deque
from collections.abc import Sequence
from typing import TypeVar

SHARE = 0.2  # of the requests in the window
PER_S = 3.0  # beyond the share, so that a route with few requests may send them again too
WINDOW_S = 10.0
MARK_S = 1.0
MOST_RESENDS = 3
MOST_FRESH_BREAKS = 2
MOST_TRIED = 5  # endpoints of one request
IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"))  # RFC 9110, 9.2.2

E = TypeVar("E")


def may_resend(resends: int, fresh_breaks: int) -> bool:
    """Whether a request may go out once more after so many times.

    A connection that was kept may break for no fault of the request. One that was made for it breaks with it: a request that
    kills whoever reads it must not be handed round.
    """
    return resends < MOST_RESENDS and fresh_breaks < MOST_FRESH_BREAKS


def free_again(tried: Sequence[E], broke: Sequence[E]) -> tuple[list[E], list[E]]:
    """What counts as tried, and as broken, once all were tried and some of them broke (the latest is the last).

    Those that broke took the request, and may have it again on another connection; the latest only where it is the only one.
    """
    latest = list(broke[-1:]) if len(broke) > 1 else []
    return [endpoint for endpoint in tried if endpoint not in broke or endpoint in latest], latest


class Budget:
    """Of one route in one worker: how much of it is spent in the window that moves with the time."""

    __slots__ = ("_marks", "_spent")

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()  # an instant, and the route's requests until then
        self._spent: deque[float] = deque()

    def mark(self, now: float, requests: int) -> bool:
        """Takes the count of requests down; call it about once a second while there were requests in the window, which it
        returns."""
        marks = self._marks
        if not marks or now - marks[-1][0] >= MARK_S:
            marks.append((now, requests))
            while len(marks) > 1 and marks[1][0] <= now - WINDOW_S:
                marks.popleft()
        return marks[0][1] != requests

    def spend(self, now: float, requests: int) -> bool:
        """Takes one resend from the budget. Returns whether there was one left."""
        spent = self._spent
        while spent and spent[0] <= now - WINDOW_S:
            spent.popleft()
        asked = requests - self._marks[0][1] if self._marks else requests
        if len(spent) + 1 > SHARE * asked + PER_S * WINDOW_S:
            return False
        spent.append(now)
        return True
