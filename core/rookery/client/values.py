"""What the control API answers with and the model has no value for."""

from dataclasses import dataclass, field
from enum import StrEnum

from rookery.model import (
    App,
    Event,
    JoinToken,
    Node,
    NodeVerdict,
    PlannedReplica,
    Replica,
    ServiceChange,
    ServicePlan,
    ServiceReturn,
    ServiceStatus,
    StoredFile,
)


class RolloutAction(StrEnum):
    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"  # back to the revision that it came from


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What an apply changed, and which AppRevision the app is at now; `revision` is of the store."""

    app: str
    changes: tuple[ServiceChange, ...] = ()
    revision: int = 0
    app_revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What an apply would change, how and in what order, and where its new replicas would go.

    `app_revision` is the AppRevision that it was planned at; 0: there is no such app yet.
    """

    app: str
    changes: tuple[ServiceChange, ...] = ()
    placements: tuple[PlannedReplica, ...] = ()
    services: tuple[ServicePlan, ...] = ()
    app_revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    before: int
    after: int
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """From which of a service's or app's revisions to which; `revision` is of the store.

    `services` are those that change; `left` are services that the app did not have then, and that stay; `gone` are services that
    it had then, and that are not made again.
    """

    before: int
    after: int
    revision: int = 0
    services: tuple[ServiceReturn, ...] = ()
    left: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarted:
    """The services that are restarted; `revision` is of the store."""

    services: tuple[str, ...] = ()
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


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupPart:
    """A piece of a backup. The first has `size_bytes`, of all its data; the last has their `sha256`, in hexadecimal."""

    data: bytes = b""
    size_bytes: int = 0
    sha256: str = ""


LogEntry = LogLine | LogFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedToken:
    """`text` is what is handed to the joiner; nobody can ask for it again."""

    token: JoinToken
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """`services` are those that roll out to the new version; `same`: it had that content already, and nothing was changed."""

    file: StoredFile
    services: tuple[str, ...] = ()
    revision: int = 0
    same: bool = False
