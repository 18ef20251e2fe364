"""What proxies listen for, and what they tell of it."""

from dataclasses import dataclass
from enum import StrEnum

from rookery.model.ids import ReplicaId, RouteId
from rookery.model.replica import Endpoint


class ListenProtocol(StrEnum):
    DETECT = ""  # found from the first bytes
    HTTP = "http"
    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A port, host and path that the proxies listen for, and the ready endpoints behind it; an empty host or path is any."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteStats:
    """`refused` were answered by the proxy itself: no endpoint, or not understood."""

    route_id: RouteId
    requests: int = 0
    refused: int = 0
    connections: int = 0


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
