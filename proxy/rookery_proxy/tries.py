"""Which endpoints a request has been to, and what became of it there: the same for HTTP/1 and HTTP/2."""

from rookery_proxy.head import Refusal
from rookery_proxy.live_endpoint import LiveEndpoint
from rookery_proxy.resend import free_again, may_resend


class Tries:
    """`why_broke` is the latest reason why one that took the request did not answer it."""

    __slots__ = ("_broke", "_fresh_breaks", "_resends", "tried", "why_broke")

    def __init__(self) -> None:
        self.tried: list[LiveEndpoint] = []
        self._broke: list[LiveEndpoint] = []  # of those, the ones that took the request
        self._resends = 0
        self._fresh_breaks = 0  # of connections on which nothing was ever answered
        self.why_broke: Refusal | None = None

    def _may_resend(self) -> bool:
        return may_resend(self._resends, self._fresh_breaks)

    def _resend(self, endpoint: LiveEndpoint, refusal: Refusal, *, fresh: bool) -> None:
        """It goes out again, since it broke at that endpoint."""
        self._resends += 1
        self._fresh_breaks += fresh
        self.why_broke = refusal
        self.tried.append(endpoint)
        self._broke.append(endpoint)

    def _free_again(self) -> bool:
        """All were tried: those that took the request may have it again. Returns whether there are any."""
        if not self._broke:
            return False
        self.tried, self._broke = free_again(self.tried, self._broke)
        return True
