"""How a request becomes a commit: planned on the state, written if what was read is unchanged, else planned anew."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rookery_manager.api.errors import invalid
from rookery_manager.api.needs import Api
from rookery_manager.store import Commit, Condition, Conflict, Write

T = TypeVar("T")

TRIES = 5
CATCH_UP_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal(Generic[T]):
    """What to write, under which conditions, and what to answer once it is written. Without writes nothing is committed."""

    answer: T
    writes: Sequence[Write] = ()
    conditions: Sequence[Condition] = ()


async def commit(api: Api, propose: Callable[[], Proposal[T]], actor: str) -> tuple[T, int]:
    """The answer, and the store's revision that holds what was asked for; the state has reached it. `propose` raises Refused."""
    actor = checked_actor(actor)
    for tries_left in reversed(range(TRIES)):
        seen = api.state.revision
        proposal = propose()
        if not proposal.writes:
            return proposal.answer, seen
        wanted = Commit(writes=proposal.writes, conditions=proposal.conditions, actor=actor, at=api.clock())
        try:
            revision = await api.store.commit(wanted)
        except Conflict:
            if not tries_left:
                raise
            await _catch_up(api, seen)
        else:
            await api.state.reach(revision)
            return proposal.answer, revision
    raise AssertionError("the last try returns or raises")


async def _catch_up(api: Api, seen: int) -> None:
    """Returns when the state has moved on from `seen`, since the store evidently has."""
    try:
        async with asyncio.timeout(CATCH_UP_S):
            await api.state.reach(seen + 1)
    except TimeoutError:
        return


def checked_actor(actor: str, *, default: str = "unknown") -> str:
    if len(actor) > 200 or not actor.isprintable():
        raise invalid("actor: must be at most 200 printable characters")
    return actor or default
