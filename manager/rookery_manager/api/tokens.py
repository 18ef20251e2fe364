"""CreateToken, ListTokens, RemoveToken: with what agents and proxies join, and people log in."""

import dataclasses
import math

from rookery.model import JoinToken, PartKind
from rookery.v1 import control_pb2, types_pb2
from rookery.wire import encode

from rookery_manager.api.committing import Proposal, commit
from rookery_manager.api.errors import impossible_now, invalid, not_found
from rookery_manager.api.needs import Api
from rookery_manager.identity.tokens import ANY_NUMBER, make_token
from rookery_manager.records import person_key, put, token_key
from rookery_manager.store import Delete, Write

_KINDS = {
    types_pb2.PART_KIND_AGENT: PartKind.AGENT,
    types_pb2.PART_KIND_PROXY: PartKind.PROXY,
    types_pb2.PART_KIND_PERSON: PartKind.PERSON,
}
MAX_TOKENS = 1_000
MAX_USES = 1_000_000
LONGEST_S = 10 * 365 * 86_400.0


async def create_token(api: Api, request: control_pb2.CreateTokenRequest) -> control_pb2.CreateTokenResponse:
    kind = _checked(request)
    if api.identities is None:
        raise impossible_now("this manager was started with --insecure: everybody is let in, without a token")
    authority, upkeep = api.identities
    now = api.clock()
    record, text = make_token(
        authority, kind, now=now, person=request.person, lifetime_s=request.lifetime_s, uses=request.uses or ANY_NUMBER
    )

    def propose() -> Proposal[None]:
        if request.person and request.person not in api.state.people:
            raise not_found("person", request.person, api.state.people)
        old = [t for t in api.state.tokens.values() if request.replace and (t.kind, t.person) == (kind, request.person)]
        if len(api.state.tokens) - len(old) >= MAX_TOKENS:
            raise impossible_now(f"there are {MAX_TOKENS} tokens already; remove some")
        writes: list[Write] = [put(record, f"a token for {_whom(record)} was made")]
        writes += [Delete(key=token_key(token.id), why="replaced by a new one") for token in old]
        conditions = [api.state.condition(token_key(token.id)) for token in old]
        if request.person:
            conditions.append(api.state.condition(person_key(request.person)))
        return Proposal(answer=None, writes=writes, conditions=conditions)

    await commit(api, propose, request.actor)
    if request.replace:
        upkeep.replaced(kind, text)
    return control_pb2.CreateTokenResponse(token=encode(dataclasses.replace(record, digest="")), text=text)


async def list_tokens(api: Api, request: control_pb2.ListTokensRequest) -> control_pb2.ListTokensResponse:  # noqa: ARG001
    tokens = sorted(api.state.tokens.values(), key=lambda token: (token.kind, token.person, token.created_at))
    return control_pb2.ListTokensResponse(tokens=[encode(dataclasses.replace(token, digest="")) for token in tokens])


async def remove_token(api: Api, request: control_pb2.RemoveTokenRequest) -> control_pb2.RemoveTokenResponse:
    def propose() -> Proposal[None]:
        if request.id not in api.state.tokens:
            raise not_found("token", request.id, api.state.tokens)
        return Proposal(answer=None, writes=[Delete(key=token_key(request.id), why="removed")])

    _, revision = await commit(api, propose, request.actor)
    return control_pb2.RemoveTokenResponse(revision=revision)


def _checked(request: control_pb2.CreateTokenRequest) -> PartKind:
    kind = _KINDS.get(request.kind)
    if kind is None:
        raise invalid("kind: must be agent, proxy or person")
    if (kind is PartKind.PERSON) != bool(request.person):
        raise invalid("person: must be given for a person's token, and for no other")
    if not math.isfinite(request.lifetime_s) or not (request.lifetime_s == 0 or 1 <= request.lifetime_s <= LONGEST_S):
        raise invalid(f"lifetime_s: must be 0 (no end), or 1 to {LONGEST_S:.0f}")
    if not 0 <= request.uses <= MAX_USES:
        raise invalid(f"uses: must be 0 (any number), or 1 to {MAX_USES}")
    return kind


def _whom(token: JoinToken) -> str:
    return token.person or f"any {token.kind}"
