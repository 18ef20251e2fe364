"""What a user wants of one service: the resolved form of one entry under `services:`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rookery.model.autoscale import Autoscale
from rookery.model.balancing import Balancing
from rookery.model.container import ContainerSpec
from rookery.model.http_rules import HttpRules
from rookery.model.node import RuntimeKind
from rookery.model.probe import ImageProbe, Probe
from rookery.model.replica import PortProtocol
from rookery.model.resources import Resources
from rookery.model.rollout import Rolling, Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicated:
    replicas: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Global:
    """One replica on every node that fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicatedJob:
    """Runs to completion so many times; a replica that ends with status 0 is done."""

    replicas: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalJob:
    """Runs to completion once on every node that fits."""


Mode = Replicated | Global | ReplicatedJob | GlobalJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where replicas may go. `constraints` must hold, `preferences` name what to spread over; 0 replicas per node is no bound."""

    constraints: tuple[str, ...] = ()
    preferences: tuple[str, ...] = ()
    max_replicas_per_node: int = 0


class RestartCondition(StrEnum):
    ANY = "any"
    ON_FAILURE = "on-failure"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """`delay_s` None: the first at once, then after 1, 2, 4 … 60 s. `max_attempts` 0: no bound. `window_s`: a quiet period
    this long resets the count."""

    condition: RestartCondition = RestartCondition.ANY
    delay_s: float | None = None
    max_attempts: int = 0
    window_s: float = 60.0


class UpdateOrder(StrEnum):
    START_FIRST = "start-first"
    STOP_FIRST = "stop-first"


class FailureAction(StrEnum):
    ROLLBACK = "rollback"
    PAUSE = "pause"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateConfig:
    """How replicas are replaced. `parallelism` 0 is all at once; a new one counts when it stayed ready for `monitor_s`.

    Where no node has room for an old replica and its replacement, the old one goes first, unless `waits_for_room`.
    """

    parallelism: int = 1
    delay_s: float = 0.0
    order: UpdateOrder = UpdateOrder.START_FIRST
    monitor_s: float = 5.0
    max_failure_ratio: float = 0.0
    failure_action: FailureAction = FailureAction.ROLLBACK
    progress_deadline_s: float = 600.0
    waits_for_room: bool = False


class PortMode(StrEnum):
    INGRESS = "ingress"  # every proxy listens and balances
    HOST = "host"  # the replica's own node publishes it


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """`published` 0 is any free one. `app_protocol` is `http`, `http2`, `tcp` or empty: found from the first bytes."""

    target: int
    published: int = 0
    protocol: PortProtocol = PortProtocol.TCP
    mode: PortMode = PortMode.INGRESS
    host_ip: str = ""
    app_protocol: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRoute:
    """Requests for a host and path prefix on the proxies' HTTP listener; an empty host or path is any.

    `target` is 0 where requests are redirected, and so reach no replica. With `tls` the proxies speak it there,
    with `http2` clients and replicas speak that. With `acme` the manager gets the certificate of the host for that.
    """

    target: int
    host: str = ""
    path: str = ""
    published: int = 80
    strip_path: bool = False
    rules: HttpRules = HttpRules()
    tls: bool = False
    http2: bool = False
    acme: bool = False


class DependencyCondition(StrEnum):
    SERVICE_STARTED = "service_started"
    SERVICE_HEALTHY = "service_healthy"
    SERVICE_COMPLETED_SUCCESSFULLY = "service_completed_successfully"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    service: str
    condition: DependencyCondition = DependencyCondition.SERVICE_STARTED
    restart: bool = False
    required: bool = True


class OnDisconnect(StrEnum):
    """What an agent that lost its manager does with a replica."""

    KEEP = "keep"
    STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """One service, fully resolved: it needs nothing else of its compose file.

    `reservations` are what the scheduler counts, `limits` what the engine enforces. `runtime` is where it can run.
    `proxy_protocol` is the version of the header that replicas get before each TCP connection; 0 is none. `allow` names the
    apps (`shop`), services of apps (`shop/web`) or all (`*`) whose replicas may reach what the service publishes.
    """

    name: str
    container: ContainerSpec = field(default_factory=ContainerSpec)
    mode: Mode = field(default_factory=Replicated)
    reservations: Resources = field(default_factory=Resources)
    limits: Resources = field(default_factory=Resources)
    placement: Placement = field(default_factory=Placement)
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    update: UpdateConfig = field(default_factory=UpdateConfig)
    rollback: UpdateConfig = field(default_factory=UpdateConfig)
    ports: tuple[Port, ...] = ()
    expose: tuple[int, ...] = ()
    routes: tuple[HttpRoute, ...] = ()
    probe: Probe = field(default_factory=ImageProbe)
    depends_on: tuple[Dependency, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    drain_timeout_s: float = 30.0
    on_disconnect: OnDisconnect = OnDisconnect.KEEP
    on_disconnect_after_s: float = 0.0
    runtime: RuntimeKind = RuntimeKind.DOCKER
    rebalance: bool = True
    strategy: Strategy = field(default_factory=Rolling)
    balancing: Balancing = field(default_factory=Balancing)
    proxy_protocol: int = 0
    autoscale: Autoscale | None = None
    allow: tuple[str, ...] = ()


def target_ports(spec: ServiceSpec) -> tuple[tuple[int, PortProtocol], ...]:
    """The ports at which the replicas of a service must be reachable by the proxies and probes, each once, in order."""
    wanted = [(port.target, port.protocol) for port in spec.ports if port.mode is PortMode.INGRESS]
    wanted += [(route.target, PortProtocol.TCP) for route in spec.routes if route.target]
    wanted += [(port, PortProtocol.TCP) for port in spec.expose]
    return tuple(dict.fromkeys(wanted))


def is_balanced(spec: ServiceSpec) -> bool:
    """Whether the proxies see what is asked of a service: connections, at least."""
    ingress = (port for port in spec.ports if port.mode is PortMode.INGRESS)
    return bool(spec.routes) or any(port.protocol is PortProtocol.TCP for port in ingress)
