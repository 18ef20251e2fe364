"""The one stream to the manager: hello, heartbeats, statuses and acknowledgements up; lease, assignments and requests down.

Invariant: after each reconnect everything is said anew, so nothing depends on what was sent before. One task writes, one reads.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from rookery.channel import dial
from rookery.model import Assignment, NodeCondition, NodeInfo, NodeStats, ReplicaId, ReplicaStats, ReplicaStatus
from rookery.v1 import dispatch_pb2, dispatch_pb2_grpc
from rookery.wire import WireError, decode, encode

from rookery_agent.assignments import Gap, Held, complete, take_delta, take_set

log = logging.getLogger("rookery.agent")

_CONNECT_S = 5.0
_BACKOFF_S = (0.1, 2.0)
_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """What a heartbeat carries."""

    stats: NodeStats
    replicas: tuple[ReplicaStats, ...] = ()
    conditions: tuple[NodeCondition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What the session asks of the agent. `keep` puts a set in force: true when it is on disk, too."""

    info: Callable[[], NodeInfo]
    vitals: Callable[[], Vitals]
    statuses: Callable[[], tuple[ReplicaStatus, ...]]
    keep: Callable[[Held], Awaitable[bool]]
    logs: Callable[[Any, dispatch_pb2.LogRequest], None]  # the stub to upload with, and what is asked for
    cancel_logs: Callable[[str], None]


