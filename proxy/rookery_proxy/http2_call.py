"""One call of HTTP/2: from a client's stream to an endpoint of its own choice, and its answer back.

Invariant: an endpoint's `in_flight` counts a call from the choice to its end on either side; every way a call can end leads
through `Call.over`, once. A call goes out again only while nothing of an answer has come.
"""

import re
import time
from typing import Protocol

from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from rookery_proxy.access import Entry, text_of
from rookery_proxy.balance import Context, LiveListener
from rookery_proxy.head import Refusal
from rookery_proxy.health import Failure, answered_well
from rookery_proxy.http2 import Headers, Link
from rookery_proxy.http2_answer import Answer, own_answer
from rookery_proxy.http2_attempts import Attempts
from rookery_proxy.http2_body import Body
from rookery_proxy.live_endpoint import LiveEndpoint
from rookery_proxy.live_route import LiveRoute
from rookery_proxy.loop import Timer
from rookery_proxy.resend import IDEMPOTENT
from rookery_proxy.split import point_of
from rookery_proxy.sticky import value_in
from rookery_proxy.waiting import TOO_MANY

_AUTHORITY = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%\-\[\]:]{1,255}")
_TARGET = re.compile(rb"/[!-\"$-~]*|\*")
_METHOD = re.compile(rb"[A-Z][A-Z0-9_\-]{0,31}")
_NOT_PASSED_ON = frozenset((
    b"x-forwarded-proto", b"x-forwarded-host", b"forwarded", b"proxy-authorization", b"proxy-connection", b"host",
))  # fmt: skip
# What a gRPC server says of failures of its own (https://grpc.github.io/grpc/core/md_doc_statuscodes.html): UNKNOWN, INTERNAL,
# UNAVAILABLE, DATA_LOSS. They come with status 200, and would be taken for answers as good as any.
_GRPC_FAILURES = frozenset((b"2", b"13", b"14", b"15"))
# Codes of an endpoint's reset that say something of the call; the others are about the connection behind the proxy, or ask the
# client to do at the proxy what only the endpoint could mean. REFUSED_STREAM would be a lie once an answer began.
_PASSED_ON = frozenset((ErrorCodes.CANCEL, ErrorCodes.INTERNAL_ERROR, ErrorCodes.ENHANCE_YOUR_CALM))


class Client(Protocol):
    """The connection that a call came on, as it sees it."""

    listener: LiveListener
    peer: bytes
    scheme: bytes

    @property
    def link(self) -> Link: ...

    def stir(self) -> None:
        """Something happened: it is not idle."""

    def forget(self, stream: int) -> None:
        """That call is over."""


