"""A client's HTTP/2 connection: each of its calls goes to an endpoint of its own choice, and is passed on as HTTP/2.

Invariant: a connection that is idle, floods or leaves takes no new call, and those it has go on only while it lives.
"""

from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)

from rookery_proxy.balance import Context, LiveListener
from rookery_proxy.http2 import SPEAKS_HTTP1, Headers, Link
from rookery_proxy.http2_call import Call
from rookery_proxy.http2_flood import Flood
from rookery_proxy.linger import Lingering
from rookery_proxy.wire import Wire

_TOLD = b"this port speaks HTTP/2 alone: by prior knowledge, or over TLS by ALPN h2\n"
_ONLY_HTTP2 = (
    b"HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%b" % (len(_TOLD), _TOLD)
)


class Http2Client:
    __slots__ = ("_calls", "_context", "_flood", "_leaving", "_link", "deadline", "listener", "peer", "scheme")

    def __init__(self, context: Context, listener: LiveListener, wire: Wire, peer: str) -> None:
        self._context = context
        self.listener = listener
        self.peer = peer.encode("ascii", "replace")
        self.scheme = b"https" if listener.tls else b"http"
        self._calls: dict[int, Call] = {}
        self._leaving = False  # new calls are refused
        self._flood = Flood()
        self.deadline = context.loop.now + context.limits.head_s
        wire.owner = self
        listener.connections.add(self)
        self._link = Link(wire, client_side=False)  # it speaks when the client has: that may speak HTTP/1, and is told so in it

    @property
    def link(self) -> Link:
        return self._link

    # ---- the wire

    def on_input(self) -> None:
        events = self._link.read()
        if self._link.broken:
            if self._link.broken == SPEAKS_HTTP1:
                self._tell_http1()
            else:
                self.on_lost()
            return
        now = self._context.loop.now
        for event in events:
            if self._flood.is_beyond(event, now, self._link.sent_frames):
                self._link.go_away(ErrorCodes.ENHANCE_YOUR_CALM)
                self.on_lost()
                return
            self._on_event(event)
            if self._link.wire.closed:
                return
        self._link.flush()
        if self._calls:  # pings alone do not keep a connection
            self.stir()

    def on_drained(self) -> None:
        for call in tuple(self._calls.values()):
            call.answer.pump()

    def on_lost(self) -> None:
        self.listener.connections.discard(self)
        self._link.wire.close()
        calls, self._calls = tuple(self._calls.values()), {}
        for call in calls:
            call.over(cancel=ErrorCodes.CANCEL)

    def on_connected(self) -> None: ...

    def on_refused(self, why: str) -> None: ...

    def expire(self) -> None:
        self._link.go_away()
        self.on_lost()

    def wind_down(self) -> None:
        """The port or the worker goes: calls in flight go on, new ones are the next one's."""
        if not self._leaving:
            self._leaving = True
            self._link.go_away()
        if not self._calls:
            self.on_lost()

    def stir(self) -> None:
        """Something happened: it is not idle."""
        limits = self._context.limits
        self.deadline = self._context.loop.now + (limits.tunnel_s if self._calls else limits.idle_s)

    def forget(self, stream: int) -> None:
        self._calls.pop(stream, None)
        self.stir()
        if self._leaving and not self._calls:
            self._context.loop.soon(self.on_lost)

    def _tell_http1(self) -> None:
        wire = self._link.wire
        self.listener.connections.discard(self)
        wire.write(_ONLY_HTTP2)
        Lingering(self._context, self.listener, wire, input_ended=False)

    def _on_event(self, event: object) -> None:
        stream = getattr(event, "stream_id", 0)
        call = self._calls.get(stream)
        match event:
            case RequestReceived(headers=headers):
                self._begin(
                    stream, [(bytes(name), bytes(value)) for name, value in headers], ended=event.stream_ended is not None
                )
            case ConnectionTerminated():
                self._leaving = True
                if not self._calls:
                    self.on_lost()
            case WindowUpdated(stream_id=0) | RemoteSettingsChanged():
                self.on_drained()
            case StreamReset():
                if call is not None:
                    call.over(cancel=int(event.error_code or 0))
            case _ if call is None:
                if isinstance(event, DataReceived):  # of a call that is over
                    self._link.conn.acknowledge_received_data(event.flow_controlled_length or 0, stream)
            case WindowUpdated():
                call.answer.pump()
            case DataReceived(data=data, flow_controlled_length=length):
                call.request.put(data, (length or 0) - len(data))
                call.send_on(len(data))
            case TrailersReceived(headers=headers):
                call.request.trailers = [(bytes(name), bytes(value)) for name, value in headers]
            case StreamEnded():
                call.request.ended = True
                call.send_on(0)

    def _begin(self, stream: int, headers: Headers, *, ended: bool) -> None:
        if self._leaving or self._context.draining:
            self._link.reset(stream, ErrorCodes.REFUSED_STREAM)
            return
        call = self._calls[stream] = Call(self._context, self, stream, headers)
        call.request.ended = ended
        call.begin()
