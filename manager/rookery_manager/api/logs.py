"""Logs: what the chosen replicas print, from all their nodes, in one stream.

Invariant: each replica's lines come in their order. A replica whose log can't be read says so, and holds up no other.
Back-pressure goes all the way: a client that reads slowly holds up the agents.
"""

import asyncio
import math
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from rookery.model import Desired, NodeState, Replica, ReplicaId, ReplicaState
from rookery.v1 import control_pb2
from rookery.v1.dispatch_pb2 import LogLine, LogRequest

from rookery_manager.api.errors import invalid
from rookery_manager.api.find import find_app, find_replica, find_service, services_of
from rookery_manager.api.needs import Api
from rookery_manager.logs import End, LogReader
from rookery_manager.state import State

Send = Callable[[control_pb2.LogsResponse], Awaitable[None]]

FIRST_ANSWER_S = 10.0  # an agent that was asked and sends nothing for so long is not going to
LOOK_S = 1.0  # how often a silent stream's node is looked at
MAX_STREAMS = 1_000

_HAS_NO_LOG_YET = frozenset({ReplicaState.PENDING, ReplicaState.ASSIGNED, ReplicaState.PREPARING})


def _has_log(replica: Replica) -> bool:
    """Of the ended ones, those that ended by themselves: what was stopped on purpose is removed, and its log with it."""
    return replica.state not in _HAS_NO_LOG_YET and not (replica.ended and replica.desired is Desired.STOP)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the client asked for. `replica` is the only one wanted, where one is."""

    app: str
    service: str
    replica: ReplicaId | None

    def replicas(self, state: State) -> list[Replica]:
        """Those that have printed something, or may have."""
        if self.replica is not None:
            replica = state.replicas.get(self.replica)
            return [replica] if replica else []
        services = [service for service in services_of(state, self.app) if self.service in ("", service.name)]
        found = [replica for service in services for replica in state.replicas_of(service.key).values()]
        found = [replica for replica in found if replica.node_id in state.nodes and _has_log(replica)]
        return sorted(found, key=lambda replica: (replica.service, replica.slot, replica.created_at, replica.id))


async def stream_logs(api: Api, request: control_pb2.LogsRequest, send: Send) -> None:
    chosen = _choose(api.state, request)
    first = chosen.replicas(api.state)
    if len(first) > MAX_STREAMS:
        raise invalid(
            f"service: {len(first)} replicas have logs; name a service or a replica, so that there are at most {MAX_STREAMS}"
        )
    sending = asyncio.Lock()

    async def send_one(message: control_pb2.LogsResponse) -> None:
        async with sending:
            await send(message)

    asked: set[ReplicaId] = set()
    open_now: set[asyncio.Task[None]] = set()
    async with asyncio.TaskGroup() as group:
        while True:
            for replica in chosen.replicas(api.state):
                if replica.id not in asked and len(open_now) < MAX_STREAMS:
                    asked.add(replica.id)
                    late = len(asked) > len(first)
                    stream = group.create_task(_stream_one(api, replica, request, send_one, late=late))
                    open_now.add(stream)
                    stream.add_done_callback(open_now.discard)
            if not request.follow or chosen.replica is not None:
                return  # the group waits for the streams
            await _next_change(api.state)


async def _next_change(state: State) -> None:
    """Returns when the state has moved on, and not more often than a few times a second."""
    await state.reach(state.revision + 1)
    await asyncio.sleep(0.2)


def _choose(state: State, request: control_pb2.LogsRequest) -> Chosen:
    if request.tail < -1:
        raise invalid(f"tail: {request.tail} lines; use -1 for all")
    if not 0 <= request.since_at < 1e12:
        raise invalid(f"since_at: {request.since_at} is no instant in seconds since the epoch")
    if request.replica:
        replica = find_replica(state, request.replica)
        return Chosen(replica.app, replica.service, replica.id)
    find_app(state, request.app)
    if request.service:
        find_service(state, request.app, request.service)
    return Chosen(request.app, request.service, None)


async def _stream_one(api: Api, replica: Replica, request: control_pb2.LogsRequest, send: Send, *, late: bool) -> None:
    """One that started while we follow is read from its beginning."""
    node = api.state.nodes.get(replica.node_id)
    node_name = node.name if node else replica.node_name

    async def say(error: str = "", lines: tuple[LogLine, ...] = ()) -> None:
        await send(
            control_pb2.LogsResponse(replica_id=replica.id, replica=replica.name, node_name=node_name, lines=lines, error=error)
        )

    if node is None:
        where = f"its node {node_name} is gone, and its log with it" if replica.node_id else f"it has no node yet: {replica.why}"
        await say(error=where)
        return
    wanted = LogRequest(
        request_id=secrets.token_hex(16),
        replica_id=replica.id,
        follow=request.follow and not replica.ended,
        tail=-1 if late else request.tail,
        since_at=request.since_at,
    )
    with api.logs.open(wanted.request_id) as reader:
        if not api.nodes.send_log_request(replica.node_id, wanted):
            await say(error=f"node {node_name} is not connected")
            return
        ended = False
        try:
            patience_s = math.inf if wanted.follow else FIRST_ANSWER_S  # one that prints nothing sends nothing
            error = await _pump(api.state, replica, reader, lambda lines: say(lines=lines), patience_s)
            ended = True
        finally:
            if not ended:
                api.nodes.cancel_log_request(replica.node_id, wanted.request_id)
        if error:
            await say(error=error)


async def _pump(
    state: State,
    replica: Replica,
    reader: LogReader,
    send_lines: Callable[[tuple[LogLine, ...]], Awaitable[None]],
    patience_s: float,
) -> str:
    """Passes on what comes until it ends; why it ended early, if it did."""
    silent_s = 0.0
    answered = False
    while True:
        try:
            upload = await reader.next(LOOK_S)
        except TimeoutError:
            silent_s += LOOK_S
            node = state.nodes.get(replica.node_id)
            if node is None or node.state is not NodeState.READY:
                return f"node {node.name if node else replica.node_name} went away: {node.why if node else 'removed'}"
            if not answered and silent_s >= patience_s:
                return f"node {node.name} did not answer within {patience_s:g} s"
            continue
        if isinstance(upload, End):
            return upload.error
        answered = True
        if upload.lines:
            await send_lines(tuple(upload.lines))
        if upload.error:
            return upload.error
