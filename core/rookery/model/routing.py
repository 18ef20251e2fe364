"""What proxies listen for, and what they tell of it."""

from dataclasses import dataclass
from enum import StrEnum

from rookery.model.balancing import Balancing
from rookery.model.http_rules import HttpRules
from rookery.model.ids import ReplicaId, RouteId
from rookery.model.replica import Endpoint


class ListenProtocol(StrEnum):
    DETECT = ""  # found from the first bytes
    HTTP = "http"
    TCP = "tcp"
    UDP = "udp"
    HTTP2 = "http2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """`share` percent of a route's requests go to the endpoints of `replica_ids`, the others to the rest.

    Requests with the same value of the sticky cookie or header go to the same side; a client without the cookie is given one.
    """

    share: int
    replica_ids: tuple[ReplicaId, ...] = ()
    sticky_cookie: str = ""
    sticky_header: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """How long requests wait for an endpoint while there is none, and how many at a time in each worker of a proxy."""

    timeout_s: float
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A port, host and path that the proxies listen for, and the ready endpoints behind it; an empty host or path is any.

    Without a `split` all endpoints get their equal part; without a `hold` requests are refused while there is no endpoint.
    With `acme` the certificate of the host comes from the manager. An `answer` is what the proxies say themselves, with 200.
    """

    id: RouteId
    app: str
    service: str
    port: int
    protocol: ListenProtocol = ListenProtocol.DETECT
    host: str = ""
    path: str = ""
    strip_path: bool = False
    endpoints: tuple[Endpoint, ...] = ()
    why_empty: str = ""
    split: Split | None = None
    rules: HttpRules = HttpRules()
    balancing: Balancing = Balancing()
    proxy_protocol: int = 0
    tls: bool = False
    hold: Hold | None = None
    acme: bool = False
    answer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTable:
    version: int = 0
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointStats:
    """Counts since the proxy started, but for `in_flight`, which is now; latencies per bucket of the report's bounds."""

    replica_id: ReplicaId
    route_id: RouteId
    requests: int = 0
    in_flight: int = 0
    errors_connect: int = 0
    errors_upstream: int = 0
    responses_2xx: int = 0
    responses_3xx: int = 0
    responses_4xx: int = 0
    responses_5xx: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    latency_counts: tuple[int, ...] = ()
    ejections: int = 0
    revision: int = 0
    latency_sum_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteStats:
    """`refused` were answered by the proxy itself: no endpoint, or not understood. `resends` are requests that broke and were
    sent again; `resends_denied` were not, since too many were. `held` wait for an endpoint now."""

    route_id: RouteId
    requests: int = 0
    refused: int = 0
    connections: int = 0
    resends: int = 0
    resends_denied: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyInfo:
    id: str
    hostname: str = ""
    address: str = ""
    workers: int = 1
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerError:
    port: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    info: ProxyInfo
    connected: bool = False
    acked_version: int = 0
    last_seen_at: float = 0.0
    listener_errors: tuple[ListenerError, ...] = ()
