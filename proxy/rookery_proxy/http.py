"""A client's HTTP/1 connection: one request after the other, each checked, routed, balanced, and answered in order.

Invariants: at most one request of a connection is with an endpoint at a time, so answers can't change places; what a client has
sent beyond it waits unread, in bounded memory; an endpoint's `in_flight` counts a request from the choice to the answer's end.
"""

from enum import IntEnum

from rookery_proxy.answer import Answer
from rookery_proxy.balance import Context, LiveEndpoint, LiveListener, LiveRoute, dial
from rookery_proxy.body import Chunks
from rookery_proxy.head import CHUNKED, UNTIL_CLOSE, Refusal, check_partial
from rookery_proxy.request import Fields, Request, parse_request
from rookery_proxy.tcp import Tunnel
from rookery_proxy.upstream import Upstream
from rookery_proxy.wire import HIGH_WATER_BYTES, Wire

_MOST_WAITING_BYTES = 65536  # of pipelined input
_MOST_ATTEMPTS = 5
_MOST_LINGERING_BYTES = 1048576
_IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"))
_REASONS = {
    400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout", 417: "Expectation Failed",
    431: "Request Header Fields Too Large", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Timeout", 505: "HTTP Version Not Supported",
}  # fmt: skip


class State(IntEnum):
    HEAD = 0  # waits for a request
    BODY = 1  # a request's body goes through
    ANSWER = 2  # the request is whole, its answer is awaited or goes through
    LINGER = 3  # was told that it ends; what it still sends is thrown away


