"""IdentityService: certificates for who has a join token, and later ones for who has a certificate."""

from __future__ import annotations  # grpc's classes take type parameters in its stubs only

import dataclasses
import hashlib
import hmac
import logging
from typing import Any

import grpc
import grpc.aio
from rookery.model import JoinToken, NodeState, PartKind
from rookery.refusals import Refusals
from rookery.v1 import identity_pb2, identity_pb2_grpc, types_pb2

from rookery_manager.clock import Clock
from rookery_manager.identity.authority import Authority, BadRequest, Certificate
from rookery_manager.identity.guard import Guard
from rookery_manager.identity.peers import caller, who_of
from rookery_manager.records import put, token_key
from rookery_manager.state import State
from rookery_manager.store import Commit, Conflict, Delete, Store, Write

log = logging.getLogger("rookery.manager")

_TRIES = 5
_LONGEST_ID = 253
_KINDS = {
    PartKind.AGENT: types_pb2.PART_KIND_AGENT,
    PartKind.PROXY: types_pb2.PART_KIND_PROXY,
    PartKind.PERSON: types_pb2.PART_KIND_PERSON,
}


class _Refused(Exception):
    def __init__(self, why: str, code: grpc.StatusCode = grpc.StatusCode.PERMISSION_DENIED) -> None:
        super().__init__(why)
        self.code = code


def secret_digest(secret: str) -> str:
    """Secrets are 130 random bits, so that a plain hash can't be turned back by guessing."""
    return hashlib.sha256(secret.encode()).hexdigest()


class IdentityService(identity_pb2_grpc.IdentityServiceServicer):
    def __init__(self, authority: Authority, guard: Guard, state: State, store: Store, clock: Clock, refusals: Refusals) -> None:
        self._authority = authority
        self._guard = guard
        self._state = state
        self._store = store
        self._clock = clock
        self._refusals = refusals

    async def GetAuthority(self, request: identity_pb2.GetAuthorityRequest, context: Any) -> identity_pb2.Authority:
        del request, context
        return identity_pb2.Authority(certificate_pem=self._authority.pem, trusted_pem=self._authority.trusted_pem)

    async def Join(self, request: identity_pb2.JoinRequest, context: Any) -> identity_pb2.Issued:
        try:
            token = self._token(request.token)
            id = self._free_id(token, request.id)
            made = self._authority.issue(token.kind, id, request.request_pem)
            await self._use(token)
        except BadRequest as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except _Refused as error:
            self._refusals.note("join", f"a joiner at {context.peer()}: {error}", who=who_of(None, context.peer()))
            await context.abort(error.code, str(error))
        log.info("%s %s joined from %s, with token %s", token.kind, id, context.peer(), token.id)
        return self._issued(token.kind, id, made)

    async def Renew(self, request: identity_pb2.RenewRequest, context: Any) -> identity_pb2.Issued:
        peer = caller()
        if peer is None or peer.kind is None:
            raise AssertionError("the guard lets nobody else through")
        try:
            made = self._authority.issue(peer.kind, peer.id, request.request_pem)
        except BadRequest as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        self._guard.renewed(peer.kind, peer.id, made.ends_at)
        return self._issued(peer.kind, peer.id, made)

    def _issued(self, kind: PartKind, id: str, made: Certificate) -> identity_pb2.Issued:
        return identity_pb2.Issued(
            certificate_pem=made.pem,
            authority_pem=self._authority.trusted_pem,
            kind=_KINDS[kind],
            id=id,
            cluster_id=self._authority.cluster_id,
            ends_at=made.ends_at,
            renew_at=made.renew_at,
            now=self._clock(),
        )

    def _token(self, said: str) -> JoinToken:
        """The token that this is the secret of. Raises _Refused, in the same words whatever of it is wrong."""
        token_id, _, secret = said.partition("-")
        token = self._state.tokens.get(token_id)
        right = hmac.compare_digest(token.digest if token else "", secret_digest(secret))
        if token is None or not right:
            raise _Refused("this manager knows no such join token, or it was removed or used up")
        if token.expires_at and token.expires_at <= self._clock():
            raise _Refused("the join token has expired; have another one made ('rookery token create')")
        if not token.uses_left:
            raise _Refused("this manager knows no such join token, or it was removed or used up")
        return token

    def _free_id(self, token: JoinToken, wanted: str) -> str:
        """The id that the joiner gets. Raises _Refused where it is somebody else's."""
        if token.kind is PartKind.PERSON:
            if token.person not in self._state.people:
                raise _Refused(f"{token.person} was removed from the people of this cluster")
            return token.person
        if not wanted:
            raise _Refused(f"the token is for any {token.kind}, not for people; 'rookery person add' makes one for a login")
        if not 0 < len(wanted) <= _LONGEST_ID or not wanted.isascii() or not all(c.isalnum() or c in "-_." for c in wanted):
            raise _Refused(f"a part's id has 1 to {_LONGEST_ID} letters, digits, '-', '_' or '.'")
        if token.kind is PartKind.AGENT:
            node = next((node for node in self._state.nodes.values() if node.id == wanted), None)
            if node is not None and node.state is NodeState.READY:
                why = f"node {wanted} is in the cluster, and up: nobody else can be it"
                raise _Refused(why, grpc.StatusCode.FAILED_PRECONDITION)  # which may have changed in a moment
        return wanted

    async def _use(self, token: JoinToken) -> None:
        """Counts the use in the store. Raises _Refused where somebody else had the last one."""
        for _ in range(_TRIES):
            now = self._state.tokens.get(token.id)
            if now is None or not now.uses_left:
                break
            if now.uses_left < 0:
                return
            left = dataclasses.replace(now, uses_left=now.uses_left - 1)
            why = f"a token of {now.person or now.kind} was used"
            write: Write = put(left, why) if left.uses_left else Delete(key=token_key(now.id), why=f"{why}, for the last time")
            condition = self._state.condition(token_key(now.id))
            seen = self._state.revision
            try:
                commit = Commit(writes=(write,), conditions=(condition,), actor="manager", at=self._clock())
                await self._state.reach(await self._store.commit(commit))
            except Conflict:
                await self._state.reach(seen + 1)
            else:
                return
        raise _Refused("this manager knows no such join token, or it was removed or used up")
