"""A client's connection joined to an endpoint's, byte for byte: TCP routes, and HTTP connections after an upgrade.

Invariant: neither side is read faster than the other takes it; the end of one side's output reaches the other, after all of it.
"""

from rookery_proxy.announce import header
from rookery_proxy.balance import Context, LiveListener
from rookery_proxy.health import took_connection
from rookery_proxy.live_endpoint import LiveEndpoint, dial
from rookery_proxy.live_route import LiveRoute
from rookery_proxy.waiting import TOO_MANY
from rookery_proxy.wire import HIGH_WATER_BYTES, Wire

_MOST_ATTEMPTS = 5


class _Side:
    """One of the two connections of a tunnel, as the owner of its wire."""

    __slots__ = ("ended", "finish_after", "is_client", "other", "tunnel", "wire")

    other: "_Side"

    def __init__(self, tunnel: "Tunnel", wire: Wire | None, *, is_client: bool) -> None:
        self.tunnel = tunnel
        self.wire = wire
        self.is_client = is_client
        self.ended = False  # its input has ended
        self.finish_after = False  # shut its output when that is written
        if wire is not None:
            wire.owner = self

    def on_input(self) -> None:
        wire, other = self.wire, self.other
        assert wire is not None
        data = wire.read()
        if data is None:
            return
        tunnel = self.tunnel
        context, endpoint = tunnel.context, tunnel.endpoint
        tunnel.deadline = context.loop.now + context.limits.tunnel_s
        if not data:
            self.ended = True
            wire.pause()
            tunnel.input_ended(self)
            return
        if endpoint is None:
            pass
        elif self.is_client:
            endpoint.bytes_in += len(data)
        else:
            endpoint.bytes_out += len(data)
        out = other.wire
        if out is None:
            tunnel.early.append(data)
            return
        out.write(data)
        if out.pending_bytes > HIGH_WATER_BYTES:
            wire.pause()

    def on_drained(self) -> None:
        if self.finish_after and self.wire is not None:
            self.finish_after = False
            self.wire.finish()
        if self.ended and self.other.ended:
            self.tunnel.settle()
        elif not self.other.ended and self.other.wire is not None:
            self.other.wire.resume()

    def on_lost(self) -> None:
        self.tunnel.close()

    def on_connected(self) -> None:
        self.tunnel.connected()

    def on_refused(self, why: str) -> None:  # noqa: ARG002 (the counts say it)
        self.tunnel.refused()