class Call:
    """One request and its answer."""

    __slots__ = (
        "_attempts", "_client", "_context", "_headers", "_held_until", "_id", "_is_grpc", "_judged", "_key", "_point", "_pseudo",
        "_route", "_seconds", "_started", "_status", "_stream", "_timer", "answer", "request",
    )  # fmt: skip

    def __init__(self, context: Context, client: Client, stream: int, headers: Headers) -> None:
        self._context = context
        self._client = client
        self._stream = stream
        self._pseudo = {name: value for name, value in headers if name[:1] == b":"}
        self._headers = [(name, value) for name, value in headers if name[:1] != b":"]
        self._is_grpc = any(n == b"content-type" and v.startswith(b"application/grpc") for n, v in self._headers)
        self._route: LiveRoute | None = None
        self._attempts = Attempts(context)
        self._held_until = 0.0  # the loop's clock; 0: it did not have to wait for an endpoint
        self._timer: Timer | None = None  # while it does
        self._point = 0.0
        self._key = b""
        self._id = b""
        self._started = context.loop.now
        self._seconds = 0.0  # to the answer's head
        self._status = 0  # of the answer, once it began
        self._judged = Answer(self._pseudo.get(b":method", b""))
        self.request = Body(passed_on=_nothing, broke_off=self._request_broke_off, keeps=True)
        self.request.come_from(client.link, stream)
        self.answer = Body(passed_on=self._answered, broke_off=self._answer_broke_off)
        self.answer.target, self.answer.target_stream = client.link, stream

    def begin(self) -> None:
        """Finds out where it goes, and sends it there."""
        target, authority, method = (self._pseudo.get(name, b"") for name in (b":path", b":authority", b":method"))
        authority = authority or next((value for name, value in self._headers if name == b"host"), b"")
        if not _METHOD.fullmatch(method) or not self._fits_length():
            self._tell(400, "the request's method or length is malformed")
            return
        if method == b"CONNECT" or not _TARGET.fullmatch(target) or (authority and not _AUTHORITY.fullmatch(authority)):
            self._tell(400, "the request's target or authority is malformed")
            return
        self._pseudo[b":authority"] = authority
        listener, block = self._client.listener, self._block()
        path = target.partition(b"?")[0].decode("ascii")
        route = self._route = listener.only or listener.find(authority.decode("ascii"), path, method, block)
        if route is None:
            self._tell(404, f"no route for {authority.decode()}{path}")
            return
        route.requests += 1
        if not route.touched:
            route.touch()
        if route.sides is not None:
            said = value_in(route.sides.sticky, block) if route.sides.sticky is not None else b""
            self._point = point_of(said, route.sides.salt) if said else route.draw()
        if route.pool is not None:
            self._key = route.key_of(block, self._client.peer)
        self._place()

    def _fits_length(self) -> bool:
        """Whether a request that is over with its head says so; with a body it is counted by the library."""
        return not self.request.ended or all(value == b"0" for name, value in self._headers if name == b"content-length")

    def request_headers(self) -> Headers:
        pseudo, peer = self._pseudo, self._client.peer
        before = b", ".join(value for name, value in self._headers if name == b"x-forwarded-for")
        made = [
            (b":method", pseudo[b":method"]),
            (b":scheme", b"http"),
            (b":authority", pseudo[b":authority"]),
            (b":path", pseudo[b":path"]),
        ]
        left_out = _NOT_PASSED_ON | {b"x-forwarded-for"}
        ids = self._context.ids
        if ids is not None:
            self._id, _ = ids.choose([value for name, value in self._headers if name == b"x-request-id"])
            made.append((b"x-request-id", self._id))
            left_out |= {b"x-request-id", b"x_request_id"}
        made += [(name, value) for name, value in self._headers if name not in left_out]
        made += [
            (b"x-forwarded-for", before + b", " + peer if before else peer),
            (b"x-forwarded-proto", self._client.scheme),
            (b"x-forwarded-host", pseudo[b":authority"]),
        ]
        return made

    def send_on(self, count: int) -> None:
        """More of the request came, with so many bytes of its body."""
        endpoint = self._attempts.endpoint
        if endpoint is not None:
            endpoint.bytes_in += count
        self.request.pump()

    # ---- what the endpoint does

    def unsent(self) -> None:
        attempts, route = self._attempts, self._route
        endpoint = attempts.endpoint
        assert endpoint is not None
        assert route is not None
        endpoint.requests -= 1
        attempts.leave(route, self)
        route.connect_failed(endpoint, self._context.loop.now)
        attempts.tried.append(endpoint)
        self._place()

    def began(self, headers: Headers, *, interim: bool, ended: bool) -> None:
        try:
            if interim:
                self._judged.interim(headers)
            else:
                self._judged.head(headers, ended=ended)
        except Refusal as refusal:
            self._refuse(refusal)
            return
        self.request.keep_no_more()
        if not interim:
            self._status = self._judged.status
            self._seconds = self._context.loop.now - self._started
        try:
            self._client.link.conn.send_headers(self._stream, headers, end_stream=ended)
        except ProtocolError:
            self.over(cancel=ErrorCodes.CANCEL)
            return
        self._client.link.flush()
        self._client.stir()
        if ended:
            self.answer.trailers = headers  # what is told at the end is told here: a gRPC server's failure, for one
            self.answer.ended = self.answer.done = True
            self._answered()

    def more(self, data: bytes, padding: int) -> None:
        self.answer.put(data, padding)
        try:
            self._judged.more(len(data))
        except Refusal as refusal:
            self._refuse(refusal)
            return
        self.answer.pump()

    def ended(self) -> None:
        try:
            self._judged.end()
        except Refusal as refusal:
            self._refuse(refusal)
            return
        self.answer.ended = True
        self.answer.pump()

    def untaken(self) -> None:
        if not self.answer.ended:
            refusal = Refusal(503, "the endpoint ends its connections without a look at what is asked")
            if not self._goes_again(refusal, is_free=True):
                self._break(refusal)

    def refused(self, code: int) -> None:
        if self.answer.ended:  # it wants no more of the request
            return
        if code == ErrorCodes.REFUSED_STREAM and not self._judged.has_begun:
            refusal = Refusal(503, "the endpoint refuses to take more calls")
            self._failed(Failure.GATEWAY)
            if not self._goes_again(refusal):
                self._break(refusal)
            return
        if code != ErrorCodes.CANCEL:
            self._failed(Failure.BROKEN)
        name = ErrorCodes(code).name if code in set(ErrorCodes) else f"error {code:#x}"
        reset = code if code in _PASSED_ON else ErrorCodes.INTERNAL_ERROR
        self._break(Refusal(502, f"the endpoint ended the call: {name}"), reset=reset)

    def malformed(self, why: str) -> None:
        self._failed(Failure.BROKEN)
        self._break(Refusal(502, why))

    def lost(self, why: str, *, fresh: bool) -> None:
        if self.answer.ended:  # and goes on to the client
            return
        self._failed(Failure.BROKEN)
        refusal = Refusal(502, f"the connection to the endpoint ended without an answer: {why}")
        if self._pseudo[b":method"] not in IDEMPOTENT or not self._goes_again(refusal, fresh=fresh):
            self._break(refusal)

    def look_at_the_clock(self) -> None:
        waited_s = self._context.loop.now - self._attempts.since
        if not self._is_grpc and self.request.done and not self._status and waited_s > self._context.limits.answer_s:
            self._refuse(Refusal(504, "the endpoint did not answer in time"), ErrorCodes.CANCEL)

    def _goes_again(self, refusal: Refusal, *, is_free: bool = False, fresh: bool = False) -> bool:
        route = self._route
        if route is None or self._judged.has_begun:
            return False
        if not self._attempts.goes_again(route, self, refusal, is_free=is_free, fresh=fresh):
            return False
        self._place()
        return True

    def _refuse(self, refusal: Refusal, code: int = ErrorCodes.PROTOCOL_ERROR) -> None:
        """The answer is none that could go on: the endpoint is told so by that code."""
        self._failed(Failure.BROKEN)
        self._break(refusal, cancel=code)

    def _break(self, refusal: Refusal, *, cancel: int | None = None, reset: int = 0) -> None:
        """There is no (whole) answer. `reset` is the code by which a gRPC client is told so, as the endpoint told it."""
        self._attempts.leave(self._route, self, cancel)
        if self._status or (reset and self._is_grpc):
            self._client.link.reset(self._stream, reset or ErrorCodes.INTERNAL_ERROR)
            self.over()
        else:
            self._tell(refusal.status, refusal.why)

    def _failed(self, failure: Failure) -> None:
        if self._route is not None:
            self._attempts.failed(self._route, failure)

    # ---- the end

    def over(self, *, cancel: int | None = None) -> None:
        """It is; with a code the endpoint is told that nobody waits for it any more."""
        self._note(self._attempts.latest, whole=self.answer.done)
        self._leave_queue()
        self.request.drop()
        self.answer.drop()
        self._attempts.leave(self._route, self, cancel)
        self._client.forget(self._stream)

    def _place(self) -> None:
        """Gives it to an endpoint, or has it wait for one."""
        route, now = self._route, self._context.loop.now
        assert route is not None
        if route.patience is not None and not self._held_until:
            wait_s = self._context.holding.wait(route, self)
            if wait_s == TOO_MANY:
                self._tell_none(route)
                return
            if wait_s:
                self._hold(now + wait_s)
                return
        attempts = self._attempts
        if attempts.reach(route, self, self._point, self._key):
            return
        if attempts.why_broke is not None:
            self._tell(attempts.why_broke.status, attempts.why_broke.why)
            return
        until = route.wait_until(self._held_until, now, attempts.tried)
        if until and self._context.holding.wait_again(route, self, until):
            attempts.tried.clear()
            self._hold(until)
            return
        self._tell_none(route)

    def _tell_none(self, route: LiveRoute) -> None:
        """There is no endpoint for it, or none in time."""
        route.refuse()
        name = f"{route.route.app}/{route.route.service}"
        count = len(self._attempts.tried)
        tried = f"{name}: none of the {count} endpoints that were tried took the connection"
        self._tell(503, tried if count else route.why_none(), route.retry_after_s())

    # ---- waiting

    def _hold(self, until: float) -> None:
        self._held_until = until
        self._timer = self._context.loop.after(until - self._context.loop.now, self.give_up)

    def go_on(self) -> None:
        if self._timer is not None:
            self._leave_queue()
            self._place()

    def give_up(self) -> None:
        if self._timer is not None and self._route is not None:
            self._leave_queue()
            self._tell_none(self._route)

    def _leave_queue(self) -> None:
        if self._timer is not None and self._route is not None:
            self._timer.cancel()
            self._timer = None
            self._route.queue.leave(self)

    def _answered(self) -> None:
        """The answer was passed on to its end."""
        endpoint = self._attempts.endpoint
        if endpoint is not None:
            status = self._status
            trailers = dict(self.answer.trailers or ())
            if self._is_grpc and trailers.get(b"grpc-status") in _GRPC_FAILURES:
                status = 500
            endpoint.answered(status, self._seconds)
            if 502 <= status <= 504 and self._route is not None:
                self._route.failed(endpoint, Failure.GATEWAY, self._context.loop.now)
            elif endpoint.failures:
                answered_well(endpoint, self._started)
        whole = self.request.done
        self.over(cancel=None if whole else ErrorCodes.NO_ERROR)
        if not whole:
            self._client.link.reset(self._stream, ErrorCodes.NO_ERROR)  # the rest of the request is not wanted

    def _request_broke_off(self) -> None:
        self.request.target = None  # the endpoint says by itself what becomes of the call

    def _answer_broke_off(self) -> None:
        self.over(cancel=ErrorCodes.CANCEL)

    def _tell(self, status: int, why: str, retry_after_s: int = 0) -> None:
        """Answers in the proxy's own name; a gRPC client in its own terms."""
        self._status = status
        headers, text = own_answer(status, why, retry_after_s, is_grpc=self._is_grpc)
        try:
            self._client.link.conn.send_headers(self._stream, headers, end_stream=not text)
            if text:
                self.answer.put(text, 0)
                self.answer.ended = True
                self.answer.pump()
                return
        except ProtocolError:
            pass
        self._client.link.flush()
        self.answer.done = True
        self.over()

    def _block(self) -> bytes:
        """The header fields as HTTP/1 has them, for what looks into them."""
        return b"".join(b"%b: %b\r\n" % field for field in self._headers)

    def _note(self, endpoint: LiveEndpoint | None, *, whole: bool) -> None:
        access, route = self._context.access, self._route
        if access is None:
            return
        said = dict(self._headers)
        access.note(
            Entry(
                at=time.time(),
                client=self._client.peer.decode(),
                method=text_of(self._pseudo.get(b":method", b"")),
                host=text_of(self._pseudo.get(b":authority", b"")),
                target=text_of(self._pseudo.get(b":path", b"")),
                version="HTTP/2",
                status=self._status or 499,
                sent_bytes=self.answer.sent_bytes,
                duration_s=self._context.loop.now - self._started,
                service=f"{route.route.app}/{route.route.service}" if route is not None else "",
                endpoint=endpoint.name if endpoint is not None else "",
                replica=endpoint.replica_id if endpoint is not None else "",
                referer=text_of(said.get(b"referer", b"")),
                user_agent=text_of(said.get(b"user-agent", b"")),
                request_id=self._id.decode(),
                is_whole=whole,
            )
        )


def _nothing() -> None:
    """The request's end alone is not the call's."""
