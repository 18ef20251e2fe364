"""Knocks at endpoints that refused connections, so that they are back as soon as somebody is there.

Invariant: one connection at most to each of them at a time; nothing is sent on it.
"""

from rookery_proxy.balance import Context
from rookery_proxy.health import took_connection
from rookery_proxy.live_endpoint import LiveEndpoint, dial
from rookery_proxy.wire import Wire

KNOCK_S = 0.5


class Prober:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._knocks: dict[LiveEndpoint, _Knock] = {}

    def knock(self) -> None:
        """Tries the endpoints that are ejected for refusals. Call it every KNOCK_S."""
        now = self._context.loop.now
        for endpoint, knock in tuple(self._knocks.items()):
            if knock.until < now or endpoint.gone:
                knock.end()
        ejected = self._context.balance.activity.ejected
        for endpoint in tuple(ejected):
            if endpoint.gone or not endpoint.ejections:
                del ejected[endpoint]
            elif endpoint.refusing and endpoint not in self._knocks:
                self._begin(endpoint)

    def _begin(self, endpoint: LiveEndpoint) -> None:
        try:
            self._knocks[endpoint] = _Knock(self._context, endpoint, self._knocks)
        except OSError:
            return  # nobody is there yet


class _Knock:
    __slots__ = ("_endpoint", "_knocks", "_wire", "until")

    def __init__(self, context: Context, endpoint: LiveEndpoint, knocks: "dict[LiveEndpoint, _Knock]") -> None:
        self._endpoint = endpoint
        self._knocks = knocks
        self.until = context.loop.now + context.limits.connect_s
        self._wire = Wire(context.loop, dial(endpoint), self, connecting=True)

    def on_connected(self) -> None:
        took_connection(self._endpoint)
        self.end()

    def on_refused(self, why: str) -> None:  # noqa: ARG002
        self.end()

    def on_input(self) -> None: ...

    def on_drained(self) -> None: ...

    def on_lost(self) -> None:
        self.end()

    def end(self) -> None:
        self._knocks.pop(self._endpoint, None)
        self._wire.close()