class Client:
    __slots__ = (
        "_answered", "_buffer", "_chunks", "_close_after", "_context", "_endpoint", "_fields", "_input_ended", "_left",
        "_lingered", "_peer", "_replay", "_retried", "_route", "_started", "_state", "_tail", "_tried", "_unframed", "_upstream",
        "_wire", "deadline", "listener", "method", "minor", "sent_whole",
    )  # fmt: skip

    def __init__(self, context: Context, listener: LiveListener, wire: Wire, peer: str) -> None:
        self._context = context
        self.listener = listener
        self._wire = wire
        wire.owner = self
        self._peer = peer.encode("ascii", "replace")
        self._buffer = b""
        self._state = State.HEAD
        self._fields: Fields | None = None  # of the latest request
        self._tail = b""  # its fields as the endpoint gets them
        self._route: LiveRoute | None = None
        self._endpoint: LiveEndpoint | None = None
        self._upstream: Upstream | None = None
        self._chunks: Chunks | None = None
        self._left = 0
        self._lingered = 0
        self._tried: list[LiveEndpoint] = []
        self._replay: bytes | None = None  # the request, while it may be sent again
        self._retried = False
        self._answered = False  # the answer's head was passed on
        self._unframed = False  # its end is told to the client by the connection's
        self._close_after = False
        self._input_ended = False
        self._started = 0.0
        self.deadline = context.loop.now + context.limits.head_s
        self.method = b""
        self.minor = 1
        self.sent_whole = False
        listener.connections.add(self)

    # ---- what the client sends ----

    def on_input(self) -> None:
        data = self._wire.read()
        if data is None:
            return
        if not data:
            self._end_of_input()
            return
        self.take(data)

    def take(self, data: bytes) -> None:
        state = self._state
        if state == State.HEAD:
            self._head(self._buffer + data if self._buffer else data)
        elif state == State.BODY:
            self._body(data)
        elif state == State.ANSWER:
            self._buffer += data
            if len(self._buffer) > _MOST_WAITING_BYTES:
                self._wire.pause()
        else:
            self._lingered += len(data)
            if self._lingered > _MOST_LINGERING_BYTES:
                self._close()

    def _end_of_input(self) -> None:
        if self._state == State.ANSWER:
            # It may have shut its output only: what it asked for is still answered.
            self._input_ended = True
            self._wire.pause()
        else:
            self._close()

    def _head(self, data: bytes) -> None:
        if data[:2] == b"\r\n":
            data = data[2:]
        end = data.find(b"\r\n\r\n")
        try:
            if end < 0:
                if not self._buffer and data:
                    self.deadline = self._context.loop.now + self._context.limits.head_s
                self._buffer = data
                check_partial(data)
                return
            self._buffer = b""
            request = parse_request(data[: end + 4], self._fields)
        except Refusal as refusal:
            self.method = b""
            self._refuse(refusal)
            return
        fields = request.fields
        if fields is not self._fields:
            self._fields = fields
            self._tail = b""
            self.minor = fields.minor
        self.method = request.method
        self._started = self._context.loop.now
        self._retried = False
        self._close_after = not fields.keep_alive
        listener = self.listener
        route = self._route = listener.only or listener.find(fields.host or "", request.path)
        body, length = data[end + 4 :], fields.length
        self._chunks = None
        if not length:
            self._buffer, body = body, b""
            self.sent_whole = True
        elif length > 0:
            if len(body) > length:
                self._buffer, body = body[length:], body[:length]
            self._left = length - len(body)
            self.sent_whole = not self._left
        else:
            chunks = self._chunks = Chunks(400)
            try:
                body, self._buffer = chunks.feed(body)
            except Refusal as refusal:
                self._refuse(refusal)
                return
            self.sent_whole = chunks.done
        self._state = State.ANSWER if self.sent_whole else State.BODY
        if route is None:
            self._tell(404, f"no route for {fields.host or 'this port'}{request.path}")
            return
        route.requests += 1
        message = self._outgoing(request, route) + body
        self._replay = message if self.sent_whole and request.method in _IDEMPOTENT else None
        self._ask(message)

    def _outgoing(self, request: Request, route: LiveRoute) -> bytes:
        """The request's head as the endpoint gets it."""
        target = request.target
        prefix = route.route.path
        if prefix and route.route.strip_path:
            rest = target[len(prefix.rstrip("/").encode()) :]
            target = rest if rest[:1] == b"/" else b"/" + rest
        if not self._tail or request.fields.host is None:
            self._tail = self._outgoing_fields(request.fields, route)
        return b"%b %b HTTP/1.1%b" % (request.method, target, self._tail)

    def _outgoing_fields(self, fields: Fields, route: LiveRoute) -> bytes:
        own = b""
        if fields.upgrade:
            own = b"Connection: Upgrade\r\nUpgrade: " + fields.upgrade + b"\r\n"
        if fields.host is None:
            own += b"Host: " + route.route.service.encode("ascii", "replace") + b"\r\n"
        forwarded_for = fields.forwarded_for + b", " + self._peer if fields.forwarded_for else self._peer
        return b"%b%bX-Forwarded-For: %b\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: %b\r\n\r\n" % (
            fields.lines, own, forwarded_for, (fields.host or "").encode(),
        )  # fmt: skip

    def _body(self, data: bytes) -> None:
        self.deadline = self._context.loop.now + self._context.limits.stall_s
        chunks = self._chunks
        if chunks is None:
            if len(data) > self._left:
                data, self._buffer = data[: self._left], data[self._left :]
            self._left -= len(data)
            self.sent_whole = not self._left
        else:
            try:
                data, self._buffer = chunks.feed(data)
            except Refusal as refusal:
                self._refuse(refusal)
                return
            self.sent_whole = chunks.done
        if self.sent_whole:
            self._state = State.ANSWER
            self._chunks = None
        upstream = self._upstream
        if upstream is None or not data:
            return
        if self._endpoint is not None:
            self._endpoint.bytes_in += len(data)
        upstream.wire.write(data)
        if upstream.wire.pending_bytes > HIGH_WATER_BYTES and not self.sent_whole:
            self._wire.pause()

    # ---- the endpoint ----

    def _ask(self, message: bytes) -> None:
        """Sends the request to an endpoint: on an idle connection, or on a new one."""
        route, context = self._route, self._context
        assert route is not None
        now = context.loop.now
        why = ""
        while len(self._tried) < _MOST_ATTEMPTS:
            endpoint = route.choose(now, self._tried)
            if endpoint is None:
                break
            idle = endpoint.idle
            while idle:
                upstream = idle.pop()
                if self._replay is None and upstream.is_stale():
                    upstream.discard()
                    continue
                assert isinstance(upstream, Upstream)
                upstream.reuse(self)
                self.deadline = now + context.limits.answer_s
                break
            else:
                try:
                    sock = dial(endpoint)
                except OSError as error:
                    why = error.strerror or str(error)
                    self._tried.append(endpoint)
                    route.connect_failed(endpoint, now)
                    continue
                upstream = Upstream(context, endpoint, sock, self)
                self.deadline = now + context.limits.connect_s
            self._upstream = upstream
            self._endpoint = endpoint
            endpoint.in_flight += 1
            endpoint.requests += 1
            endpoint.bytes_in += len(message)
            upstream.wire.write(message)
            return
        route.refused += 1
        if not self._tried:
            self._tell(503, route.why_none())
        else:
            name = f"{route.route.app}/{route.route.service}"
            self._tell(
                503, f"{name}: none of the {len(self._tried)} endpoints that were tried took the connection {why}".rstrip()
            )

    def connected(self) -> None:
        self.deadline = self._context.loop.now + self._context.limits.answer_s

    def sent(self) -> None:
        if self._state == State.BODY:
            self._wire.resume()

    def connect_failed(self, unsent: bytes) -> None:
        endpoint, route = self._endpoint, self._route
        assert endpoint is not None
        assert route is not None
        self._release()
        endpoint.requests -= 1
        endpoint.bytes_in -= len(unsent)
        route.connect_failed(endpoint, self._context.loop.now)
        self._tried.append(endpoint)
        self._ask(unsent)

    def broken(self, refusal: Refusal, *, answered: bool, untouched: bool) -> None:
        endpoint = self._endpoint
        assert endpoint is not None
        self._release()
        if untouched and self._replay is not None and not self._retried:
            self._retried = True
            endpoint.requests -= 1
            if self._route is not None and len(self._route.endpoints) > 1:
                self._tried.append(endpoint)  # it may be on its way out
            self._ask(self._replay)
            return
        endpoint.errors_upstream += 1
        if answered:
            if self._unframed:
                self._wire.reset()  # an end in order would be taken for the answer's
            self._close()
        else:
            why = refusal.why
            self._tell(refusal.status, why if why.startswith("the endpoint") else f"the endpoint's answer: {why}")

    def interim(self, head: bytes) -> None:
        self._wire.write(head)

    def begin(self, answer: Answer, body: bytes) -> int:
        context = self._context
        self.deadline = context.loop.now + context.limits.stall_s
        self._answered = True
        endpoint = self._endpoint
        assert endpoint is not None
        endpoint.answered(answer.status, context.loop.now - self._started)
        lines = answer.lines
        length = answer.length
        self._unframed = length == UNTIL_CLOSE or (length == CHUNKED and not self.minor)
        if length == CHUNKED:
            if self.minor:
                lines += b"Transfer-Encoding: chunked\r\n"
            else:
                self._close_after = True
        if length == UNTIL_CLOSE or not self.sent_whole or context.draining or self.listener.closed or self._input_ended:
            self._close_after = True
        if self._close_after:
            lines += b"Connection: close\r\n"
        elif not self.minor:
            lines += b"Connection: keep-alive\r\n"
        self._wire.write(b"%b%b\r\n%b" % (answer.start, lines, body))
        return self._wire.pending_bytes

    def more(self, body: bytes) -> int:
        self.deadline = self._context.loop.now + self._context.limits.stall_s
        self._wire.write(body)
        return self._wire.pending_bytes

    def end(self) -> None:
        """The answer is complete: on to the next request."""
        self._release()
        if self._close_after:
            self._finish()
            return
        self._next()

    def switch(self, answer: Answer, rest: bytes) -> None:
        fields, upstream, endpoint, route = self._fields, self._upstream, self._endpoint, self._route
        assert fields is not None
        assert upstream is not None
        assert endpoint is not None
        assert route is not None
        wanted = {name.strip().lower() for name in fields.upgrade.split(b",")}
        if not fields.upgrade or answer.upgrade.strip().lower() not in wanted:
            upstream.wire.close()
            self.broken(Refusal(502, "the endpoint switched protocols without being asked to"), answered=False, untouched=False)
            return
        endpoint.answered(101, self._context.loop.now - self._started)
        head = answer.start + answer.lines + b"Connection: Upgrade\r\nUpgrade: " + answer.upgrade + b"\r\n\r\n"
        self.listener.connections.discard(self)
        tunnel = Tunnel(self._context, self.listener, self._wire)
        tunnel.join(route, endpoint, upstream.wire, self._buffer, head + rest)

    # ---- the connection ----

    def on_drained(self) -> None:
        if self._state == State.LINGER:
            if self._input_ended:
                self._close()
            else:
                self._wire.finish()
        elif self._state == State.HEAD:
            self._next()
        elif self._upstream is not None:
            self._upstream.wire.resume()

    def on_lost(self) -> None:
        self._close()

    def on_connected(self) -> None: ...

    def on_refused(self, why: str) -> None: ...

    def expire(self) -> None:
        upstream = self._upstream
        if upstream is not None and upstream.wire.connecting:
            upstream.give_up_connect()
        elif self._state == State.HEAD and not self._buffer:
            self._close()
        elif self._state == State.HEAD:
            self._refuse(Refusal(408, "the request's head did not come in time"))
        elif self._state == State.LINGER or self._answered:
            self._close()
        elif self._state == State.BODY:
            self._refuse(Refusal(408, "the request's body did not come in time"))
        else:
            if self._endpoint is not None:
                self._endpoint.errors_upstream += 1
            self._tell(504, "the endpoint did not answer in time")

    def wind_down(self) -> None:
        if self._state == State.HEAD and not self._buffer:
            self._close()

    def _next(self) -> None:
        context = self._context
        self._state = State.HEAD
        self._upstream = self._route = None
        self._answered = False
        if self._tried:
            self._tried.clear()
        self.deadline = context.loop.now + context.limits.idle_s
        if self._wire.pending_bytes > HIGH_WATER_BYTES:
            self._wire.pause()  # it asks, but does not read
        elif self._input_ended and not self._buffer:
            self._finish()
        elif self._buffer:
            context.loop.soon(self._pipelined)
        elif context.draining or self.listener.closed:
            self._finish()
        else:
            self._wire.resume()

    def _pipelined(self) -> None:
        """Goes on with what came while the last request was answered."""
        if self._state == State.HEAD and not self._wire.closed and self._buffer:
            self._wire.resume()
            data, self._buffer = self._buffer, b""
            self._head(data)
            if self._input_ended and self._state == State.HEAD:
                self._close()

    def _refuse(self, refusal: Refusal) -> None:
        """Answers what was not understood, and ends the connection: where the next request begins is not known."""
        self._close_after = True
        if self._route is not None:
            self._route.refused += 1
        elif self.listener.only is not None:
            self.listener.only.refused += 1
        self._tell(refusal.status, refusal.why)

    def _tell(self, status: int, why: str) -> None:
        """Answers in the proxy's own name."""
        self._abandon()
        if self._answered:
            self._close()
            return
        if not self.sent_whole or self._context.draining or self.listener.closed:
            self._close_after = True
        text = (why + "\n").encode("utf-8", "replace")
        connection = b"Connection: close\r\n" if self._close_after else b"" if self.minor else b"Connection: keep-alive\r\n"
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(text)}\r\n"
        )
        self._wire.write(head.encode() + connection + b"\r\n" + (b"" if self.method == b"HEAD" else text))
        if self._close_after:
            self._finish()
        else:
            self._next()

    def _release(self) -> None:
        """The endpoint is done with this request."""
        if self._endpoint is not None:
            self._endpoint.in_flight -= 1
            self._endpoint = None
        self._upstream = None

    def _abandon(self) -> None:
        upstream = self._upstream
        if upstream is not None:
            upstream.discard()
        self._release()

    def _finish(self) -> None:
        """Ends the connection such that the client can read all that was written."""
        self._state = State.LINGER
        self._lingered = 0
        self._buffer = b""
        self.deadline = self._context.loop.now + self._context.limits.linger_s
        if self._wire.pending_bytes:
            self.deadline = self._context.loop.now + self._context.limits.stall_s
        else:
            self._wire.finish()
        if self._input_ended and not self._wire.pending_bytes:
            self._close()
        else:
            self._wire.resume()

    def _close(self) -> None:
        self._abandon()
        self.listener.connections.discard(self)
        self._wire.close()
