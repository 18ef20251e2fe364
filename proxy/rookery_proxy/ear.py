"""A connection to an endpoint on which nobody has said anything: it hears whether the server is the first to speak.

Invariant: nothing is sent on it, so it is not in flight on its endpoint; no stop waits for it, and it may be given up
at any time.
"""

from collections.abc import Callable

from rookery_proxy.balance import Context, LiveListener
from rookery_proxy.live_endpoint import LiveEndpoint, dial
from rookery_proxy.live_route import LiveRoute
from rookery_proxy.wire import Wire

_MOST_ATTEMPTS = 5


class Ear:
    """Calls `heard` with the server's first bytes, `deaf` when no endpoint can be listened to any more."""

    __slots__ = ("_context", "_deaf", "_heard", "_listener", "_peer", "_tried", "deadline", "endpoint", "route", "wire")

    def __init__(
        self, context: Context, listener: LiveListener, peer: bytes, *, heard: Callable[[bytes], None], deaf: Callable[[], None]
    ) -> None:
        self._context = context
        self._listener = listener
        self._peer = peer
        self._heard = heard
        self._deaf = deaf
        self._tried: list[LiveEndpoint] = []
        self.route: LiveRoute | None = None
        self.endpoint: LiveEndpoint | None = None
        self.wire: Wire | None = None
        self.deadline = 0.0

    def listen(self) -> None:
        """Connects to an endpoint, or to the next one."""
        now = self._context.loop.now
        route = self.route = self._listener.first()
        while route is not None and len(self._tried) < _MOST_ATTEMPTS:
            endpoint = route.choose(now, self._tried, route.key_of(b"", self._peer))
            if endpoint is None:
                break
            try:
                sock = dial(endpoint)
            except OSError as error:
                self._refused_by(route, endpoint, error)
                continue
            self.endpoint = endpoint
            self.wire = Wire(self._context.loop, sock, self, connecting=True)
            self.deadline = now + self._context.limits.connect_s
            return
        if route is not None:
            route.refuse()
        self._deaf()

    def close(self) -> None:
        if self.wire is not None:
            self.wire.close()
            self.wire = None

    def expire(self) -> None:
        """The deadline passed: the endpoint does not take the connection, or has been silent for too long."""
        if self.wire is not None and self.wire.connecting:
            self.on_refused("")
        else:
            self._deaf()

    def on_input(self) -> None:
        assert self.wire is not None
        data = self.wire.read()
        if data is None:
            return
        if data:
            self._heard(data)
        elif self.endpoint is not None and self.endpoint.gone:  # it stopped: the client need not know
            self.close()
            self.listen()
        else:
            self._deaf()

    def on_connected(self) -> None:
        assert self.endpoint is not None
        self.endpoint.failures = 0
        self._tried.clear()
        self.deadline = self._context.loop.now + self._context.limits.tunnel_s

    def on_refused(self, why: str) -> None:  # noqa: ARG002 (the counts say it)
        self.close()
        assert self.route is not None
        assert self.endpoint is not None
        self._refused_by(self.route, self.endpoint)
        self.listen()

    def on_drained(self) -> None: ...

    def on_lost(self) -> None:
        self._deaf()

    def _refused_by(self, route: LiveRoute, endpoint: LiveEndpoint, error: OSError | None = None) -> None:
        self._tried.append(endpoint)
        route.connect_failed(endpoint, self._context.loop.now, error)
