"""What a proxy is told about itself: its limits, where it is, and what it says of clients."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long anything may take, in seconds, and how many connections a port has at a time in one worker."""

    connections: int = 10_000

    detect_s: float = 0.2  # a client that is silent for so long on a port of unknown protocol waits for the server to speak
    head_s: float = 15.0  # from a head's first byte to its last; also from the connection to the first byte
    idle_s: float = 75.0  # between two requests of a client
    upstream_idle_s: float = 60.0
    connect_s: float = 3.0
    answer_s: float = 120.0  # from the request to the answer's first byte
    stall_s: float = 120.0  # without a byte moving within a body
    tunnel_s: float = 3600.0  # without a byte moving on a TCP or upgraded connection
    linger_s: float = 2.0  # for a refused client to read why


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """Where the proxy is: its node's name and labels; and which part of the proxy's requests a worker has."""

    node: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    share: float = 1.0

    def value(self, name: str) -> str:
        """The value of a property of nodes (`node.hostname`, `node.labels.zone`) here; empty where there is none."""
        if name == "node.hostname":
            return self.node
        return self.labels.get(name.removeprefix("node.labels."), "") if name.startswith("node.labels.") else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What the proxy says of clients to endpoints beside X-Forwarded-*, and whom it believes when told who a client is."""

    request_ids: bool = False
    forwarded: bool = False  # Forwarded (RFC 7239) too
    announced_from: tuple[str, ...] = ()  # networks whose connections begin with a PROXY header
