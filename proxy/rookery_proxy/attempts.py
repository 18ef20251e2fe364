"""A request's way to an endpoint: whom it has been to, on which connection it goes next, and whether it goes out again.

Invariant: the endpoint is one of the route as it is now; one that was tried is not chosen again while there is another.
"""

from rookery_proxy.balance import Context
from rookery_proxy.head import Refusal
from rookery_proxy.live_endpoint import LiveEndpoint, dial
from rookery_proxy.live_route import LiveRoute
from rookery_proxy.pick import pick
from rookery_proxy.resend import MOST_TRIED
from rookery_proxy.tries import Tries
from rookery_proxy.upstream import Asker, Upstream


class Attempts(Tries):
    """Of the request that a connection has in hand."""

    __slots__ = ("key", "point", "replay")

    def __init__(self) -> None:
        super().__init__()
        self.replay: bytes | None = None  # the request, if it may go out again
        self.point = 0.0  # between the sides of a split
        self.key = b""  # what is hashed

    def forget(self) -> None:
        """The next request begins."""
        if self.tried or self._resends:
            self.tried.clear()
            self._broke.clear()
            self._resends = self._fresh_breaks = 0
            self.why_broke = None

    def reach(self, context: Context, route: LiveRoute, asker: Asker) -> Upstream | str:
        """The connection to send it on, idle until now or just being made; or why there is none."""
        if self.replay is not None and route.pool is None and route.sides is None and not self.tried and not self._resends:
            # Nearly all requests go this way; what the loop below does beside is not for them.
            endpoint = pick(route.endpoints, route.random(), route.random(), context.loop.now)
            if endpoint is not None and endpoint.idle and not endpoint.ejections:
                kept = endpoint.idle.pop()
                assert isinstance(kept, Upstream)
                kept.reuse(asker)
                return kept
        upstream = self._reach(context, route, asker)
        while isinstance(upstream, str) and self._free_again():
            upstream = self._reach(context, route, asker)
        return upstream

    def goes_again(self, route: LiveRoute, endpoint: LiveEndpoint, refusal: Refusal, now: float, *, fresh: bool) -> bool:
        """Takes down that it broke at that endpoint, without a byte of an answer. Returns whether it is to go out again."""
        if self.replay is None or not self._may_resend() or not route.spend_resend(now):
            return False
        self._resend(endpoint, refusal, fresh=fresh)
        return True

    def _reach(self, context: Context, route: LiveRoute, asker: Asker) -> Upstream | str:
        now, tried = context.loop.now, self.tried
        why = ""
        while len(tried) < MOST_TRIED:
            if route.sides is None:
                endpoint = route.choose(now, tried, self.key)
            else:
                endpoint = route.choose_at(self.point, now, tried, self.key)
            if endpoint is None:
                break
            if endpoint.ejections:
                route.begin_trial(endpoint, now)
            idle = endpoint.idle
            while idle:
                upstream = idle.pop()
                # To look first costs a system call: only for what can't go out again, or just found how stale connections are.
                if (self.replay is None or self._resends) and upstream.is_stale():
                    upstream.discard()
                    continue
                assert isinstance(upstream, Upstream)
                upstream.reuse(asker)
                return upstream
            try:
                sock = dial(endpoint)
            except OSError as error:
                why = error.strerror or str(error)
                tried.append(endpoint)
                route.connect_failed(endpoint, now, error)
                continue
            return Upstream(context, endpoint, sock, asker)
        return why
