"""What the control API answers with and the model has no value for."""

from dataclasses import dataclass

from rookery.model import App, Event, Node, NodeVerdict, PlannedReplica, Replica, ServiceChange, ServiceStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What an apply changed; `revision` is of the store."""

    app: str
    changes: tuple[ServiceChange, ...] = ()
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What an apply would change, and where its new replicas would go."""

    app: str
    changes: tuple[ServiceChange, ...] = ()
    placements: tuple[PlannedReplica, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    before: int
    after: int
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """From which of a service's revisions to which; `revision` is of the store."""

    before: int
    after: int
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a placement is what it is: every node, and the subject's own events, oldest first."""

    subject: str
    summary: str = ""
    nodes: tuple[NodeVerdict, ...] = ()
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The values as they are after `revision`; `deleted` names kind and key of those that are gone (`app/shop`)."""

    revision: int
    events: tuple[Event, ...] = ()
    services: tuple[ServiceStatus, ...] = ()
    replicas: tuple[Replica, ...] = ()
    nodes: tuple[Node, ...] = ()
    apps: tuple[App, ...] = ()
    deleted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line that a replica wrote, without its line end; `replica` is its name, `shop/web.3`."""

    replica_id: str
    replica: str
    node_name: str
    at: float
    text: str
    stderr: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFailure:
    """The log of a replica that can't be read, and why."""

    replica_id: str
    replica: str
    node_name: str
    why: str


LogEntry = LogLine | LogFailure
