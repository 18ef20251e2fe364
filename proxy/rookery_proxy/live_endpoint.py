"""An endpoint as a worker knows it: what is in flight on it, what is idle, what it counted.

Invariant: one that left the table (`gone`) has no idle connection, and takes no new call on those that calls share.
"""

import functools
import ipaddress
import socket
from bisect import bisect_left
from typing import Protocol

from rookery.model import Endpoint, EndpointStats, RouteId

from rookery_proxy.answer import Answer
from rookery_proxy.stats import LATENCY_BOUNDS_S

# A host that is gone without a word is noticed after half a minute of silence.
_OF_ENDPOINTS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


class Pooled(Protocol):
    """An idle connection to an endpoint."""

    idle_since: float

    def discard(self) -> None: ...

    def is_stale(self) -> bool: ...


class Shared(Protocol):
    """A connection to an endpoint that several calls share."""

    def retire(self) -> None:
        """Takes no call any more, and ends with its last one."""

    def look_after(self, idle_before: float) -> None:
        """Call it about once a second: it ends if it has been idle since then, and calls that wait for too long end."""


class LiveEndpoint:
    __slots__ = (
        "address",
        "answer",
        "answer_head",
        "bytes_in",
        "bytes_out",
        "ejected_at",
        "ejected_until",
        "ejections",
        "errors_connect",
        "errors_upstream",
        "failures",
        "family",
        "gone",
        "idle",
        "in_flight",
        "latency_counts",
        "latency_sum_s",
        "name",
        "place",
        "refusing",
        "replica_id",
        "requests",
        "responses",
        "revision",
        "route_id",
        "shared",
        "since",
        "times_ejected",
        "weight",
    )  # fmt: skip

    def __init__(self, route_id: RouteId, endpoint: Endpoint, now: float) -> None:
        self.route_id = route_id
        self.since = now
        self.weight = endpoint.weight
        self.place = endpoint.place
        self.replica_id = endpoint.replica_id
        self.revision = endpoint.revision
        self.family, self.address = _resolve(endpoint.address, endpoint.port)
        self.name = f"{endpoint.address}:{endpoint.port}"
        self.idle: list[Pooled] = []
        self.shared: list[Shared] = []
        self.in_flight = 0
        self.ejected_until = 0.0  # this and the next four are health.py's
        self.ejected_at = 0.0
        self.failures = 0
        self.ejections = 0
        self.refusing = False
        self.gone = False
        self.requests = 0
        self.errors_connect = 0
        self.errors_upstream = 0
        self.times_ejected = 0
        self.answer_head = b""  # the latest, to a request other than HEAD
        self.answer: Answer | None = None  # what it says: an endpoint often says the same to many
        self.responses = [0] * 6  # by the status's first digit
        self.bytes_in = 0
        self.bytes_out = 0
        self.latency_counts = [0] * (len(LATENCY_BOUNDS_S) + 1)
        self.latency_sum_s = 0.0

    @property
    def was_asked(self) -> bool:
        """Whether there is anything to tell of it."""
        return bool(self.requests or self.in_flight or self.errors_connect)

    def leave(self) -> None:
        self.gone = True
        idle, self.idle = self.idle, []
        for connection in idle:
            connection.discard()
        for shared in tuple(self.shared):
            shared.retire()

    def answered(self, status: int, seconds: float) -> None:
        self.responses[status // 100] += 1
        self.latency_counts[bisect_left(LATENCY_BOUNDS_S, seconds)] += 1
        self.latency_sum_s += seconds

    def stats(self) -> EndpointStats:
        return EndpointStats(
            replica_id=self.replica_id,
            route_id=self.route_id,
            requests=self.requests,
            in_flight=self.in_flight,
            errors_connect=self.errors_connect,
            errors_upstream=self.errors_upstream,
            ejections=self.times_ejected,
            responses_2xx=self.responses[2],
            responses_3xx=self.responses[3],
            responses_4xx=self.responses[4],
            responses_5xx=self.responses[5],
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            latency_counts=tuple(self.latency_counts),
            latency_sum_s=self.latency_sum_s,
            revision=self.revision,
        )


def dial(endpoint: LiveEndpoint) -> socket.socket:
    """A socket on its way to an endpoint. Raises OSError when that fails at once."""
    sock = socket.socket(endpoint.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        for level, option, value in _OF_ENDPOINTS:
            sock.setsockopt(level, option, value)
        sock.connect(endpoint.address)
    except BlockingIOError:
        pass
    except OSError:
        sock.close()
        raise
    return sock


@functools.lru_cache(maxsize=4096)
def _resolve(address: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        version = ipaddress.ip_address(address).version
        return (socket.AF_INET if version == 4 else socket.AF_INET6), (address, port)
    except ValueError:
        pass
    try:
        family, _, _, _, found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        return family, (str(found[0]), port)
    except OSError:
        return socket.AF_INET, ("0.0.0.0", 0)  # every connect fails, and is counted as such
