"""A call's way to an endpoint over HTTP/2: whom it has been to, whom it goes to next, and whether it goes out again.

Invariant: an endpoint's `in_flight` counts a call from `reach` to `leave`, once.
"""

from rookery_proxy.balance import Context
from rookery_proxy.head import Refusal
from rookery_proxy.health import Failure
from rookery_proxy.http2_upstream import Caller, SharedLink, link_to
from rookery_proxy.live_endpoint import LiveEndpoint
from rookery_proxy.live_route import LiveRoute
from rookery_proxy.resend import MOST_TRIED
from rookery_proxy.tries import Tries


class Attempts(Tries):
    """Of one call. `endpoint` is who has it now, `latest` who had it last."""

    __slots__ = ("_context", "_shared", "endpoint", "latest", "since")

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context
        self._shared: SharedLink | None = None
        self.endpoint: LiveEndpoint | None = None
        self.latest: LiveEndpoint | None = None
        self.since = 0.0  # the loop's clock

    def reach(self, route: LiveRoute, call: Caller, point: float, key: bytes) -> bool:
        """Gives the call to an endpoint: on a connection that is there, or on a new one. Returns whether there was one."""
        found = self._reach(route, call, point, key)
        while not found and self._free_again():
            found = self._reach(route, call, point, key)
        return found

    def goes_again(self, route: LiveRoute, call: Caller, refusal: Refusal, *, is_free: bool, fresh: bool) -> bool:
        """Takes down that the endpoint did not answer. Returns whether the call is to go out again. `is_free`: that is no load
        which nobody asked for."""
        endpoint = self.endpoint
        if endpoint is None or not call.request.can_rewind or not self._may_resend():
            return False
        if not is_free and not route.spend_resend(self._context.loop.now):
            return False
        self._resend(endpoint, refusal, fresh=fresh)
        self.leave(route, call)
        call.request.rewind()
        return True

    def failed(self, route: LiveRoute, failure: Failure) -> None:
        if self.endpoint is not None:
            if failure is Failure.BROKEN:
                self.endpoint.errors_upstream += 1
            route.failed(self.endpoint, failure, self._context.loop.now)

    def leave(self, route: LiveRoute | None, call: Caller, cancel: int | None = None) -> None:
        """The endpoint has it no more; with a code it is told so."""
        endpoint, shared = self.endpoint, self._shared
        self.endpoint = self._shared = None
        if endpoint is not None:
            endpoint.in_flight -= 1
            if route is not None and route.queue.waiting:
                self._context.holding.settle(route)
        if shared is not None:
            shared.leave(call.request.target_stream, call, cancel)

    def _reach(self, route: LiveRoute, call: Caller, point: float, key: bytes) -> bool:
        now = self._context.loop.now
        while len(self.tried) < MOST_TRIED:
            endpoint = route.choose_at(point, now, self.tried, key)
            if endpoint is None:
                return False
            if endpoint.ejections:
                route.begin_trial(endpoint, now)
            try:
                shared = link_to(self._context, endpoint)
            except OSError as error:
                self.tried.append(endpoint)
                route.connect_failed(endpoint, now, error)
                continue
            endpoint.in_flight += 1
            endpoint.requests += 1
            self.endpoint = self.latest = endpoint
            self._shared, self.since = shared, now
            shared.take(call)
            return True
        return False
