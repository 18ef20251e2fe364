"""The agents that are connected now: what they said last, what is on its way to them.

In memory only: after a restart every agent connects anew and says it all again.
"""

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field

from rookery.model import Node, NodeCondition, NodeId, NodeInfo, NodeStats, Replica, ReplicaId, ReplicaStats, ReplicaStatus
from rookery.v1 import dispatch_pb2

from rookery_manager.leases import Leases
from rookery_manager.planners.assignments import NEVER, Marks
from rookery_manager.reaching import ReachMark
from rookery_manager.records import Record
from rookery_manager.state import State

log = logging.getLogger("rookery.manager")

MOST_WAITING = 1_000  # messages for an agent that does not read; then its stream is ended and it connects anew


@dataclass(slots=True, kw_only=True)
class Session:
    """One agent's stream. `held` are the assignments it was sent, at `generation`."""

    node_id: NodeId
    info: NodeInfo
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    stale: bool = True  # something that it is told of may have changed: its assignments, what they may reach, who is trusted
    outbox: deque[dispatch_pb2.ManagerMessage] = field(default_factory=deque)
    held: Marks = field(default_factory=dict)
    generation: int = 0
    acked_generation: int = 0
    stats: NodeStats | None = None
    conditions: tuple[NodeCondition, ...] | None = None  # None: it has not told yet; the record has those of an earlier stream
    told: dict[ReplicaId, ReplicaStatus] = field(default_factory=dict)  # its latest status of each replica
    replica_stats: dict[ReplicaId, ReplicaStats] = field(default_factory=dict)
    leaving: bool = False  # it said goodbye
    farewell_sent: bool = False
    reach: ReachMark | None = None  # what it was told last that its replicas may reach
    over: bool = False  # the agent ended the stream
    ended: str = ""  # why the manager ends it
    trusts: tuple[str, ...] = ()  # the authorities that the agent was told of
    made_at: float = 0.0  # when its certificate was made

    def send(self, message: dispatch_pb2.ManagerMessage) -> None:
        if len(self.outbox) >= MOST_WAITING:
            self.end("it does not read what it is sent")
            return
        self.outbox.append(message)
        self.wake.set()

    def look(self) -> None:
        """Has looked what the agent is to be told."""
        self.stale = True
        self.wake.set()

    def end(self, why: str) -> None:
        self.ended = why
        self.wake.set()


class Sessions:
    """All of them by node; a node whose assignments may have changed is woken by its records."""

    def __init__(self, state: State, leases: Leases) -> None:
        self._state = state
        self._leases = leases
        self._sessions: dict[NodeId, Session] = {}
        state.listen(self._on_record)

    def get(self, node_id: NodeId) -> Session | None:
        return self._sessions.get(node_id)

    def open(self, node_id: NodeId, info: NodeInfo, *, made_at: float = 0.0) -> Session:
        previous = self._sessions.get(node_id)
        if previous is not None:
            previous.end("the agent connected anew")
        session = Session(node_id=node_id, info=info, made_at=made_at)
        self._sessions[node_id] = session
        return session

    def close(self, session: Session) -> None:
        if self._sessions.get(session.node_id) is session:
            del self._sessions[session.node_id]

    def wake_all(self) -> None:
        for session in self._sessions.values():
            session.look()

    def end_all(self, why: str) -> None:
        for session in self._sessions.values():
            session.end(why)

    def send_files_anew(self) -> None:
        """Sends the assignments with secrets or configs once more: these can be read now."""
        for session in self._sessions.values():
            for replica_id in session.held:
                replica = self._state.replicas.get(replica_id)
                revision = self._state.revision_of(replica.key, replica.revision) if replica else None
                if revision is not None and revision.spec.container.files:
                    session.held = {**session.held, replica_id: NEVER}
            session.look()

    def _on_record(self, record: Record, after: Record | None) -> None:
        match record:
            case Replica():
                touched = {record.node_id, after.node_id if isinstance(after, Replica) else record.node_id}
            case Node():
                touched = {record.id}
            case _:
                return
        for node_id in touched:
            session = self._sessions.get(node_id)
            if session is not None:
                session.look()

    # ---- what the control API asks

    def last_seen(self, node_id: NodeId) -> float:
        return self._leases.last_heard(node_id)

    def stats(self, node_id: NodeId) -> NodeStats | None:
        session = self._sessions.get(node_id)
        return session.stats if session else None

    def replica_stats(self, replica_id: ReplicaId) -> ReplicaStats | None:
        replica = self._state.replicas.get(replica_id)
        session = self._sessions.get(replica.node_id) if replica else None
        return session.replica_stats.get(replica_id) if session else None

    def send_log_request(self, node_id: NodeId, request: dispatch_pb2.LogRequest) -> bool:
        session = self._sessions.get(node_id)
        if session is None:
            return False
        session.send(dispatch_pb2.ManagerMessage(logs=request))
        return True

    def cancel_log_request(self, node_id: NodeId, request_id: str) -> None:
        session = self._sessions.get(node_id)
        if session is not None:
            session.send(dispatch_pb2.ManagerMessage(cancel_logs=dispatch_pb2.LogCancel(request_id=request_id)))
