"""A client's HTTP/1 connection: one request after the other, each checked, routed, balanced, and answered in order.

Invariants: at most one request of a connection is with an endpoint at a time, so answers can't change places; what a client has
sent beyond it waits unread, in bounded memory; an endpoint's `in_flight` counts a request from the choice to the answer's end.
"""

import secrets

from rookery_proxy.access import entry_of
from rookery_proxy.answer import Answer
from rookery_proxy.attempts import Attempts
from rookery_proxy.balance import Context, LiveListener
from rookery_proxy.body import Chunks
from rookery_proxy.head import CHUNKED, UNTIL_CLOSE, Refusal, check_partial
from rookery_proxy.health import Failure, answered_well
from rookery_proxy.linger import Lingering
from rookery_proxy.live_endpoint import LiveEndpoint
from rookery_proxy.live_route import LiveRoute
from rookery_proxy.outgoing import outgoing_fields, outgoing_target, own_answer, retry_after
from rookery_proxy.repeat import MOST_BYTES, Repeat
from rookery_proxy.request import Fields, Request, parse_request
from rookery_proxy.resend import IDEMPOTENT
from rookery_proxy.split import Sides, point_of
from rookery_proxy.sticky import set_cookie, value_in
from rookery_proxy.tcp import Tunnel
from rookery_proxy.upstream import Upstream
from rookery_proxy.waiting import TOO_MANY
from rookery_proxy.wire import HIGH_WATER_BYTES, Wire

_CLIENT_LEFT = 499  # in the access log, as nginx has it
_MOST_WAITING_BYTES = 65536  # of pipelined input


# What a client is at. Plain numbers: each look at an enumeration's member costs, and a request has a dozen.
_HEAD = 0  # waits for a request
_BODY = 1  # a request's body goes through
_ANSWER = 2  # the request is whole, its answer is awaited or goes through
_OVER = 3  # the wire is somebody else's now


