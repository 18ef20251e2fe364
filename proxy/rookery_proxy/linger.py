"""The end of a client's connection: what was written is delivered, and what the client still sends is thrown away.

A connection that is closed with input unread is reset by the kernel, and the client may lose the answer that says why. Invariant:
it ends within a bounded time, whatever the client does.
"""

from rookery_proxy.balance import Context, LiveListener
from rookery_proxy.unserved import Unserved
from rookery_proxy.wire import Wire

_MOST_BYTES = 1048576


class Lingering(Unserved):
    """Takes a wire over from whoever answered on it last."""

    __slots__ = ("_input_ended", "_taken")

    def __init__(self, context: Context, listener: LiveListener, wire: Wire, *, input_ended: bool) -> None:
        limits = context.limits
        super().__init__(listener, wire, context.loop.now + (limits.stall_s if wire.pending_bytes else limits.linger_s))
        self._input_ended = input_ended
        self._taken = 0
        if not wire.pending_bytes:
            if input_ended:
                self.on_lost()
                return
            wire.finish()
        wire.resume()

    def on_input(self) -> None:
        data = self._wire.read()
        if data is None:
            return
        self._taken += len(data)
        if not data or self._taken > _MOST_BYTES:
            self.on_lost()

    def on_drained(self) -> None:
        if self._input_ended:
            self.on_lost()
        else:
            self._wire.finish()

    def wind_down(self) -> None:
        """It ends by itself soon."""
