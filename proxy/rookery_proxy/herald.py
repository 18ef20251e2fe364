"""A connection from a balancer that goes before it: its PROXY header is read first, then it is served as the client's own.

Invariant: one that begins otherwise is ended; who the client is is never guessed.
"""

import logging
from collections.abc import Callable

from rookery_proxy.announce import MOST_BYTES, parse
from rookery_proxy.balance import Context, LiveListener
from rookery_proxy.unserved import Unserved
from rookery_proxy.wire import Wire

log = logging.getLogger(__name__)


class Herald(Unserved):
    __slots__ = ("_header", "_peer", "_welcome")

    def __init__(
        self, context: Context, listener: LiveListener, wire: Wire, peer: str, welcome: Callable[[Wire, str], None]
    ) -> None:
        super().__init__(listener, wire, context.loop.now + context.limits.head_s)
        self._peer = peer  # the balancer's
        self._welcome = welcome
        self._header = b""

    def on_input(self) -> None:
        held = len(self._header)
        data = self._wire.peek(MOST_BYTES)
        if data is None:
            return
        if not data:
            self.on_lost()
            return
        try:
            found = parse(self._header + data)
        except ValueError as error:
            log.warning("a connection from %s is ended: %s", self._peer, error)
            self.on_lost()
            return
        if isinstance(found, int):
            self._wire.skip(found - held)
            self._header += data[: found - held]
            return
        self._wire.skip(found.size - held)
        self._listener.connections.discard(self)
        if found.source is not None and found.destination is not None:
            self._wire.announced = found.source, found.destination
        self._welcome(self._wire, found.source[0] if found.source is not None else self._peer)
