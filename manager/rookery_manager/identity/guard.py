"""Lets each call through to its handler, or refuses it: who calls, whether that is still valid, and whether the call is for such.

Invariant: no handler runs for a caller that the table does not allow, and none goes on for one that was thrown out since.
What a person's role allows is judged where the request is known (`rookery_manager.api.server`).
"""

from __future__ import annotations  # grpc's classes take type parameters in its stubs only

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from rookery.identity import REMOVED
from rookery.model import PartKind, Person, Revocation
from rookery.refusals import Refusals

from rookery_manager.clock import Clock
from rookery_manager.identity.limits import LIMITS, Limits, Paced
from rookery_manager.identity.peers import Peer, Peers, Unknown, serve_for, who_of
from rookery_manager.identity.permissions import PERMISSIONS
from rookery_manager.records import Record
from rookery_manager.state import State

FIRST_S = 2.0
LOOK_S = 1.0  # how often the calls under way are looked through for certificates that have ended

_DENIED, _UNKNOWN = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED


@dataclass(eq=False, slots=True)
class _Call:
    """A stream under way. Other calls are short, and end by themselves."""

    peer: Peer
    task: asyncio.Task[Any] | None
    thrown_out: str = ""
    code: grpc.StatusCode = _DENIED


class Guard(grpc.aio.ServerInterceptor):
    def __init__(self, peers: Peers, state: State, clock: Clock, refusals: Refusals) -> None:
        self._peers = peers
        self._state = state
        self._clock = clock
        self._refusals = refusals
        self._limits = Limits(clock)
        self._calls: dict[tuple[PartKind | None, str], set[_Call]] = {}
        self._last_until: dict[tuple[PartKind | None, str], float] = {}
        self._seen_with: dict[tuple[PartKind | None, str], str] = {}  # the authority of the latest certificate that was shown
        state.listen(self._on_record)

    async def run(self) -> None:
        """Ends calls whose caller's latest certificate has ended."""
        while True:
            await asyncio.sleep(LOOK_S)
            now = self._clock()
            for key in [key for key, until in self._last_until.items() if until <= now]:
                self._throw_out(key, "the certificate has ended")
                del self._last_until[key]
                self._seen_with.pop(key, None)

    def renewed(self, kind: PartKind, id: str, until: float) -> None:
        """The part has a certificate that lasts until then; calls under way may go on as long."""
        self._last_until[kind, id] = max(until, self._last_until.get((kind, id), 0.0))

    def seen_with(self, kind: PartKind, id: str) -> str:
        """The digest of the authority of whose certificates that one has shown one; empty where none since the start."""
        return self._seen_with.get((kind, id), "")

    def authority_changed(self, digests: Sequence[str]) -> None:
        """Ends calls whose caller's certificate is of an authority that is trusted no more."""
        for key, calls in list(self._calls.items()):
            for call in [call for call in calls if call.peer.authority not in digests]:
                self._end(call, f"the certificate of {call.peer} is of an authority that was replaced", _UNKNOWN)
            if self._seen_with.get(key) not in digests:
                self._seen_with.pop(key, None)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler = await continuation(handler_call_details)
        return self._guarded(handler, handler_call_details.method) if handler is not None else None

    def _guarded(self, handler: Any, method: str) -> grpc.RpcMethodHandler[Any, Any]:
        streamed, many = handler.request_streaming, handler.response_streaming
        inner = getattr(handler, f"{'stream' if streamed else 'unary'}_{'stream' if many else 'unary'}")

        # Every call is taken for one that streams its requests: so nothing of what a caller sends is read before it is let in.
        async def serve(requests: AsyncIterator[Any], context: Any) -> Any:
            call = await self._admit(method, context, requests if streamed else None, lasts=streamed or many)
            try:
                return await inner(await self._asked(call, requests, context, streamed=streamed), context)
            except asyncio.CancelledError:
                await self._maybe_told(call, context)
                raise
            finally:
                self._leave(call)

        async def stream(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
            call = await self._admit(method, context, requests if streamed else None, lasts=streamed or many)
            try:
                async for answer in inner(await self._asked(call, requests, context, streamed=streamed), context):
                    yield answer
            except asyncio.CancelledError:
                await self._maybe_told(call, context)
                raise
            finally:
                self._leave(call)

        make = grpc.stream_stream_rpc_method_handler if many else grpc.stream_unary_rpc_method_handler
        wrapped = stream if inspect.isasyncgenfunction(inner) else serve
        made: grpc.RpcMethodHandler[Any, Any] = make(wrapped, handler.request_deserializer, handler.response_serializer)
        return made

    async def _asked(self, call: _Call, requests: AsyncIterator[Any], context: Any, *, streamed: bool) -> Any:
        """What the handler is given: the one request of a call that has one, else its messages."""
        if streamed:
            return Paced(requests, self._clock)
        try:
            async with asyncio.timeout(LIMITS[call.peer.kind].request_s):
                return await anext(aiter(requests))
        except TimeoutError:
            await self._refuse(context, grpc.StatusCode.DEADLINE_EXCEEDED, "the request did not come in time", call.peer, "slow")
        except (StopAsyncIteration, DecodeError) as error:
            why = str(error) or "there is no request in it"
            await self._refuse(context, grpc.StatusCode.INVALID_ARGUMENT, why, call.peer, "message")

    async def _admit(self, method: str, context: Any, requests: AsyncIterator[Any] | None, *, lasts: bool) -> _Call:
        peer = None
        try:
            peer = self._peers.of(context)
            code, why = _DENIED, self._why_not(peer, method)
        except Unknown as error:
            code, why = _UNKNOWN, f"{method}: {error}"
        kind = "denied"
        if not why and peer is not None and (why := self._limits.enter(peer)):
            code, kind = grpc.StatusCode.RESOURCE_EXHAUSTED, "limit"
        if why:
            if (
                requests is not None and peer is not None and peer.kind is not None
            ):  # a client whose first message is not taken does not come to read why
                with contextlib.suppress(TimeoutError, StopAsyncIteration, DecodeError):
                    async with asyncio.timeout(FIRST_S):
                        await anext(aiter(requests))
            await self._refuse(context, code, why, peer, kind)
        assert peer is not None
        serve_for(peer)
        call = _Call(peer, asyncio.current_task())
        if peer.kind is not None:
            if lasts:
                self._calls.setdefault((peer.kind, peer.id), set()).add(call)
            self.renewed(peer.kind, peer.id, peer.ends_at)
            if self._seen_with.get((peer.kind, peer.id)) != self._peers.issuing:
                self._seen_with[peer.kind, peer.id] = peer.authority
        return call

    def _why_not(self, peer: Peer, method: str) -> str:
        need = PERMISSIONS.get(method)
        if need is None:
            return f"{method}: no permission for it is written down, so nobody has it"
        if peer.kind not in need.callers:
            way_out = "; join, or log in, first" if peer.kind is None else ""
            return f"{method} is not for {peer}{way_out}"
        return self.void(peer)

    def void(self, peer: Peer) -> str:
        """Why a certificate is no longer worth anything; empty while it is."""
        if peer.kind is None:
            return ""
        until = max(peer.ends_at, self._last_until.get((peer.kind, peer.id), 0.0))  # connections outlive their certificate
        if until <= self._clock():
            return f"the certificate of {peer} has ended"
        if peer.kind is PartKind.PERSON:
            person = self._state.people.get(peer.id)
            if person is None or peer.made_at < person.created_at:
                return f"{peer.id} was removed from the people of this cluster; log in with a new token"
            return ""
        if self._revoked(peer):
            return f"{peer} was removed from the cluster; to join again, remove its identity.pem and start it with a join token"
        return ""

    def _revoked(self, peer: Peer) -> bool:
        revoked = self._state.revocations.get((peer.kind, peer.id)) if peer.kind else None
        return revoked is not None and peer.made_at <= revoked.at

    async def _refuse(
        self, context: Any, code: grpc.StatusCode, why: str, peer: Peer | None = None, kind: str = "denied"
    ) -> NoReturn:
        self._refusals.note(kind, f"a caller at {context.peer()}: {why}", who=who_of(peer, context.peer()))
        removed = peer is not None and self._revoked(peer)
        await context.abort(code, why, (REMOVED,) if removed else ())
        raise AssertionError("abort raises")

    # ---- those under way

    def _leave(self, call: _Call) -> None:
        self._limits.leave(call.peer)
        key = (call.peer.kind, call.peer.id)
        calls = self._calls.get(key, set())
        calls.discard(call)
        if not calls:
            self._calls.pop(key, None)

    async def _maybe_told(self, call: _Call, context: Any) -> None:
        """Tells a caller that was thrown out why, once its handler has ended."""
        if call.thrown_out and call.task is not None:
            call.task.uncancel()
            await self._refuse(context, call.code, call.thrown_out, call.peer)

    def _throw_out(self, key: tuple[PartKind | None, str], why: str = "", code: grpc.StatusCode = _DENIED) -> None:
        for call in list(self._calls.get(key, ())):
            reason = self.void(call.peer)
            if reason or why:
                self._end(call, reason or why, _DENIED if reason else code)

    def _end(self, call: _Call, why: str, code: grpc.StatusCode) -> None:
        if call.task is not None and not call.thrown_out:
            call.thrown_out, call.code = why, code
            call.task.cancel()

    def _on_record(self, record: Record, after: Record | None) -> None:
        match record:
            case Person() if record != after:
                why = f"what {record.name} may do has changed; call again"
                self._throw_out((PartKind.PERSON, record.name), why, grpc.StatusCode.UNAVAILABLE)  # clients do
            case Revocation():
                self._throw_out((record.kind, record.id))
            case _:
                return
