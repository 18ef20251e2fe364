"""A connection to an endpoint that many calls share, by HTTP/2 without TLS.

Invariant: a call is on one connection at a time, and hears once what became of it there.
"""

import socket
from collections.abc import Iterable
from typing import Protocol

from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    InformationalResponseReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)

from rookery_proxy.balance import Context
from rookery_proxy.health import took_connection
from rookery_proxy.http2 import MOST_STREAMS, Headers, Link
from rookery_proxy.http2_body import Body
from rookery_proxy.http2_flood import Flood
from rookery_proxy.live_endpoint import LiveEndpoint, dial
from rookery_proxy.wire import Wire

_UNHEARD_MS = 30_000  # what was sent is acknowledged by then, or the host is gone: the kernel alone would take 15 minutes
_LAST_STREAM = 2**31 - 1000  # streams have numbers, and these end


class Caller(Protocol):
    """A call, as the endpoint's side sees it: `request` and `answer` are the bodies on their ways."""

    request: Body
    answer: Body

    def request_headers(self) -> Headers: ...

    def unsent(self) -> None:
        """The endpoint does not take the connection: nothing was sent."""

    def began(self, headers: Headers, *, interim: bool, ended: bool) -> None:
        """The head of an answer came; with `ended` that is all of it."""

    def more(self, data: bytes, padding: int) -> None:
        """More of the answer came, with so many bytes of padding."""

    def ended(self) -> None:
        """All of the answer came."""

    def untaken(self) -> None:
        """The endpoint takes no more on this connection, and did not look at the call."""

    def refused(self, code: int) -> None:
        """The endpoint ended the call with that code."""

    def malformed(self, why: str) -> None:
        """What the endpoint says of the call is no HTTP, and no more is heard of it."""

    def lost(self, why: str, *, fresh: bool) -> None:
        """The connection ended, and the call with it. `fresh`: nothing was ever answered on it."""

    def look_at_the_clock(self) -> None:
        """About once a second."""


