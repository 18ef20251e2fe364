"""What a client speaks, from its first bytes, on a port whose routes do not say.

Invariant: only what is HTTP/1 beyond doubt is taken for it. All else (HTTP/2, TLS, a protocol of its own, silence because the
server is to speak first) goes through as TCP, where no byte is understood or changed.
"""

import re
from enum import Enum

from rookery.model import ListenProtocol

from rookery_proxy.balance import Context, LiveListener
from rookery_proxy.http import Client
from rookery_proxy.tcp import Tunnel
from rookery_proxy.wire import Wire

# Servers that speak first, by the port they have in their container: SSH, FTP, telnet, SMTP, POP3, NNTP, IMAP, MySQL, VNC.
SPEAKS_FIRST = frozenset((21, 22, 23, 25, 110, 119, 143, 587, 2525, 3306, 4190, 5900, 5901))

_METHODS = (
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"PROPFIND", b"PROPPATCH", b"MKCOL", b"COPY",
    b"MOVE", b"LOCK", b"UNLOCK", b"REPORT", b"SEARCH", b"PURGE",
)  # fmt: skip
_HTTP = re.compile(rb"(?:%b) (?:/|\*|(?i:http))" % b"|".join(_METHODS))


class Guess(Enum):
    HTTP = 1
    TCP = 2
    UNDECIDED = 3


def guess(data: bytes) -> Guess:
    """What a connection that begins with `data` speaks."""
    if _HTTP.match(data):
        return Guess.HTTP
    start = data[:24]
    for method in _METHODS:
        for target in (b" /", b" *", b" http"):
            if (method + target).startswith(start):
                return Guess.UNDECIDED
    return Guess.TCP


def welcome(context: Context, listener: LiveListener, wire: Wire, peer: str) -> None:
    """Gives a new connection to whoever serves its protocol."""
    match listener.protocol:
        case ListenProtocol.HTTP:
            Client(context, listener, wire, peer)
        case ListenProtocol.TCP:
            Tunnel(context, listener, wire).open(listener.first(), b"")
        case _:
            route = listener.first()
            if route is not None and any(endpoint.target in SPEAKS_FIRST for endpoint in route.route.endpoints):
                Tunnel(context, listener, wire).open(route, b"")
            else:
                _Undecided(context, listener, wire, peer)


class _Undecided:
    """A connection whose client has not said enough yet."""

    __slots__ = ("_context", "_data", "_listener", "_peer", "_timer", "_wire", "deadline")

    def __init__(self, context: Context, listener: LiveListener, wire: Wire, peer: str) -> None:
        self._context = context
        self._listener = listener
        self._wire = wire
        wire.owner = self
        self._peer = peer
        self._data = b""
        self.deadline = context.loop.now + context.limits.head_s
        self._timer = context.loop.after(context.limits.detect_s, self._silent)
        listener.connections.add(self)

    def on_input(self) -> None:
        data = self._wire.read()
        if data is None:
            return
        if not data:
            self._leave()
            self._wire.close()
            return
        self._data += data
        match guess(self._data):
            case Guess.HTTP:
                self._leave()
                Client(self._context, self._listener, self._wire, self._peer).take(self._data)
            case Guess.TCP:
                self._tunnel()
            case Guess.UNDECIDED:
                pass

    def on_drained(self) -> None: ...

    def on_lost(self) -> None:
        self._leave()
        self._wire.close()

    def on_connected(self) -> None: ...

    def on_refused(self, why: str) -> None: ...

    def expire(self) -> None:
        self.on_lost()

    def wind_down(self) -> None:
        self.on_lost()

    def _silent(self) -> None:
        if not self._wire.closed:
            self._tunnel()

    def _tunnel(self) -> None:
        self._leave()
        Tunnel(self._context, self._listener, self._wire).open(self._listener.first(), self._data)

    def _leave(self) -> None:
        self._timer.cancel()
        self._listener.connections.discard(self)
