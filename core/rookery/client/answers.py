"""How the answers of ControlService are read: the values of the messages that are no values of the model."""

from collections.abc import Iterable
from typing import Any, TypeVar

from google.protobuf.message import Message

from rookery.client.values import (
    Applied,
    BackupPart,
    Changes,
    Explanation,
    LogEntry,
    LogFailure,
    LogLine,
    Planned,
    Restarted,
    RolledBack,
    Rotated,
    Scaled,
)
from rookery.model import (
    App,
    Event,
    FileUse,
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
from rookery.v1 import control_pb2 as pb
from rookery.wire import decode

T = TypeVar("T")


def all_of(cls: type[T], messages: Iterable[Message]) -> tuple[T, ...]:
    """The values of messages."""
    return tuple([decode(cls, message) for message in messages])


def revision(message: Any) -> int:
    return int(message.revision)


def applied(message: pb.ApplyResponse) -> Applied:
    return Applied(
        app=message.app,
        changes=all_of(ServiceChange, message.changes),
        revision=message.revision,
        app_revision=message.app_revision,
    )


def planned(message: pb.PlanResponse) -> Planned:
    return Planned(
        app=message.app,
        changes=all_of(ServiceChange, message.changes),
        placements=all_of(PlannedReplica, message.placements),
        services=all_of(ServicePlan, message.services),
        app_revision=message.app_revision,
    )


def scaled(message: pb.ScaleResponse) -> Scaled:
    return Scaled(before=message.before, after=message.after, revision=message.revision)


def rolled_back(message: pb.RollbackResponse) -> RolledBack:
    return RolledBack(
        before=message.before,
        after=message.after,
        revision=message.revision,
        services=all_of(ServiceReturn, message.services),
        left=tuple(message.left),
        gone=tuple(message.gone),
    )


def restarted(message: pb.RestartResponse) -> Restarted:
    return Restarted(services=tuple(message.services), revision=message.revision)


def explanation(message: pb.ExplainResponse) -> Explanation:
    return Explanation(
        subject=message.subject,
        summary=message.summary,
        nodes=all_of(NodeVerdict, message.nodes),
        events=all_of(Event, message.events),
    )


def watched(message: pb.WatchResponse) -> tuple[Changes, ...]:
    return (_changes(message),)


def _changes(message: pb.WatchResponse) -> Changes:
    return Changes(
        revision=message.revision,
        events=all_of(Event, message.events),
        services=all_of(ServiceStatus, message.services),
        replicas=all_of(Replica, message.replicas),
        nodes=all_of(Node, message.nodes),
        apps=all_of(App, message.apps),
        deleted=tuple(message.deleted),
    )


def log_entries(message: pb.LogsResponse) -> tuple[LogEntry, ...]:
    whose = {"replica_id": message.replica_id, "replica": message.replica, "node_name": message.node_name}
    lines = [
        LogLine(at=line.at, stderr=line.stderr, text=line.line.decode("utf-8", "replace"), **whose) for line in message.lines
    ]
    return (*lines, LogFailure(why=message.error, **whose)) if message.error else tuple(lines)


def backup_parts(message: pb.BackupChunk) -> tuple[BackupPart, ...]:
    return (BackupPart(data=message.data, size_bytes=message.size_bytes, sha256=message.sha256),)


def stored_file(message: pb.GetFileResponse) -> tuple[StoredFile, tuple[FileUse, ...], bytes | None]:
    content = message.content if message.HasField("content") else None
    return decode(StoredFile, message.file), all_of(FileUse, message.uses), content


def rotated(message: pb.RotateFileResponse) -> Rotated:
    return Rotated(
        file=decode(StoredFile, message.file), services=tuple(message.services), revision=message.revision, same=message.same
    )