class SharedLink:
    """One connection to an endpoint. `idle_since` is when it had its last call."""

    __slots__ = ("_assumed", "_calls", "_context", "_endpoint", "_flood", "_fresh", "_link", "_retired", "_waiting", "idle_since")

    def __init__(self, context: Context, endpoint: LiveEndpoint, sock: socket.socket) -> None:
        self._context = context
        self._endpoint = endpoint
        self._calls: dict[int, Caller] = {}
        self._waiting: list[Caller] = []  # for the connection
        self._retired = False  # takes no new call
        self._fresh = True  # nothing was answered yet
        self._flood = Flood(resets=False)  # each has cost it a call
        self.idle_since = context.loop.now
        wire = Wire(context.loop, sock, self, connecting=True)
        self._link = Link(wire, client_side=True)
        # Until it says how many calls it takes at a time, as many as it said on other connections: each more is refused.
        self._assumed = min([shared.most for shared in endpoint.shared if isinstance(shared, SharedLink)], default=MOST_STREAMS)
        endpoint.shared.append(self)
        context.loop.after(context.limits.connect_s, self._give_up)
        context.loop.after(context.limits.head_s, self._give_up_greeting)

    @property
    def most(self) -> int:
        """Calls at a time."""
        said: int = self._link.conn.remote_settings.max_concurrent_streams
        return said if said <= MOST_STREAMS else self._assumed

    @property
    def has_room(self) -> bool:
        conn = self._link.conn
        fits = len(self._calls) + len(self._waiting) < self.most and conn.highest_outbound_stream_id < _LAST_STREAM
        return fits and not self._retired and not self._link.wire.closed

    def take(self, call: Caller) -> None:
        if self._link.wire.connecting:
            self._waiting.append(call)
        else:
            self._begin(call)

    def leave(self, stream: int, call: Caller, code: int | None) -> None:
        """The call is over for its caller; with a code the endpoint is told so."""
        if call in self._waiting:
            self._waiting.remove(call)
        elif self._calls.pop(stream, None) is not None and code is not None:
            self._link.reset(stream, code)
        self._settle()

    def retire(self) -> None:
        """Its endpoint left the table: it ends with its last call."""
        self._retired = True
        self._settle()

    def look_after(self, idle_before: float) -> None:
        for call in tuple(self._calls.values()):
            call.look_at_the_clock()
        if not self._calls and not self._waiting and self.idle_since < idle_before:
            self.retire()

    # ---- the wire

    def on_connected(self) -> None:
        took_connection(self._endpoint)
        self._link.flush()
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            self._begin(call)

    def on_refused(self, why: str) -> None:  # noqa: ARG002 (counted per endpoint)
        self._close()
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call.unsent()

    def on_input(self) -> None:
        link, now = self._link, self._context.loop.now
        for event in link.read():
            if self._flood.is_beyond(event, now, link.sent_frames):
                link.go_away(ErrorCodes.ENHANCE_YOUR_CALM)
                self._lose("it floods the connection with frames that carry nothing")
                return
            self._on_event(event)
            if link.wire.closed:
                return
        if link.broken:
            self._lose(link.broken)
        else:
            link.flush()

    def on_drained(self) -> None:
        for call in tuple(self._calls.values()):
            call.request.pump()

    def on_lost(self) -> None:
        self._lose("it takes nothing more")

    def _lose(self, why: str) -> None:
        self._close()
        calls, self._calls = tuple(self._calls.values()), {}
        for call in calls:
            call.lost(why, fresh=self._fresh)

    def _on_event(self, event: object) -> None:
        stream = getattr(event, "stream_id", 0)
        call = self._calls.get(stream)
        match event:
            case ConnectionTerminated(last_stream_id=last):
                self._retired = True
                for number in [n for n in self._calls if n > (last or 0)]:
                    self._calls.pop(number).untaken()
                self._settle()
            case WindowUpdated(stream_id=0) | RemoteSettingsChanged():
                self.on_drained()
            case _ if call is None:
                if isinstance(event, DataReceived):  # of a call that is over
                    self._link.conn.acknowledge_received_data(event.flow_controlled_length or 0, stream)
            case WindowUpdated():
                call.request.pump()
            case ResponseReceived(headers=headers):
                self._fresh = False
                call.began(_plain(headers), interim=False, ended=event.stream_ended is not None)
            case InformationalResponseReceived(headers=headers):
                call.began(_plain(headers), interim=True, ended=False)
            case DataReceived(data=data, flow_controlled_length=length):
                self._endpoint.bytes_out += len(data)
                call.more(data, (length or 0) - len(data))
            case TrailersReceived(headers=headers):
                call.answer.trailers = _plain(headers)
            case StreamEnded():
                call.ended()
            case StreamReset(error_code=code, remote_reset=is_its_own):
                self._calls.pop(stream)
                if is_its_own:
                    call.refused(int(code or 0))
                else:
                    call.malformed("what the endpoint answers is no HTTP/2 message")
                self._settle()

    def _begin(self, call: Caller) -> None:
        conn = self._link.conn
        stream = conn.get_next_available_stream_id()
        self._calls[stream] = call
        call.request.target, call.request.target_stream = self._link, stream
        call.answer.come_from(self._link, stream)
        headers = call.request_headers()
        self._endpoint.bytes_in += sum(len(name) + len(value) for name, value in headers)
        if call.request.is_empty:
            call.request.done = True
            conn.send_headers(stream, headers, end_stream=True)
            self._link.flush()
            return
        conn.send_headers(stream, headers)
        self._link.flush()
        call.request.pump()

    def _give_up(self) -> None:
        if self._link.wire.connecting and not self._link.wire.closed:
            self.on_refused("it does not answer")

    def _give_up_greeting(self) -> None:
        if not self._link.is_greeted and not self._link.wire.closed:
            self._lose("it does not say that it speaks HTTP/2")

    def _settle(self) -> None:
        if not self._calls and not self._waiting:
            self.idle_since = self._context.loop.now
            if self._retired:
                self._close()

    def _close(self) -> None:
        if self in self._endpoint.shared:
            self._endpoint.shared.remove(self)
        self._link.wire.close()


def _plain(headers: Iterable[tuple[bytes | str, bytes | str]]) -> Headers:
    """The fields as they are given on; the library is told to leave them bytes."""
    return [(bytes(name), bytes(value)) for name, value in headers]  # type: ignore[arg-type]


def link_to(context: Context, endpoint: LiveEndpoint) -> SharedLink:
    """A connection with room for a call: one that is there, or a new one. Raises OSError when that fails at once."""
    for shared in endpoint.shared:
        if isinstance(shared, SharedLink) and shared.has_room:
            return shared
    sock = dial(endpoint)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNHEARD_MS)
    return SharedLink(context, endpoint, sock)
