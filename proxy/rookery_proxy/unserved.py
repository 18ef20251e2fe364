"""A client's connection on which no request is served: not yet, or no more."""

from rookery_proxy.balance import LiveListener
from rookery_proxy.wire import Wire


class Unserved:
    """What all of them do alike. It owns the wire, and ends at once: nothing in flight would be lost.

    `deadline` is an instant of the loop's clock.
    """

    __slots__ = ("_listener", "_wire", "deadline")

    def __init__(self, listener: LiveListener, wire: Wire, deadline: float) -> None:
        self._listener = listener
        self._wire = wire
        self.deadline = deadline
        wire.owner = self
        listener.connections.add(self)

    def on_input(self) -> None:
        raise NotImplementedError

    def on_drained(self) -> None: ...

    def on_lost(self) -> None:
        self._listener.connections.discard(self)
        self._wire.close()

    def on_connected(self) -> None: ...

    def on_refused(self, why: str) -> None: ...

    def expire(self) -> None:
        self.on_lost()

    def wind_down(self) -> None:
        self.on_lost()