class Client:
    __slots__ = (
        "_access", "_again", "_answered", "_attempts", "_blank", "_buffer", "_chunks", "_close_after", "_context", "_cookie",
        "_endpoint", "_fields", "_held", "_held_until", "_ids", "_input_ended", "_latest", "_left", "_peer", "_request",
        "_request_id", "_route", "_scheme", "_sent_bytes", "_started", "_state", "_status", "_tail", "_unframed", "_upstream",
        "_wire", "deadline", "listener", "method", "minor", "sent_whole",
    )  # fmt: skip

    def __init__(self, context: Context, listener: LiveListener, wire: Wire, peer: str) -> None:
        self._context = context
        self.listener = listener
        self._wire = wire
        wire.owner = self
        self._peer = peer.encode("ascii", "replace")
        self._buffer = b""
        self._blank = False  # an empty line came before the next request
        self._state = _HEAD
        self._fields: Fields | None = None  # of the latest request
        self._tail = b""  # its fields as the endpoint gets them
        self._latest = b""  # what it was, if it may be asked again
        self._again: Repeat | None = None  # that, once it was
        self._route: LiveRoute | None = None
        self._endpoint: LiveEndpoint | None = None
        self._held: bytes | None = None  # the request, while it waits for an endpoint
        self._held_until = 0.0  # the loop's clock; 0: it did not have to wait
        self._upstream: Upstream | None = None
        self._chunks: Chunks | None = None
        self._left = 0
        self._access = context.access
        self._ids = context.ids
        self._scheme = b"https" if listener.tls else b"http"
        self._request_id = b""
        self._request: Request | None = None  # in hand; where requests are logged only, as are the next two
        self._status = 0  # of its answer
        self._sent_bytes = 0  # of the answer's body
        self._attempts = Attempts()
        self._cookie = b""  # name=value, which the answer is to give the client
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

    def turn_away(self, why: str) -> None:
        """Answers before anything was asked, and ends."""
        self._refuse(Refusal(503, why))

    # ---- what the client sends ----

    def on_input(self) -> None:
        data = self._wire.read()
        if data is None:
            return
        if not data:
            self._end_of_input()
        elif self._state == _HEAD and not self._buffer:
            again = self._again
            if again is not None and again.head == data and again.holds(self.listener):
                self._repeat(again)
            else:
                self._head(data)
        else:
            self.take(data)

    def take(self, data: bytes) -> None:
        state = self._state
        if state == _HEAD:
            self._head(self._buffer + data if self._buffer else data)
        elif state == _BODY:
            self._body(data)
        elif state == _ANSWER:
            self._buffer += data
            if len(self._buffer) > _MOST_WAITING_BYTES:
                self._wire.pause()

    def _end_of_input(self) -> None:
        if self._held is not None and self._wire.broken:
            self._close()  # nobody waits any more
        elif self._state == _ANSWER:
            # It may have shut its output only: what it asked for is still answered.
            self._input_ended = True
            self._wire.pause()
        elif self._state == _HEAD and self._buffer:
            self._input_ended = True
            self._pipelined()  # what waits may be whole
        else:
            self._close()

    def _repeat(self, again: Repeat) -> None:
        """The same request as before."""
        route = self._route = again.live
        self._blank = False
        self._started = self._context.loop.now
        self._state = _ANSWER
        if self._access is not None:
            self._request = again.request
        route.requests += 1
        if not route.touched:
            route.touch()
        message = again.message
        self._attempts.replay = message if self.method in IDEMPOTENT else None
        if route.patience is None:
            self._send(route, message)
        else:
            self._ask(message)

    def _head(self, data: bytes) -> None:
        self._again = None
        if data[:2] == b"\r\n" and not self._blank:  # one empty line is passed over (RFC 9112, 2.2)
            self._blank = True
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
            self._blank = False
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
        if self._access is not None:
            self._request = request
        self._started = self._context.loop.now
        self._close_after = not fields.keep_alive
        listener = self.listener
        route = self._route = listener.only or listener.find(fields.host or "", request.path, request.method, fields.block)
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
        self._state = _ANSWER if self.sent_whole else _BODY
        if route is None:
            self._tell(404, f"no route for {fields.host or 'this port'}{request.path}")
            return
        route.requests += 1
        if not route.touched:
            route.touch()
        if route.rules is not None:
            verdict = route.rules.judge(request, self._peer, self._started, scheme=self._scheme)
            if verdict is not None:
                if verdict.status >= 400:
                    route.refuse()
                self._tell(verdict.status, verdict.why, verdict.fields)
                return
        message = self._outgoing(request, route) + body
        self._attempts.replay = message if self.sent_whole and request.method in IDEMPOTENT else None
        if data == self._latest and fields.keep_alive and fields.block and self._ids is None and route.rules is None:
            if not length and end + 4 == len(data):
                self._again = Repeat(data, request, route, listener.listener, message)
        elif len(data) <= MOST_BYTES:
            self._latest = data
        self._ask(message)

    def _outgoing(self, request: Request, live: LiveRoute) -> bytes:
        """The request's head as the endpoint gets it."""
        route, rules = live.route, live.rules
        if rules is not None:
            target = rules.target(outgoing_target(request.target, route))
            tail = outgoing_fields(
                request.fields, route, self._peer, rules, scheme=self._scheme, forwarded=self._context.forwarded
            )
            return self._marked(request.method, target, tail)
        if not self._tail or request.fields.host is None:
            self._tail = outgoing_fields(
                request.fields, route, self._peer, scheme=self._scheme, forwarded=self._context.forwarded
            )
        target = outgoing_target(request.target, route) if route.strip_path else request.target
        return self._marked(request.method, target, self._tail)

    def _marked(self, method: bytes, target: bytes, tail: bytes) -> bytes:
        """The whole head, with the request's id where requests get one."""
        if self._ids is not None:
            self._request_id, tail = self._ids.mark(tail)
        return b"%b %b HTTP/1.1%b" % (method, target, tail)

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
            self._state = _ANSWER
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
        route = self._route
        assert route is not None
        if route.patience is not None and not self._held_until:
            wait_s = self._context.holding.wait(route, self)
            if wait_s == TOO_MANY:
                self._tell_none(route)
                return
            if wait_s:
                self._hold(message, self._context.loop.now + wait_s)
                return
        self._send(route, message)

    def _hold(self, message: bytes, until: float) -> None:
        """The request waits for an endpoint."""
        self._held = message
        self._held_until = self.deadline = until
        if self._state == _BODY:
            self._wire.pause()

    def go_on(self) -> None:
        message, route = self._held, self._route
        self._held = None
        if message is None or route is None or self._wire.closed:
            return
        if self._state == _BODY:
            self._wire.resume()
        self._send(route, message)

    def give_up(self) -> None:
        self._held = None
        if self._route is not None:
            self._tell_none(self._route)

    def _tell_none(self, route: LiveRoute) -> None:
        """There is no endpoint for the request, or none in time."""
        route.refuse()
        self._tell(503, route.why_none(), retry_after(route.retry_after_s()))

    def _send(self, route: LiveRoute, message: bytes) -> None:
        context = self._context
        attempts, sides = self._attempts, route.sides
        if sides is not None and not attempts.tried:
            attempts.point = self._aim(route, sides)
        if route.pool is not None and self._fields is not None:
            attempts.key = route.key_of(self._fields.block, self._peer)
        upstream = attempts.reach(context, route, self)
        if isinstance(upstream, str):
            self._unreached(route, upstream, message)
            return
        limits = context.limits
        self.deadline = context.loop.now + (limits.connect_s if upstream.fresh else limits.answer_s)
        self._upstream = upstream
        endpoint = self._endpoint = upstream.endpoint
        endpoint.in_flight += 1
        endpoint.requests += 1
        endpoint.bytes_in += len(message)
        upstream.wire.write(message)

    def _unreached(self, route: LiveRoute, why: str, message: bytes) -> None:
        attempts = self._attempts
        if attempts.why_broke is not None:
            self._tell_broken(attempts.why_broke)
            return
        until = route.wait_until(self._held_until, self._context.loop.now, attempts.tried)
        if until and self._context.holding.wait_again(route, self, until):
            attempts.forget()
            self._hold(message, until)
            return
        if not attempts.tried:
            self._tell_none(route)
            return
        route.refuse()
        name = f"{route.route.app}/{route.route.service}"
        why = f"{name}: none of the {len(attempts.tried)} endpoints that were tried took the connection {why}".rstrip()
        self._tell(503, why, retry_after(route.retry_after_s()))

    def _aim(self, route: LiveRoute, sides: Sides[LiveEndpoint]) -> float:
        """A new request's point between the sides. A client without the sticky cookie is to get one, which counts at once."""
        sticky = sides.sticky
        if sticky is None or self._fields is None:
            return route.draw()
        value = value_in(sticky, self._fields.block)
        if not value:
            if not sticky.cookie:
                return route.draw()
            value = secrets.token_hex(16).encode()
            self._cookie = sticky.cookie + b"=" + value
        return point_of(value, sides.salt)

    def connected(self) -> None:
        self.deadline = self._context.loop.now + self._context.limits.answer_s

    def sent(self) -> None:
        if self._state == _BODY:
            self._wire.resume()

    def connect_failed(self, unsent: bytes) -> None:
        endpoint, route = self._endpoint, self._route
        assert endpoint is not None
        assert route is not None
        self._release()
        endpoint.requests -= 1
        endpoint.bytes_in -= len(unsent)
        route.connect_failed(endpoint, self._context.loop.now)
        self._attempts.tried.append(endpoint)
        self._ask(unsent)

    def broken(self, refusal: Refusal, *, answered: bool, untouched: bool) -> None:
        endpoint, upstream, route = self._endpoint, self._upstream, self._route
        assert endpoint is not None
        assert upstream is not None
        assert route is not None
        self._release()
        fresh, now = upstream.fresh, self._context.loop.now
        # A connection that was kept and ends before a byte was only idle for too long: that says nothing of the endpoint.
        if fresh or not untouched:
            route.failed(endpoint, Failure.BROKEN, now)
        attempts = self._attempts
        if untouched and attempts.goes_again(route, endpoint, refusal, now, fresh=fresh):
            if fresh:
                endpoint.errors_upstream += 1
            else:
                endpoint.requests -= 1
            assert attempts.replay is not None
            self._ask(attempts.replay)
            return
        endpoint.errors_upstream += 1
        if answered:
            if self._unframed:
                self._wire.reset()  # an end in order would be taken for the answer's
            self._close()
        else:
            self._tell_broken(refusal)

    def _tell_broken(self, refusal: Refusal) -> None:
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
        status, route, wire = answer.status, self._route, self._wire
        if self._access is not None:
            self._status, self._sent_bytes = status, len(body)
        endpoint.answered(status, context.loop.now - self._started)
        if 502 <= status <= 504:
            if route is not None:
                route.failed(endpoint, Failure.GATEWAY, context.loop.now)
        elif endpoint.failures:
            answered_well(endpoint, self._started)
        rules, length = route.rules if route is not None else None, answer.length
        last = self._input_ended and not self._buffer  # there is no other request, and none will come
        if length == UNTIL_CLOSE or not self.sent_whole or last or context.draining or self.listener.closed:
            self._close_after = True
        if rules is None and length >= 0 and self.minor and not self._close_after and not self._cookie:
            self._unframed = False
            wire.write(answer.head + body)
            return wire.pending_bytes
        lines = answer.lines if rules is None else rules.answer_lines(answer.lines)
        self._unframed = length == UNTIL_CLOSE or (length == CHUNKED and not self.minor)
        if length == CHUNKED:
            if self.minor:
                lines += b"Transfer-Encoding: chunked\r\n"
            else:
                self._close_after = True
        if self._close_after:
            lines += b"Connection: close\r\n"
        elif not self.minor:
            lines += b"Connection: keep-alive\r\n"
        if self._cookie:
            lines += set_cookie(self._cookie, lines)
            self._cookie = b""
        wire.write(b"%b%b\r\n%b" % (answer.start, lines, body))
        return wire.pending_bytes

    def more(self, body: bytes) -> int:
        self.deadline = self._context.loop.now + self._context.limits.stall_s
        if self._access is not None:
            self._sent_bytes += len(body)
        self._wire.write(body)
        return self._wire.pending_bytes

    def end(self) -> None:
        """The answer is complete: on to the next request."""
        if self._access is not None:
            self._note(self._status, whole=True)
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
        answered_well(endpoint, self._started)
        lines = answer.lines if route.rules is None else route.rules.answer_lines(answer.lines)
        given = set_cookie(self._cookie, lines) if self._cookie else b""
        head = answer.start + lines + given + b"Connection: Upgrade\r\nUpgrade: " + answer.upgrade + b"\r\n\r\n"
        if self._access is not None:
            self._note(101, whole=True)
        self._state = _OVER
        self.listener.connections.discard(self)
        tunnel = Tunnel(self._context, self.listener, self._wire)
        tunnel.join(route, endpoint, upstream.wire, self._buffer, head + rest)

    # ---- the connection ----

    def on_drained(self) -> None:
        if self._state == _HEAD:
            self._next()
        elif self._upstream is not None:
            self._upstream.wire.resume()

    def on_lost(self) -> None:
        self._close()

    def on_connected(self) -> None: ...

    def on_refused(self, why: str) -> None: ...

    def expire(self) -> None:
        upstream = self._upstream
        if self._held is not None and self._route is not None:
            self._leave_queue()
            self._tell_none(self._route)
        elif upstream is not None and upstream.wire.connecting:
            upstream.give_up_connect()
        elif self._state == _HEAD and not self._buffer:
            self._close()
        elif self._state == _HEAD:
            self._refuse(Refusal(408, "the request's head did not come in time"))
        elif self._answered:
            self._close()
        elif self._state == _BODY:
            self._refuse(Refusal(408, "the request's body did not come in time"))
        else:
            if self._endpoint is not None and self._route is not None:
                self._endpoint.errors_upstream += 1
                self._route.failed(self._endpoint, Failure.BROKEN, self._context.loop.now)
            self._tell(504, "the endpoint did not answer in time")

    def wind_down(self) -> None:
        if self._state == _HEAD and not self._buffer:
            self._close()

    def _next(self) -> None:
        context, wire = self._context, self._wire
        self._state = _HEAD
        self._upstream = self._route = None
        self._answered = False
        self._attempts.forget()
        self._held_until = 0.0
        self.deadline = context.loop.now + context.limits.idle_s
        if wire.pending_bytes > HIGH_WATER_BYTES:
            wire.pause()  # it asks, but does not read
        elif self._input_ended and not self._buffer:
            self._finish()
        elif self._buffer:
            context.loop.soon(self._pipelined)
        elif context.draining or self.listener.closed:
            self._finish()
        elif wire.paused:
            wire.resume()

    def _pipelined(self) -> None:
        """Goes on with what came while the last request was answered."""
        if self._state == _HEAD and not self._wire.closed and self._buffer:
            self._wire.resume()
            data, self._buffer = self._buffer, b""
            self._head(data)
            if self._input_ended and self._state == _HEAD:
                self._close()

    def _refuse(self, refusal: Refusal) -> None:
        """Answers what was not understood, and ends the connection: where the next request begins is not known."""
        self._close_after = True
        if self._route is not None:
            self._route.refuse()
        elif self.listener.only is not None:
            self.listener.only.refuse()
        self._tell(refusal.status, refusal.why)

    def _leave_queue(self) -> None:
        if self._held is not None and self._route is not None:
            self._route.queue.leave(self)
        self._held = None

    def _tell(self, status: int, why: str, fields: bytes = b"") -> None:
        """Answers in the proxy's own name, with these further lines."""
        self._abandon()
        self._cookie = b""
        if self._answered:
            self._close()
            return
        if not self.sent_whole or self._context.draining or self.listener.closed:
            self._close_after = True
        connection = b"Connection: close\r\n" if self._close_after else b"" if self.minor else b"Connection: keep-alive\r\n"
        if self._access is not None:
            self._note(status, whole=True)
        self._wire.write(own_answer(status, why, connection, head_only=self.method == b"HEAD", fields=fields))
        if self._close_after:
            self._finish()
        else:
            self._next()

    def _release(self) -> None:
        """The endpoint is done with this request."""
        endpoint, route = self._endpoint, self._route
        if endpoint is not None:
            endpoint.in_flight -= 1
            self._endpoint = None
            if route is not None and route.queue.waiting:
                self._context.holding.settle(route)
        self._upstream = None

    def _abandon(self) -> None:
        self._leave_queue()
        upstream = self._upstream
        if upstream is not None:
            upstream.discard()
        self._release()

    def _finish(self) -> None:
        """Ends the connection such that the client can read all that was written."""
        self._state = _OVER
        self._buffer = b""
        self.listener.connections.discard(self)
        Lingering(self._context, self.listener, self._wire, input_ended=self._input_ended)

    def _close(self) -> None:
        if self._request is not None:
            self._note(self._status or _CLIENT_LEFT, whole=False)
        self._abandon()
        self._state = _OVER
        self.listener.connections.discard(self)
        self._wire.close()

    def _note(self, status: int, *, whole: bool) -> None:
        """Logs the request in hand, which is over; one that was not understood, too."""
        access, route, endpoint = self._access, self._route, self._endpoint
        assert access is not None
        access.note(
            entry_of(
                self._request,
                client=self._peer.decode(),
                status=status,
                sent_bytes=self._sent_bytes,
                duration_s=self._context.loop.now - self._started,
                service=f"{route.route.app}/{route.route.service}" if route is not None else "",
                endpoint=(endpoint.name, endpoint.replica_id) if endpoint is not None else ("", ""),
                request_id=self._request_id.decode(),
                is_whole=whole,
            )
        )
        self._request = None
        self._request_id = b""
        self._status = self._sent_bytes = 0
