"""A request as it came and as it went on, for a client that asks for the same once more: most that keep a connection do.

Invariant: it stands in for parsing, routing and writing anew only where each of them would come to the same.
"""

from rookery_proxy.balance import LiveListener
from rookery_proxy.live_route import LiveRoute
from rookery_proxy.request import Request
from rookery_proxy.table import Listener

MOST_BYTES = 2048  # of a head that is kept


class Repeat:
    """A request without a body, of a connection that stays. `head` is all of it, `message` what its endpoint got."""

    __slots__ = ("_listener", "_route", "head", "live", "message", "request")

    def __init__(self, head: bytes, request: Request, live: LiveRoute, listener: Listener | None, message: bytes) -> None:
        self.head = head
        self.request = request
        self.live = live
        self.message = message
        self._listener = listener
        self._route = live.route

    def holds(self, listener: LiveListener) -> bool:
        """Whether the table still says the same of it: both of these are other values when anything of them is another."""
        return self._listener is listener.listener and self._route is self.live.route and not listener.closed
