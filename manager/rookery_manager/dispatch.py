"""DispatchService: the agents' streams. Heartbeats renew leases, status goes into the records, assignments go out.

Invariant: what an agent is sent is the set of its node's assignments at a store revision, its generation; first whole, then as
deltas from one generation to the next.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from rookery import VERSION
from rookery.model import (
    Node,
    NodeId,
    NodeInfo,
    NodeState,
    Reach,
    ReplicaId,
    ReplicaStatus,
)
from rookery.refusals import Refusals, Refused
from rookery.v1 import dispatch_pb2, dispatch_pb2_grpc, types_pb2
from rookery.wire import WireError, encode

from rookery_manager.actor import Actor
from rookery_manager.agent_messages import LONGEST_TEXT, Hello, own, read_heartbeat, read_hello, read_statuses
from rookery_manager.identity.peers import caller, who_of
from rookery_manager.leases import Leases
from rookery_manager.lifting import MOST
from rookery_manager.logs import LogHub
from rookery_manager.planners.actions import Plan
from rookery_manager.planners.assignments import assignment_of, difference, is_assigned, marks
from rookery_manager.planners.nodes import plan_conditions, plan_goodbye, plan_hello
from rookery_manager.reaching import ReachMark
from rookery_manager.sealing.keyring import Keyring
from rookery_manager.sealing.reading import read_file
from rookery_manager.sessions import Session, Sessions
from rookery_manager.state import State
from rookery_manager.statuses import Statuses
from rookery_manager.store import Store

log = logging.getLogger("rookery.manager")

HELLO_S = 10.0
WRITE_S = 30.0  # an agent that reads nothing for so long is ended; it connects anew
Context = grpc.aio.ServicerContext[dispatch_pb2.AgentMessage, dispatch_pb2.ManagerMessage]


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
        keyring: Keyring,
        refusals: Refusals,
        heartbeat_s: float,
        watch_lease: Callable[[NodeId], None],
        rise_above: Callable[[int, str], Awaitable[None]],
        reaching: Callable[[NodeId, ReachMark | None], tuple[ReachMark, Reach | None]],
        trust: Callable[[], types_pb2.Trust | None] = lambda: None,
    ) -> None:
        self._state = state
        self._store = store
        self._actor = actor
        self._leases = leases
        self._sessions = sessions
        self._statuses = statuses
        self._logs = logs
        self._keyring = keyring
        self._refusals = refusals
        self._heartbeat_s = heartbeat_s
        self._watch_lease = watch_lease
        self._rise_above = rise_above
        self._reaching = reaching
        self._trust = trust
        self._granted = dispatch_pb2.ManagerMessage(lease=dispatch_pb2.Lease(lease_s=leases.lease_s))

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
                hello = read_hello(await anext(aiter(request_iterator), None))
            session = await self._greet(hello, context)
        except (WireError, DecodeError, TimeoutError, Refused) as error:
            why = str(error) or f"no hello within {HELLO_S:.0f} s"
            self._refusals.note("hello", f"an agent at {context.peer()}: {why}")
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, why)
        try:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(self._read(session, request_iterator))
                await self._write(session, context)
                reading.cancel()
        except* (WireError, DecodeError) as errors:
            self._refusals.note("message", f"node {session.info.hostname} says what is not understood: {errors.exceptions[0]}")
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(errors.exceptions[0]))
        except* TimeoutError:
            session.end("it does not read what it is sent")
        finally:
            self._sessions.close(session)
            log.info("node %s is no longer connected", session.info.hostname)
        if session.ended:
            await context.abort(grpc.StatusCode.UNAVAILABLE, session.ended)

    async def _greet(self, hello: Hello, context: Context) -> Session:
        node_id, info = hello.node_id, hello.info
        peer = caller()
        if peer is not None and peer.id != node_id:
            why = f"{peer} says that it is {node_id}: an agent acts for its own node alone"
            self._refusals.note("denied", f"a caller at {context.peer()}: {why}", who=who_of(peer, context.peer()))
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, why)
        why = self._taken(node_id, info)
        if why:
            self._refusals.note("name-taken", f"an agent at {context.peer()}: {why}")
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, why)
        before = self._sessions.get(node_id)
        made_at = peer.made_at if peer is not None else 0.0
        if before is not None and made_at <= before.made_at:  # else it moves to another connection, with a later certificate
            self._refusals.note(
                "opened-twice", f"node {info.hostname} connects anew, from {context.peer()}: its stream before is ended"
            )
        if not 0 <= hello.generation <= MOST:
            self._refusals.note("generation", f"node {info.hostname} holds generation {hello.generation}, which can't be")
        self._leases.hear(node_id)
        if hello.generation <= MOST:
            await self._rise_above(hello.generation, info.hostname)
        await self._change_node(node_id, lambda node: plan_hello(node, node_id, info))
        self._leases.hear(node_id)  # once more: a lease of a node that was removed just before is forgotten
        session = self._sessions.open(node_id, info, made_at=made_at)
        self._watch_lease(node_id)
        log.info("node %s is connected (%s)", info.hostname, node_id)
        self._hear_of(session, hello.replicas)
        return session

    def _taken(self, node_id: NodeId, info: NodeInfo) -> str:
        """Why a node can't be of that name, or an agent of that node; empty where it can."""
        session = self._sessions.get(node_id)
        if session is not None and session.info.hostname != info.hostname and self._leases.holds(node_id):
            return f"node {node_id} is connected already, as {session.info.hostname}; give each agent a --data of its own"
        for node in self._state.nodes.values():
            if (
                node.name == info.hostname
                and node.id != node_id
                and node.state is NodeState.READY
                and self._sessions.get(node.id)
            ):
                return f"a node named {info.hostname} is connected already, as {node.id}; start this agent with another --name"
        return ""

    async def _change_node(self, node_id: NodeId, plan: Callable[[Node | None], Plan]) -> None:
        """Plans and acts on the node's record until nothing had changed in between."""
        while not await self._actor.act(plan(self._state.nodes.get(node_id)).actions):
            log.debug("node %s had changed meanwhile", node_id)

    # ---- from the agent

    async def _read(self, session: Session, messages: AsyncIterator[dispatch_pb2.AgentMessage]) -> None:
        async for message in messages:
            self._leases.hear(session.node_id)
            try:
                await self._take(session, message)
            except Refused as error:
                self._refusals.note(error.kind, f"node {session.info.hostname}: {error}")
        session.over = True
        session.wake.set()

    async def _take(self, session: Session, message: dispatch_pb2.AgentMessage) -> None:
        """Raises WireError, or Refused for what changes nothing."""
        match message.WhichOneof("kind"):
            case "heartbeat":
                await self._heartbeat(session, message.heartbeat)
            case "status":
                self._hear_of(session, read_statuses(message.status.replicas))
            case "acknowledge":
                generation = message.acknowledge.generation
                if not session.acked_generation <= generation <= session.generation:
                    span = f"{session.acked_generation} to {session.generation}"
                    raise Refused("generation", f"it acknowledges generation {generation}, and only {span} makes sense")
                session.acked_generation = generation
            case "goodbye":
                await self._take_leave(session, message.goodbye.why[:LONGEST_TEXT])
            case "hello":
                raise Refused("message", "it says hello once more")
            case _:
                raise Refused("message", "it says nothing that is known here")

    def _hear_of(self, session: Session, statuses: Sequence[ReplicaStatus]) -> None:
        """What is remembered is of the node's own replicas alone, and so bounded by what it was given."""
        own_ids = self._state.replicas_on(session.node_id).keys()
        session.told.update({status.replica_id: status for status in statuses if status.replica_id in own_ids})
        self._statuses.put(session.node_id, statuses)

    async def _take_leave(self, session: Session, why: str) -> None:
        session.leaving = True
        await self._change_node(session.node_id, lambda node: plan_goodbye(node, why) if node else Plan())
        session.look()

    async def _heartbeat(self, session: Session, heartbeat: dispatch_pb2.Heartbeat) -> None:
        conditions = session.conditions
        try:
            said = read_heartbeat(heartbeat)
            session.stats = said.stats
            session.replica_stats = own(said.replicas, self._state.replicas_on(session.node_id).keys())
            conditions = said.conditions
        except Refused as error:  # it is alive all the same
            self._refusals.note(error.kind, f"node {session.info.hostname}: {error}")
        node = self._state.nodes.get(session.node_id)
        if node is None:
            session.end("the node was removed from the cluster")
            return
        if node.state is NodeState.DOWN or (node.state is NodeState.LEFT and not session.leaving):
            await self._change_node(session.node_id, lambda n: plan_hello(n, session.node_id, session.info))
            self._watch_lease(session.node_id)
            # What was in doubt while it was silent is as it last said: on this stream it says nothing twice.
            self._statuses.put(session.node_id, session.told.values())
        if conditions is not None and conditions != session.conditions:
            session.conditions = told = conditions
            await self._change_node(session.node_id, lambda n: plan_conditions(n, told) if n else Plan())
        session.send(self._granted)

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
            if session.stale:
                session.stale = False  # before it is looked: what changes meanwhile is looked at once more
                await self._tell_changes(session, context)
            await session.wake.wait()
            session.wake.clear()

    async def _tell_changes(self, session: Session, context: Context) -> None:
        """Says what is otherwise than it was told."""
        await self._tell_reach(session, context)
        trust = self._trust()
        if trust is not None and tuple(trust.authorities) != session.trusts:
            session.trusts = tuple(trust.authorities)
            await _send(context, dispatch_pb2.ManagerMessage(trust=trust))
        delta = await self._delta(session)
        if delta is not None:
            await _send(context, delta)
        if session.leaving and not session.farewell_sent and not self._runs_something(session):
            farewell = dispatch_pb2.Farewell(why="nothing is left on it")
            await _send(context, dispatch_pb2.ManagerMessage(farewell=farewell))
            session.farewell_sent = True

    async def _tell_reach(self, session: Session, context: Context) -> None:
        """Says what its replicas may reach, where that has changed; before it is given replicas that may reach more."""
        session.reach, news = self._reaching(session.node_id, session.reach)
        if news is not None:
            await _send(context, dispatch_pb2.ManagerMessage(reach=encode(news)))

    def _runs_something(self, session: Session) -> bool:
        return any(not replica.ended for replica in self._state.replicas_on(session.node_id).values())

    async def _whole_set(self, session: Session) -> dispatch_pb2.ManagerMessage:
        session.generation = self._state.revision
        replicas = [r for r in self._state.replicas_on(session.node_id).values() if is_assigned(r)]
        session.held = marks(replicas)
        assignments = [await self._assignment(replica.id) for replica in replicas]
        return dispatch_pb2.ManagerMessage(
            assignments=dispatch_pb2.AssignmentSet(
                node_id=session.node_id,
                generation=session.generation,
                assignments=[assignment for assignment in assignments if assignment],
            )
        )

    async def _delta(self, session: Session) -> dispatch_pb2.ManagerMessage | None:
        generation = self._state.revision
        wanted = marks(self._state.replicas_on(session.node_id).values())
        puts, removes = difference(session.held, wanted)
        if not puts and not removes:
            return None
        session.held = wanted  # before contents are read: what is to be sent anew from now on is marked in it
        assignments = [await self._assignment(replica_id) for replica_id in puts]
        delta = dispatch_pb2.AssignmentDelta(
            node_id=session.node_id,
            from_generation=session.generation,
            to_generation=generation,
            puts=[assignment for assignment in assignments if assignment],
            removes=list(removes),
        )
        session.generation = generation
        for replica_id in removes:
            session.told.pop(replica_id, None)
        return dispatch_pb2.ManagerMessage(delta=delta)

    async def _assignment(self, replica_id: ReplicaId) -> types_pb2.Assignment | None:
        replica = self._state.replicas.get(replica_id)
        revision = self._state.revision_of(replica.key, replica.revision) if replica else None
        if replica is None or revision is None:
            return None
        files = [await read_file(self._store, self._keyring, replica.app, mount) for mount in revision.spec.container.files]
        assignment = assignment_of(replica, revision.spec, tuple(file for file in files if file))
        return encode(assignment)  # type: ignore[no-any-return]
