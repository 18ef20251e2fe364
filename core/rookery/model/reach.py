"""What replicas may reach of the cluster's own machines: their node, other nodes, the manager's, the proxies'."""

from dataclasses import dataclass

from rookery.model.replica import PortProtocol

EVERY_APP = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPort:
    port: int
    protocol: PortProtocol = PortProtocol.TCP


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Ports that are open to the replicas of an app (`*`: of every one), or to those of one of its services."""

    app: str
    service: str = ""
    ports: tuple[OpenPort, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """`machines` are the addresses of the cluster's machines: of these, replicas reach what is in `openings` and nothing else."""

    machines: tuple[str, ...] = ()
    openings: tuple[Opening, ...] = ()