class Session:
    """Keeps a stream to the manager for as long as it runs, whatever happens to the manager."""

    def __init__(self, manager: str, node_id: str, held: Held, hooks: Hooks, *, seed: int) -> None:
        self.connected = False
        self.farewell = asyncio.Event()
        self._manager = manager
        self._node_id = node_id
        self._held = held
        self._hooks = hooks
        self._random = random.Random(seed)
        self._wake = asyncio.Event()
        self._changed: dict[ReplicaId, ReplicaStatus] = {}
        self._whole = False  # the whole set is to be asked for
        self._acknowledge = 0
        self._goodbye = ""
        self._said_goodbye = False
        self._heartbeat_s = 1.0
        self._lease_s = 3.0
        self._beats: deque[float] = deque(maxlen=64)
        self._lease_ends = time.monotonic() + self._lease_s
        self._told = False  # that there is no manager

    def silent_s(self) -> float:
        """Seconds since the manager's lease ended, 0 while it holds. It is counted from the sending of the heartbeat that was
        answered, so it ends here before it ends at the manager."""
        return max(0.0, time.monotonic() - self._lease_ends)

    def report(self, status: ReplicaStatus) -> None:
        self._changed[status.replica_id] = status
        self._wake.set()

    def goodbye(self, why: str) -> None:
        """Says that this agent stops; `farewell` is set when the manager lets it go."""
        self._goodbye = why
        self._wake.set()

    async def run(self) -> None:
        delay_s = _BACKOFF_S[0]
        while True:
            began = time.monotonic()
            async with dial(self._manager) as channel:
                why = await self._connect(dispatch_pb2_grpc.DispatchServiceStub(channel))
            if self.connected or not self._told:
                log.warning("no manager at %s: %s; trying again until it answers, replicas go on", self._manager, why)
            else:
                log.debug("still no manager at %s: %s", self._manager, why)
            self.connected, self._told = False, True
            if time.monotonic() - began > 5:
                delay_s = _BACKOFF_S[0]
            await asyncio.sleep(delay_s * self._random.uniform(0.5, 1.0))
            delay_s = min(_BACKOFF_S[1], delay_s * 2)

    async def _connect(self, stub: Any) -> str:
        """One stream, from hello to its end: why it ended."""
        call = stub.Connect()
        why = "the stream ended"
        try:
            async with asyncio.TaskGroup() as tasks:
                self._changed.clear()
                self._acknowledge = 0
                self._said_goodbye = False
                self._beats.clear()
                await self._greet(stub, call)
                self.connected = True
                log.info("connected to the manager at %s", self._manager)
                tasks.create_task(self._write(call), name="session writer")
                tasks.create_task(self._read(stub, call), name="session reader")
        except* (Gap, _Ended) as group:
            why = str(_first(group))
        except* grpc.aio.AioRpcError as group:
            why = _words(_first(group))
        except* TimeoutError:
            why = "it does not answer"
        except* (WireError, grpc.aio.UsageError, asyncio.InvalidStateError) as group:
            why = f"the stream broke: {_first(group)}"
        finally:
            call.cancel()
        return why

    async def _greet(self, stub: Any, call: Any) -> None:
        async with asyncio.timeout(_CONNECT_S):
            self._beats.append(time.monotonic())
            await call.write(dispatch_pb2.AgentMessage(hello=self._hello()))
            first = await call.read()
        if first is grpc.aio.EOF:
            raise await _ended(call)
        if first.WhichOneof("kind") != "welcome":
            raise _Ended("it is no Rookery manager: it did not begin with a welcome")
        await self._take(stub, first)

    def _hello(self) -> dispatch_pb2.Hello:
        # Contents of secrets and configs are not on disk: without them the whole set is asked for.
        generation = self._held.generation if complete(self._held) and not self._whole else 0
        hello = dispatch_pb2.Hello(node_id=self._node_id, info=encode(self._hooks.info()), generation=generation)
        hello.replicas.extend([encode(status) for status in self._hooks.statuses()])
        return hello

    async def _write(self, call: Any) -> None:
        due = 0.0
        while True:
            now = time.monotonic()
            if self._changed:
                batch = [self._changed.pop(key) for key in tuple(self._changed)[:_BATCH]]
                message = dispatch_pb2.StatusBatch(replicas=[encode(status) for status in batch])
                await self._send(call, dispatch_pb2.AgentMessage(status=message))
            elif self._acknowledge:
                generation, self._acknowledge = self._acknowledge, 0
                acknowledge = dispatch_pb2.Acknowledge(generation=generation)
                await self._send(call, dispatch_pb2.AgentMessage(acknowledge=acknowledge))
            elif self._goodbye and not self._said_goodbye:
                self._said_goodbye = True
                await self._send(call, dispatch_pb2.AgentMessage(goodbye=dispatch_pb2.Goodbye(why=self._goodbye)))
            elif now >= due:
                due = now + self._heartbeat_s * self._random.uniform(0.9, 1.1)
                self._beats.append(now)
                await self._send(call, dispatch_pb2.AgentMessage(heartbeat=_heartbeat(self._hooks.vitals())))
            else:
                self._wake.clear()
                try:
                    async with asyncio.timeout(due - now):
                        await self._wake.wait()
                except TimeoutError:
                    pass

    async def _send(self, call: Any, message: dispatch_pb2.AgentMessage) -> None:
        async with asyncio.timeout(max(10.0, self._lease_s)):
            await call.write(message)

    async def _read(self, stub: Any, call: Any) -> None:
        while True:
            # Every heartbeat is answered: silence for so long is a dead stream.
            async with asyncio.timeout(max(3 * self._heartbeat_s, 2 * self._lease_s)):
                message = await call.read()
            if message is grpc.aio.EOF:
                raise await _ended(call)
            await self._take(stub, message)

    async def _take(self, stub: Any, message: dispatch_pb2.ManagerMessage) -> None:
        match message.WhichOneof("kind"):
            case "welcome":
                self._heartbeat_s = max(0.05, message.welcome.heartbeat_s or 1.0)
                self._renew(message.welcome.lease_s or 3.0)
            case "lease":
                self._renew(message.lease.lease_s or self._lease_s)
            case "assignments":
                given = tuple([decode(Assignment, a) for a in message.assignments.assignments])
                await self._hold(take_set(self._held, message.assignments.generation, given))
            case "delta":
                delta = message.delta
                puts = tuple([decode(Assignment, a) for a in delta.puts])
                removes = tuple([ReplicaId(r) for r in delta.removes])
                try:
                    held = take_delta(self._held, delta.from_generation, delta.to_generation, puts, removes)
                except Gap:
                    self._whole = True
                    raise
                await self._hold(held)
            case "logs":
                self._hooks.logs(stub, message.logs)
            case "cancel_logs":
                self._hooks.cancel_logs(message.cancel_logs.request_id)
            case "farewell":
                log.info("the manager lets this node go: %s", message.farewell.why)
                self.farewell.set()

    def _renew(self, lease_s: float) -> None:
        self._lease_s = lease_s
        asked_at = self._beats.popleft() if self._beats else time.monotonic()
        self._lease_ends = asked_at + lease_s

    async def _hold(self, held: Held) -> None:
        if await self._hooks.keep(held):
            self._acknowledge = held.generation
        self._whole = False
        self._held = held
        self._wake.set()


class _Ended(Exception):
    """The stream ended."""


async def _ended(call: Any) -> Exception:
    async with asyncio.timeout(5):
        details = await call.details()
    return _Ended(details or "it closed the stream")


def _first(group: BaseExceptionGroup) -> BaseException:
    """The first error in a group, however deep."""
    inner: BaseException = group
    while isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    return inner


def _words(error: BaseException) -> str:
    if not isinstance(error, grpc.aio.AioRpcError):
        return str(error)
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return "it can't be reached"
    return error.details() or error.code().name.lower()


def _heartbeat(vitals: Vitals) -> dispatch_pb2.Heartbeat:
    return dispatch_pb2.Heartbeat(
        stats=encode(vitals.stats),
        replicas=[encode(stats) for stats in vitals.replicas],
        conditions=[encode(condition) for condition in vitals.conditions],
    )
