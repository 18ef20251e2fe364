"""The one stream to the manager: hello, heartbeats, statuses and acknowledgements up; lease, assignments and requests down.

Invariant: after each reconnect everything is said anew, so nothing depends on what was sent before. One task writes, one reads.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
import grpc.aio
from rookery.cancelled import cancellable
from rookery.channel import dial, words_of_tls
from rookery.identity import REMOVED
from rookery.identity.moving import MovingStream, Stands
from rookery.model import NodeCondition, NodeInfo, NodeStats, Reach, ReplicaId, ReplicaStats, ReplicaStatus
from rookery.refusals import Refusals, Refused
from rookery.v1 import dispatch_pb2, dispatch_pb2_grpc
from rookery.wire import WireError, encode

from rookery_agent.assignments import Gap, Held, complete, take_delta, take_set
from rookery_agent.lease import Lease, clock
from rookery_agent.manager_messages import read_delta, read_interval, read_reach, read_set

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
    """What the session asks of the agent. `keep` puts a set in force: true when it is on disk, too.

    `standing` is what a connection is made with, and is told which authorities the manager trusts. `renewed` is told each renewal
    of the lease, with how long there was none before it.
    """

    standing: Stands
    info: Callable[[], NodeInfo]
    vitals: Callable[[], Vitals]
    statuses: Callable[[], tuple[ReplicaStatus, ...]]
    keep: Callable[[Held], Awaitable[bool]]
    renewed: Callable[[float], None]
    logs: Callable[[Any, dispatch_pb2.LogRequest], None]  # the stub to upload with, and what is asked for
    cancel_logs: Callable[[str], None]
    reach: Callable[[Reach], None] = lambda _: None  # replicas that are no containers are not kept from anything


class Session:
    """Keeps a stream to the manager for as long as it runs, whatever happens to the manager."""

    def __init__(self, manager: str, node_id: str, held: Held, lease: Lease, hooks: Hooks, *, seed: int) -> None:
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
        self._lease = lease
        self._welcomed_at: float | None = None  # when it was asked for what the manager is to say next
        self._told = False  # that there is no manager
        self._refusals = Refusals(log)
        self._refused = False  # what the manager said last

    def silent_s(self) -> float:
        """Seconds since the manager's lease ended, 0 while it holds."""
        return self._lease.silent_s(clock())

    @property
    def refused(self) -> Mapping[str, int]:
        """How often the manager said what no honest one says, by kind."""
        return self._refusals.counts

    @property
    def held(self) -> Held:
        """The assignments in force."""
        return self._held

    def report(self, status: ReplicaStatus) -> None:
        self._changed[status.replica_id] = status
        self._wake.set()

    def kept(self, generation: int) -> None:
        """A set that could not be written at first is on the disk."""
        if generation == self._held.generation:
            self._acknowledge = generation
            self._wake.set()

    def goodbye(self, why: str) -> None:
        """Says that this agent stops; `farewell` is set when the manager lets it go."""
        self._goodbye = why
        self._wake.set()

    async def run(self) -> None:
        delay_s = _BACKOFF_S[0]
        while True:
            began = clock()
            why = await cancellable(self._connect_and_move())
            if self._refused:
                log.debug("the manager at %s is asked anew: %s", self._manager, why)
            elif self.connected or not self._told:
                log.warning("no manager at %s: %s; trying again until it answers, replicas go on", self._manager, why)
            else:
                log.debug("still no manager at %s: %s", self._manager, why)
            self.connected, self._told, self._refused = False, not self._refused, False
            if clock() - began > 5:
                delay_s = _BACKOFF_S[0]
            await asyncio.sleep(delay_s * self._random.uniform(0.5, 1.0))
            delay_s = min(_BACKOFF_S[1], delay_s * 2)

    async def _connect_and_move(self) -> str:
        """Streams until one breaks: why it did. Where the cluster's authority is replaced, the next connection is there before
        the stream is moved to it."""
        moving = MovingStream(partial(dial, self._manager), self._hooks.standing)
        return await moving.run(lambda channel: self._connect(dispatch_pb2_grpc.DispatchServiceStub(channel)))

    async def _connect(self, stub: Any) -> str:
        """One stream, from hello to its end: why it ended."""
        call = stub.Connect()
        why = "the stream ended"
        try:
            async with asyncio.TaskGroup() as tasks:
                self._changed.clear()
                self._acknowledge = 0
                self._said_goodbye = False
                self._lease.begin()
                self._welcomed_at = None
                await self._greet(stub, call)
                self.connected = True
                log.info("connected to the manager at %s", self._manager)
                tasks.create_task(self._write(call), name="session writer")
                tasks.create_task(self._read(stub, call), name="session reader")
        except* Refused as group:
            why = self._refuse(_first(group))
        except* _Ended as group:
            why = str(_first(group))
        except* grpc.aio.AioRpcError as group:
            why = _words(_first(group))
        except* TimeoutError:
            why = "it does not answer"
        except* WireError as group:
            why = self._refuse(Refused("message", f"the manager says what is not understood: {_first(group)}"))
        except* (grpc.aio.UsageError, asyncio.InvalidStateError) as group:
            why = f"the stream broke: {_first(group)}"
        finally:
            call.cancel()
        if self._hooks.standing.identity is not None:
            await self._heed_removal(call)
        return why

    async def _heed_removal(self, call: Any) -> None:
        """Runs nothing any more for a cluster that removed this node: it has given the replicas to others."""
        told: Iterable[Any] = ()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CONNECT_S):
                told = await call.trailing_metadata() or ()
        if REMOVED in [tuple(item) for item in told] and self._held.assignments:
            log.warning("this node was removed from the cluster: what runs here for it is stopped")
            await self._hold(Held(generation=self._held.generation))

    def _refuse(self, error: BaseException) -> str:
        """Why the stream is ended: what the manager said is not done, and all is asked for anew."""
        if isinstance(error, Refused):
            self._refusals.note(error.kind, str(error))
        self._refused = True
        return str(error)

    async def _greet(self, stub: Any, call: Any) -> None:
        async with asyncio.timeout(_CONNECT_S):
            self._lease.ask(clock())
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
            now = clock()
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
                self._lease.ask(now)
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
            # Every heartbeat is answered: silence for so long is a dead stream, and so is one that says all but that.
            longest_s = max(3 * self._heartbeat_s, 2 * self._lease_s)
            async with asyncio.timeout(longest_s):
                message = await call.read()
            if message is grpc.aio.EOF:
                raise await _ended(call)
            await self._take(stub, message)
            if self._lease.waiting_s(clock()) > longest_s:
                raise _Ended("it does not answer heartbeats")

    async def _take(self, stub: Any, message: dispatch_pb2.ManagerMessage) -> None:
        match message.WhichOneof("kind"):
            case "welcome":
                self._heartbeat_s = max(0.05, read_interval(message.welcome.heartbeat_s, 1.0))
                self._lease_s = read_interval(message.welcome.lease_s, 3.0)
                # It counts once it is known what the manager wants: it may have given a replica to another node meanwhile.
                self._welcomed_at = self._answered()
            case "lease":
                lease_s = read_interval(message.lease.lease_s, self._lease_s)
                self._renew(self._answered(), lease_s)
            case "assignments":
                given = read_set(message.assignments, self._node_id)
                await self._hold(take_set(self._held, message.assignments.generation, given))
                if self._welcomed_at is not None:
                    self._renew(self._welcomed_at, self._lease_s)
                    self._welcomed_at = None
            case "delta":
                delta = message.delta
                puts, removes = read_delta(delta, self._node_id)
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
            case "reach":
                self._hooks.reach(read_reach(message.reach))
            case "trust":
                self._hooks.standing.heed(message.trust.authorities, message.trust.within_s)
            case "farewell":
                log.info("the manager lets this node go: %s", message.farewell.why)
                self.farewell.set()

    def _answered(self) -> float:
        try:
            return self._lease.answered()
        except LookupError:
            raise Refused("lease", "the manager grants a lease that was not asked for") from None

    def _renew(self, asked_at: float, lease_s: float) -> None:
        self._lease_s = lease_s
        silent_s = self.silent_s()
        self._lease.renew(asked_at, lease_s)
        self._hooks.renewed(silent_s)

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
        return words_of_tls(error.details() or "") or "it can't be reached"
    return error.details() or error.code().name.lower()


def _heartbeat(vitals: Vitals) -> dispatch_pb2.Heartbeat:
    return dispatch_pb2.Heartbeat(
        stats=encode(vitals.stats),
        replicas=[encode(stats) for stats in vitals.replicas],
        conditions=[encode(condition) for condition in vitals.conditions],
    )
