"""What a client speaks, from its first bytes, on a port whose routes do not say.

Invariant: only what is HTTP/1 beyond doubt is taken for it. All else (HTTP/2, TLS, a protocol of its own, silence because the
server is to speak first) goes through as TCP, where no byte is understood or changed.
"""

import re
from enum import Enum

from rookery.model import ListenProtocol

from rookery_proxy.balance import Context, LiveListener
from rookery_proxy.ear import Ear
from rookery_proxy.http import Client
from rookery_proxy.live_route import LiveRoute
from rookery_proxy.tcp import Tunnel
from rookery_proxy.waiting import AT_ONCE, TOO_MANY
from rookery_proxy.wire import Wire

# Servers that speak first, by the port they have in their container: SSH, FTP, telnet, SMTP, POP3, NNTP, IMAP, MySQL, VNC.
SPEAKS_FIRST = frozenset((21, 22, 23, 25, 110, 119, 143, 587, 2525, 3306, 4190, 5900, 5901))

_MOST_TOLD = 100  # that they are too many, at a time

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
    """Gives a new connection to whoever serves its protocol, or turns it away when the port has too many."""
    if len(listener.connections) >= context.limits.connections:
        _turn_away(context, listener, wire, peer)
        return
    match listener.protocol:
        case ListenProtocol.HTTP:
            Client(context, listener, wire, peer)
        case ListenProtocol.HTTP2:
            from rookery_proxy.http2_client import Http2Client  # lazily: it costs memory that few need

            Http2Client(context, listener, wire, peer)
        case ListenProtocol.TCP:
            Tunnel(context, listener, wire).open(listener.first(), b"")
        case _:
            route = listener.first()
            if route is not None and any(endpoint.target in SPEAKS_FIRST for endpoint in route.route.endpoints):
                Tunnel(context, listener, wire).open(route, b"")
            else:
                _Undecided(context, listener, wire, peer)


def _turn_away(context: Context, listener: LiveListener, wire: Wire, peer: str) -> None:
    """Tells a client of HTTP why; one of anything else just loses the connection, and so do all when many are being told."""
    most = context.limits.connections
    if listener.protocol is ListenProtocol.HTTP and len(listener.connections) < most + _MOST_TOLD:
        Client(context, listener, wire, peer).turn_away(f"this port has {most} connections, and takes no more")
    else:
        wire.close()


class _Undecided:
    """A connection whose client has not said enough yet. When it has been silent for a while, an endpoint may speak first; until
    one does, the client still may, and in HTTP too: browsers and pools connect before they have anything to ask."""

    __slots__ = ("_context", "_data", "_deadline", "_ear", "_is_held", "_listener", "_peer", "_route", "_timer", "_wire")

    def __init__(self, context: Context, listener: LiveListener, wire: Wire, peer: str) -> None:
        self._context = context
        self._listener = listener
        self._wire = wire
        wire.owner = self
        self._peer = peer
        self._data = b""
        self._ear: Ear | None = None
        self._is_held = False  # it waits for an endpoint, or did
        self._route: LiveRoute | None = None  # on which it does
        self._deadline = context.loop.now + context.limits.head_s
        self._timer = context.loop.after(context.limits.detect_s, self._silent)
        listener.connections.add(self)

    @property
    def deadline(self) -> float:
        return self._ear.deadline if self._ear is not None else self._deadline

    def on_input(self) -> None:
        data = self._wire.read()
        if data is None:
            return
        if not data:
            self._ended()
            return
        self._data += data
        match guess(self._data):
            case Guess.HTTP:
                self._leave()
                self._hush()
                Client(self._context, self._listener, self._wire, self._peer).take(self._data)
            case Guess.TCP:
                self._tunnel(b"")
            case Guess.UNDECIDED:
                pass

    def on_drained(self) -> None: ...

    def on_lost(self) -> None:
        self._leave()
        self._hush()
        self._wire.close()

    def on_connected(self) -> None: ...

    def on_refused(self, why: str) -> None: ...

    def expire(self) -> None:
        if self._ear is not None:
            self._ear.expire()
        else:
            self.on_lost()

    def wind_down(self) -> None:
        self.on_lost()

    def _silent(self) -> None:
        if self._wire.closed:
            return
        route = self._listener.first()
        wait_s = self._context.holding.wait(route, self) if route is not None and not self._is_held else AT_ONCE
        if wait_s == TOO_MANY and route is not None:
            route.refuse()
            self.on_lost()
        elif wait_s:  # there is nobody to listen to yet
            self._route, self._is_held = route, True
            if route is not None and not route.touched:
                route.touch()
            self._deadline = self._context.loop.now + wait_s
        else:
            peer = self._peer.encode("ascii", "replace")
            self._ear = Ear(self._context, self._listener, peer, heard=self._tunnel, deaf=self.on_lost)
            self._ear.listen()

    def go_on(self) -> None:
        """There is an endpoint, which may speak first."""
        self._silent()

    def give_up(self) -> None:
        self.on_lost()

    def _ended(self) -> None:
        """The client says no more. Where a server may still speak, it is told so."""
        ear = self._ear
        if ear is not None and ear.wire is not None and not ear.wire.connecting:
            self._tunnel(b"")
        else:
            self.on_lost()

    def _tunnel(self, heard: bytes) -> None:
        """It is TCP: what either side has said goes to the other, on the connection that was listened to, if there is one."""
        self._leave()
        ear, tunnel = self._ear, Tunnel(self._context, self._listener, self._wire)
        may_stay = ear is not None and ear.endpoint is not None and (heard or not ear.endpoint.gone)
        if ear is None or ear.wire is None or ear.route is None or ear.endpoint is None or not may_stay or ear.route.is_full():
            self._hush()
            tunnel.open(self._listener.first(), self._data)
            return
        ear.route.requests += 1
        if not ear.route.touched:
            ear.route.touch()
        ear.endpoint.requests += 1
        ear.endpoint.in_flight += 1
        ear.endpoint.bytes_in += len(self._data)
        ear.endpoint.bytes_out += len(heard)
        tunnel.join(ear.route, ear.endpoint, ear.wire, self._data, heard)
        if ear.wire.connecting:
            tunnel.deadline = ear.deadline

    def _hush(self) -> None:
        if self._ear is not None:
            self._ear.close()

    def _leave(self) -> None:
        self._timer.cancel()
        if self._route is not None:  # who has spoken waits on, if so, as what he is
            self._route.queue.leave(self)
        self._listener.connections.discard(self)
