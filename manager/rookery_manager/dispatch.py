"""DispatchService: the agents' streams. Heartbeats renew leases, status goes into the records, assignments go out.

Invariant: what an agent is sent is the set of its node's assignments at a store revision, its generation; first whole, then as
deltas from one generation to the next.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from rookery import VERSION
from rookery.model import (
    FileContent,
    Node,
    NodeCondition,
    NodeId,
    NodeInfo,
    NodeState,
    NodeStats,
    ReplicaId,
    ReplicaStats,
    ReplicaStatus,
)
from rookery.v1 import dispatch_pb2, dispatch_pb2_grpc, types_pb2
from rookery.wire import WireError, decode, encode, from_bytes

from rookery_manager import records
from rookery_manager.actor import Actor
from rookery_manager.leases import Leases
from rookery_manager.logs import LogHub
from rookery_manager.planners.actions import Plan
from rookery_manager.planners.assignments import assignment_of, difference, is_assigned, marks
from rookery_manager.planners.nodes import plan_conditions, plan_goodbye, plan_hello
from rookery_manager.sessions import Session, Sessions
from rookery_manager.state import State
from rookery_manager.statuses import Statuses
from rookery_manager.store import Store

log = logging.getLogger("rookery.manager")

HELLO_S = 10.0
WRITE_S = 30.0  # an agent that reads nothing for so long is ended; it connects anew
LONGEST_NAME = 253  # characters of a node's id and hostname, as of a DNS name
Context = grpc.aio.ServicerContext[dispatch_pb2.AgentMessage, dispatch_pb2.ManagerMessage]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hello:
    node_id: NodeId
    info: NodeInfo
    replicas: tuple[ReplicaStatus, ...]


def _hello(message: dispatch_pb2.AgentMessage | None) -> _Hello:
    """What an agent says first. Raises WireError where it makes no sense: once recorded, every planner would meet it."""
    if message is None or message.WhichOneof("kind") != "hello" or not message.hello.node_id:
        raise WireError("an agent begins with its hello, and its hello with its node id")
    info = decode(NodeInfo, message.hello.info)
    for what, name in (("node_id", message.hello.node_id), ("info.hostname", info.hostname)):
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or "/" in name or " " in name:
            raise WireError(f"hello.{what}: must be 1 to {LONGEST_NAME} printable characters without a space or a slash")
    amounts = (info.capacity.cpus, info.capacity.memory_bytes, info.capacity.pids)
    if not all(math.isfinite(amount) and amount >= 0 for amount in amounts):
        raise WireError("hello.info.capacity: must be finite and not less than 0")
    replicas = tuple(decode(ReplicaStatus, status) for status in message.hello.replicas)
    return _Hello(node_id=NodeId(message.hello.node_id), info=info, replicas=replicas)


async def _send(context: Context, message: dispatch_pb2.ManagerMessage) -> None:
    """Raises TimeoutError where the agent does not read."""
    async with asyncio.timeout(WRITE_S):
        await context.write(message)


class DispatchService(dispatch_pb2_grpc.DispatchServiceServicer):
    def __init__(
        self,
        *,
        state: State,
        store: Store,
        actor: Actor,
        leases: Leases,
        sessions: Sessions,
        statuses: Statuses,
        logs: LogHub,
        heartbeat_s: float,
        watch_lease: Callable[[NodeId], None],
    ) -> None:
        self._state = state
        self._store = store
        self._actor = actor
        self._leases = leases
        self._sessions = sessions
        self._statuses = statuses
        self._logs = logs
        self._heartbeat_s = heartbeat_s
        self._watch_lease = watch_lease

    async def SendLogs(
        self,
        request_iterator: AsyncIterator[dispatch_pb2.LogUpload],
        context: "grpc.aio.ServicerContext[dispatch_pb2.LogUpload, dispatch_pb2.LogUploadResult]",
    ) -> dispatch_pb2.LogUploadResult:
        try:
            await self._logs.receive(request_iterator)
        except DecodeError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return dispatch_pb2.LogUploadResult()

    async def Connect(  # type: ignore[override]  # grpc.aio takes this form of a stream too: writing by the context
        self, request_iterator: AsyncIterator[dispatch_pb2.AgentMessage], context: Context
    ) -> None:
        try:
            async with asyncio.timeout(HELLO_S):
                hello = _hello(await anext(aiter(request_iterator), None))
            session = await self._greet(hello, context)
        except (WireError, DecodeError, TimeoutError) as error:
            why = str(error) or f"no hello within {HELLO_S:.0f} s"
            log.warning("an agent at %s is refused: %s", context.peer(), why)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, why)
        try:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(self._read(session, request_iterator))
                await self._write(session, context)
                reading.cancel()
        except* (WireError, DecodeError) as errors:
            log.warning("node %s says what is not understood: %s", session.info.hostname, errors.exceptions[0])
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(errors.exceptions[0]))
        except* TimeoutError:
            session.end("it does not read what it is sent")
        finally:
            self._sessions.close(session)
            log.info("node %s is no longer connected", session.info.hostname)
        if session.ended:
            await context.abort(grpc.StatusCode.UNAVAILABLE, session.ended)

    async def _greet(self, hello: "_Hello", context: Context) -> Session:
        node_id, info = hello.node_id, hello.info
        twin = next((n for n in self._state.nodes.values() if n.name == info.hostname and n.id != node_id), None)
        if twin is not None and twin.state is NodeState.READY and self._sessions.get(twin.id):
            await context.abort(
                grpc.StatusCode.ALREADY_EXISTS,
                f"a node named {info.hostname} is connected already, as {twin.id}; start this agent with another --name",
            )
        self._leases.hear(node_id)
        await self._change_node(node_id, lambda node: plan_hello(node, node_id, info))
        self._leases.hear(node_id)  # once more: a lease of a node that was removed just before is forgotten
        session = self._sessions.open(node_id, info)
        self._watch_lease(node_id)
        log.info("node %s is connected (%s)", info.hostname, node_id)
        self._statuses.put(node_id, hello.replicas)
        return session

    async def _change_node(self, node_id: NodeId, plan: Callable[[Node | None], Plan]) -> None:
        """Plans and acts on the node's record until nothing had changed in between."""
        while not await self._actor.act(plan(self._state.nodes.get(node_id)).actions):
            log.debug("node %s had changed meanwhile", node_id)

    # ---- from the agent

    async def _read(self, session: Session, messages: AsyncIterator[dispatch_pb2.AgentMessage]) -> None:
        async for message in messages:
            self._leases.hear(session.node_id)
            match message.WhichOneof("kind"):
                case "heartbeat":
                    await self._heartbeat(session, message.heartbeat)
                case "status":
                    self._statuses.put(session.node_id, [decode(ReplicaStatus, status) for status in message.status.replicas])
                case "acknowledge":
                    session.acked_generation = message.acknowledge.generation
                case "goodbye":
                    await self._take_leave(session, message.goodbye.why)
                case _:
                    continue
        session.over = True
        session.wake.set()

    async def _take_leave(self, session: Session, why: str) -> None:
        session.leaving = True
        await self._change_node(session.node_id, lambda node: plan_goodbye(node, why) if node else Plan())
        session.wake.set()

    async def _heartbeat(self, session: Session, heartbeat: dispatch_pb2.Heartbeat) -> None:
        session.stats = decode(NodeStats, heartbeat.stats)
        session.replica_stats = {ReplicaId(r.replica_id): decode(ReplicaStats, r) for r in heartbeat.replicas}
        conditions = tuple(decode(NodeCondition, condition) for condition in heartbeat.conditions)
        node = self._state.nodes.get(session.node_id)
        if node is None:
            session.end("the node was removed from the cluster")
            return
        if node.state is NodeState.DOWN or (node.state is NodeState.LEFT and not session.leaving):
            await self._change_node(session.node_id, lambda n: plan_hello(n, session.node_id, session.info))
            self._watch_lease(session.node_id)
        if conditions != session.conditions:
            session.conditions = conditions
            await self._change_node(session.node_id, lambda n: plan_conditions(n, conditions) if n else Plan())
        session.send(dispatch_pb2.ManagerMessage(lease=dispatch_pb2.Lease(lease_s=self._leases.lease_s)))

    # ---- to the agent

    async def _write(self, session: Session, context: Context) -> None:
        welcome = dispatch_pb2.Welcome(heartbeat_s=self._heartbeat_s, lease_s=self._leases.lease_s, manager_version=VERSION)
        await _send(context, dispatch_pb2.ManagerMessage(welcome=welcome))
        await _send(context, await self._whole_set(session))
        while True:
            while session.outbox:
                await _send(context, session.outbox.popleft())
            if session.ended or session.over:
                return
            delta = await self._delta(session)
            if delta is not None:
                await _send(context, delta)
            if session.leaving and not session.farewell_sent and not self._runs_something(session):
                farewell = dispatch_pb2.Farewell(why="nothing is left on it")
                await _send(context, dispatch_pb2.ManagerMessage(farewell=farewell))
                session.farewell_sent = True
            await session.wake.wait()
            session.wake.clear()

    def _runs_something(self, session: Session) -> bool:
        return any(not replica.ended for replica in self._state.replicas_on(session.node_id).values())

    async def _whole_set(self, session: Session) -> dispatch_pb2.ManagerMessage:
        session.generation = self._state.revision
        replicas = [r for r in self._state.replicas_on(session.node_id).values() if is_assigned(r)]
        session.held = marks(replicas)
        assignments = [await self._assignment(replica.id) for replica in replicas]
        return dispatch_pb2.ManagerMessage(
            assignments=dispatch_pb2.AssignmentSet(
                generation=session.generation, assignments=[assignment for assignment in assignments if assignment]
            )
        )

    async def _delta(self, session: Session) -> dispatch_pb2.ManagerMessage | None:
        generation = self._state.revision
        wanted = marks(self._state.replicas_on(session.node_id).values())
        puts, removes = difference(session.held, wanted)
        if not puts and not removes:
            return None
        assignments = [await self._assignment(replica_id) for replica_id in puts]
        delta = dispatch_pb2.AssignmentDelta(
            from_generation=session.generation,
            to_generation=generation,
            puts=[assignment for assignment in assignments if assignment],
            removes=list(removes),
        )
        session.held, session.generation = wanted, generation
        return dispatch_pb2.ManagerMessage(delta=delta)

    async def _assignment(self, replica_id: ReplicaId) -> types_pb2.Assignment | None:
        replica = self._state.replicas.get(replica_id)
        revision = self._state.revision_of(replica.key, replica.revision) if replica else None
        if replica is None or revision is None:
            return None
        files = [await self._file(replica.app, f.kind, f.name, f.digest) for f in revision.spec.container.files]
        assignment = assignment_of(replica, revision.spec, tuple(file for file in files if file))
        return encode(assignment)  # type: ignore[no-any-return]

    async def _file(self, app: str, kind: str, name: str, digest: str) -> FileContent | None:
        key = records.file_key(app, kind, name, digest)
        entry = (await self._store.snapshot(key)).entries.get(key)
        return from_bytes(FileContent, entry.value) if entry else None
