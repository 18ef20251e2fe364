"""One call of HTTP/2: from a client's stream to an endpoint of its own choice, and its answer back.

Invariant: an endpoint's `in_flight` counts a call from the choice to its end on either side; every way a call can end leads
through `Call.over`, once.
"""

import re
import time
from typing import Protocol
from urllib.parse import quote

from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from rookery_proxy.access import Entry, text_of
from rookery_proxy.balance import Context, LiveListener
from rookery_proxy.health import Failure, answered_well
from rookery_proxy.http2 import Body, Headers, Link
from rookery_proxy.http2_upstream import SharedLink, link_to
from rookery_proxy.live_endpoint import LiveEndpoint
from rookery_proxy.live_route import LiveRoute
from rookery_proxy.loop import Timer
from rookery_proxy.split import point_of
from rookery_proxy.sticky import value_in
from rookery_proxy.waiting import TOO_MANY

_MOST_TRIED = 5
_AUTHORITY = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%\-\[\]:]{1,255}")
_TARGET = re.compile(rb"/[!-\"$-~]*|\*")
_METHOD = re.compile(rb"[A-Z][A-Z0-9_\-]{0,31}")
_NOT_PASSED_ON = frozenset((
    b"x-forwarded-proto", b"x-forwarded-host", b"forwarded", b"proxy-authorization", b"proxy-connection", b"host",
))  # fmt: skip
# What a gRPC server says of failures of its own (https://grpc.github.io/grpc/core/md_doc_statuscodes.html): UNKNOWN, INTERNAL,
# UNAVAILABLE, DATA_LOSS. They come with status 200, and would be taken for answers as good as any.
_GRPC_FAILURES = frozenset((b"2", b"13", b"14", b"15"))
_GRPC_STATUS = {404: b"12", 503: b"14", 502: b"14", 400: b"13"}  # of what the proxy itself answers


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
        "_client", "_context", "_endpoint", "_headers", "_held_until", "_id", "_is_grpc", "_key", "_point", "_pseudo", "_route",
        "_seconds", "_shared", "_started", "_status", "_stream", "_timer", "_tried", "answer", "request",
    )  # fmt: skip

    def __init__(self, context: Context, client: Client, stream: int, headers: Headers) -> None:
        self._context = context
        self._client = client
        self._stream = stream
        self._pseudo = {name: value for name, value in headers if name[:1] == b":"}
        self._headers = [(name, value) for name, value in headers if name[:1] != b":"]
        self._is_grpc = any(n == b"content-type" and v.startswith(b"application/grpc") for n, v in self._headers)
        self._route: LiveRoute | None = None
        self._endpoint: LiveEndpoint | None = None
        self._shared: SharedLink | None = None
        self._tried: list[LiveEndpoint] = []
        self._held_until = 0.0  # the loop's clock; 0: it did not have to wait for an endpoint
        self._timer: Timer | None = None  # while it does
        self._point = 0.0
        self._key = b""
        self._id = b""
        self._started = context.loop.now
        self._seconds = 0.0  # to the answer's head
        self._status = 0  # of the answer, once it began
        self.request = Body(passed_on=_nothing, broke_off=self._request_broke_off)
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
        if self._endpoint is not None:
            self._endpoint.bytes_in += count
        self.request.pump()

    # ---- what the endpoint does

    def unsent(self) -> None:
        endpoint, route = self._endpoint, self._route
        assert endpoint is not None
        assert route is not None
        endpoint.in_flight -= 1
        endpoint.requests -= 1
        self._endpoint = self._shared = None
        if route.queue.waiting:
            self._context.holding.settle(route)
        route.connect_failed(endpoint, self._context.loop.now)
        self._tried.append(endpoint)
        self._place()

    def began(self, headers: Headers, *, interim: bool, ended: bool) -> None:
        status = next((value for name, value in headers if name == b":status"), b"")
        if not interim:
            self._status = int(status) if status.isdigit() and len(status) == 3 else 502
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

    def refused(self, code: int) -> None:
        if code not in (ErrorCodes.NO_ERROR, ErrorCodes.CANCEL, ErrorCodes.REFUSED_STREAM):
            self._count_broken()
        self._client.link.reset(self._stream, code)
        self.over()

    def lost(self) -> None:
        self._count_broken()
        if self._status:
            self._client.link.reset(self._stream, ErrorCodes.INTERNAL_ERROR)
            self.over()
        else:
            self._tell(502, "the endpoint closed the connection without an answer")

    # ---- the end

    def over(self, *, cancel: int | None = None) -> None:
        """It is; with a code the endpoint is told that nobody waits for it any more."""
        endpoint, shared, route = self._endpoint, self._shared, self._route
        self._endpoint = self._shared = None
        self._note(endpoint, whole=self.answer.done)
        self._leave_queue()
        if endpoint is not None:
            endpoint.in_flight -= 1
            if route is not None and route.queue.waiting:
                self._context.holding.settle(route)
        self.request.drop()
        self.answer.drop()
        if shared is not None:
            shared.leave(self.request.target_stream, self, cancel)
        self._client.forget(self._stream)

    def _place(self) -> None:
        """Gives it to an endpoint: on a connection that is there, or on a new one; or has it wait for one."""
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
        while len(self._tried) < _MOST_TRIED:
            endpoint = route.choose_at(self._point, now, self._tried, self._key)
            if endpoint is None:
                break
            if endpoint.ejections:
                route.begin_trial(endpoint, now)
            try:
                shared = link_to(self._context, endpoint)
            except OSError:
                self._tried.append(endpoint)
                route.connect_failed(endpoint, now)
                continue
            endpoint.in_flight += 1
            endpoint.requests += 1
            self._endpoint, self._shared = endpoint, shared
            shared.take(self)
            return
        until = route.wait_until(self._held_until, now, self._tried)
        if until and self._context.holding.wait_again(route, self, until):
            self._tried.clear()
            self._hold(until)
            return
        self._tell_none(route)

    def _tell_none(self, route: LiveRoute) -> None:
        """There is no endpoint for it, or none in time."""
        route.refuse()
        name = f"{route.route.app}/{route.route.service}"
        tried = f"{name}: none of the {len(self._tried)} endpoints that were tried took the connection"
        self._tell(503, tried if self._tried else route.why_none(), route.retry_after_s())

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
        endpoint = self._endpoint
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
        self.request.drop()  # the endpoint says by itself what becomes of the call

    def _answer_broke_off(self) -> None:
        self.over(cancel=ErrorCodes.CANCEL)

    def _count_broken(self) -> None:
        if self._endpoint is not None and self._route is not None:
            self._endpoint.errors_upstream += 1
            self._route.failed(self._endpoint, Failure.BROKEN, self._context.loop.now)

    def _tell(self, status: int, why: str, retry_after_s: int = 0) -> None:
        """Answers in the proxy's own name; a gRPC client in its own terms."""
        self._status = status
        conn, text = self._client.link.conn, (why + "\n").encode()
        try:
            if self._is_grpc:
                headers = [
                    (b":status", b"200"),
                    (b"content-type", b"application/grpc"),
                    (b"grpc-status", _GRPC_STATUS[status]),
                    (b"grpc-message", quote(why).encode()),
                ]
                conn.send_headers(self._stream, headers, end_stream=True)
            else:
                headers = [
                    (b":status", b"%d" % status),
                    (b"content-type", b"text/plain; charset=utf-8"),
                    (b"content-length", b"%d" % len(text)),
                ]
                if retry_after_s:
                    headers.append((b"retry-after", b"%d" % retry_after_s))
                conn.send_headers(self._stream, headers)
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