class Tunnel:
    """In flight on its endpoint for as long as it is open."""

    __slots__ = (
        "_client", "_held_until", "_is_held", "_key", "_point", "_route", "_tried", "_upstream", "closed",
        "context", "deadline", "early", "endpoint", "listener",
    )  # fmt: skip

    def __init__(self, context: Context, listener: LiveListener, client: Wire) -> None:
        self.context = context
        self.listener = listener
        self.closed = False
        self.early: list[bytes] = []  # of the client, before there is an endpoint
        self.deadline = context.loop.now + context.limits.connect_s
        self.endpoint: LiveEndpoint | None = None
        self._route: LiveRoute | None = None
        self._is_held = False  # it waits for an endpoint
        self._held_until = 0.0  # the loop's clock; 0: it did not have to wait
        self._point = 0.0  # between the sides of a split
        self._key = b""  # what is hashed
        self._tried: list[LiveEndpoint] = []
        self._client = _Side(self, client, is_client=True)
        self._upstream = _Side(self, None, is_client=False)
        self._client.other, self._upstream.other = self._upstream, self._client
        listener.connections.add(self)

    def open(self, route: LiveRoute | None, data: bytes) -> None:
        """Begins a TCP connection to one of the route's endpoints, with what the client has said already."""
        if route is None:
            self.close()
            return
        self._route = route
        route.requests += 1
        if not route.touched:
            route.touch()
        route.connections += 1
        if route.route.proxy_protocol and self._client.wire is not None:
            self.early.append(header(route.route.proxy_protocol, *self._client.wire.ends()))
        if route.sides is not None:
            self._point = route.draw()
        if data:
            self.early.append(data)
        assert self._client.wire is not None
        if route.pool is not None:
            self._key = route.key_of(b"", self._client.wire.peer())
        self._client.wire.pause()  # until there is an endpoint that takes it
        wait_s = self.context.holding.wait(route, self)
        if wait_s == TOO_MANY:
            route.refuse()
            self.close()
        elif wait_s:
            self._is_held = True
            self._held_until = self.deadline = self.context.loop.now + wait_s
        else:
            self._dial()

    def join(self, route: LiveRoute, endpoint: LiveEndpoint, upstream: Wire, from_client: bytes, from_upstream: bytes) -> None:
        """Takes an upgraded HTTP connection over; the endpoint counts it as in flight already."""
        self._route, self.endpoint = route, endpoint
        route.connections += 1
        if not route.touched:
            route.touch()
        self._upstream.wire = upstream
        upstream.owner = self._upstream
        self.deadline = self.context.loop.now + self.context.limits.tunnel_s
        assert self._client.wire is not None
        if from_upstream:
            self._client.wire.write(from_upstream)
        if from_client:
            upstream.write(from_client)
        self._client.wire.resume()
        upstream.resume()

    def connected(self) -> None:
        assert self.endpoint is not None
        took_connection(self.endpoint)
        self._tried.clear()
        self.deadline = self.context.loop.now + self.context.limits.tunnel_s
        if not self._client.ended and self._client.wire is not None:
            self._client.wire.resume()

    def refused(self) -> None:
        """An endpoint did not take the connection: nothing was sent, so another may have it."""
        if self._upstream.wire is not None:
            unsent = self._upstream.wire.take_pending()
            self._upstream.wire.close()
            self._upstream.wire = None
            if unsent:
                self.early.insert(0, unsent)
        self._release(failed=True)
        self._dial()

    def input_ended(self, side: _Side) -> None:
        out = side.other.wire
        if out is None:
            self.close()
            return
        if out.pending_bytes:
            side.other.finish_after = True
        else:
            out.finish()
        if side.other.ended:
            self.settle()

    def settle(self) -> None:
        """Both inputs have ended: all is closed when what is left is written."""
        if any(side.wire is not None and side.wire.pending_bytes for side in (self._client, self._upstream)):
            self.deadline = min(self.deadline, self.context.loop.now + self.context.limits.stall_s)
        else:
            self.close()

    def expire(self) -> None:
        upstream = self._upstream.wire
        if self._is_held and self._route is not None:
            self._route.refuse()
            self.close()
        elif upstream is not None and upstream.connecting:
            self.refused()
        else:
            self.close()

    def wind_down(self) -> None:
        """An open connection is in flight: it goes on until either side ends it."""

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.listener.connections.discard(self)
        for side in (self._client, self._upstream):
            if side.wire is not None:
                side.wire.close()
        if self._route is not None:
            if self._is_held:
                self._route.queue.leave(self)
                self._is_held = False
            self._route.connections -= 1
        self._release(failed=False)

    def go_on(self) -> None:
        """There is an endpoint for it now."""
        if not self._is_held or self.closed:
            return
        self._is_held = False
        if self._route is not None and self._route.sides is not None:
            self._point = self._route.draw()
        self._dial()

    def give_up(self) -> None:
        self.expire()

    def _dial(self) -> None:
        route, now = self._route, self.context.loop.now
        assert route is not None
        while len(self._tried) < _MOST_ATTEMPTS:
            endpoint = route.choose_at(self._point, now, self._tried, self._key)
            if endpoint is None:
                break
            endpoint.in_flight += 1
            self.endpoint = endpoint
            try:
                sock = dial(endpoint)
            except OSError as error:
                self._release(failed=True, error=error)
                continue
            endpoint.requests += 1
            upstream = self._upstream.wire = Wire(self.context.loop, sock, self._upstream, connecting=True)
            self.deadline = now + self.context.limits.connect_s
            for data in self.early:
                upstream.write(data)
            self.early.clear()
            return
        until = route.wait_until(self._held_until, now, self._tried)
        if until and self.context.holding.wait_again(route, self, until):
            self._tried.clear()
            self._is_held = True
            self._held_until = self.deadline = until
            return
        route.refuse()
        self.close()

    def _release(self, *, failed: bool, error: OSError | None = None) -> None:
        endpoint = self.endpoint
        if endpoint is None:
            return
        self.endpoint = None
        endpoint.in_flight -= 1
        route = self._route
        if route is None:
            return
        if route.queue.waiting:
            self.context.holding.settle(route)
        if failed:
            self._tried.append(endpoint)
            route.connect_failed(endpoint, self.context.loop.now, error)
