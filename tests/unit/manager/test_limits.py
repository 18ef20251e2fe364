"""How much one caller may ask for: what is counted, and what is given back."""

import asyncio
from collections.abc import AsyncIterator

from rookery.model import PartKind
from rookery_manager.identity import limits
from rookery_manager.identity.limits import LIMITS, Limits, Paced
from rookery_manager.identity.peers import Peer

AGENT, VISITOR = Peer(kind=PartKind.AGENT, id="n1"), Peer(kind=None, host="10.0.0.7")


def test_a_caller_has_so_many_calls_at_a_time_and_others_do_not_notice() -> None:
    held = Limits(lambda: 0.0)
    for _ in range(LIMITS[PartKind.AGENT].calls):
        assert not held.enter(AGENT)
    assert "agent n1 has 128 calls under way" in held.enter(AGENT)
    assert not held.enter(Peer(kind=PartKind.AGENT, id="n2"))
    held.leave(AGENT)
    assert not held.enter(AGENT)


def test_calls_that_begin_too_fast_are_refused_until_time_has_passed() -> None:
    now = [0.0]
    held = Limits(lambda: now[0])
    limit = LIMITS[None]
    for _ in range(int(limit.burst)):
        assert not held.enter(VISITOR)
        held.leave(VISITOR)
    assert "at 10.0.0.7, begins more than 20 calls a second" in held.enter(VISITOR)
    now[0] += 1 / limit.per_s
    assert not held.enter(VISITOR)
    held.leave(VISITOR)
    assert held.enter(VISITOR)


def test_visitors_from_everywhere_are_together_no_more_than_so_many() -> None:
    held = Limits(lambda: 0.0)
    crowd = [Peer(kind=None, host=f"10.0.{n // 8}.1") for n in range(limits.MOST_VISITORS)]
    assert not any(map(held.enter, crowd))
    assert "too many callers without a certificate" in held.enter(Peer(kind=None, host="10.1.0.1"))
    assert not held.enter(AGENT)
    held.leave(crowd[0])
    assert not held.enter(Peer(kind=None, host="10.1.0.1"))


def test_callers_who_have_gone_are_forgotten() -> None:
    now = [0.0]
    held = Limits(lambda: now[0])
    for n in range(limits.MOST_IDLE):
        now[0] += 1
        held.enter(Peer(kind=None, host=f"h{n}"))
        held.leave(Peer(kind=None, host=f"h{n}"))
    held.enter(VISITOR)
    assert len(held._uses) < 50


def test_messages_are_held_up_not_lost() -> None:
    async def main() -> None:
        now = [0.0]

        async def messages() -> AsyncIterator[int]:
            for n in range(int(limits.MESSAGES_BURST) + 20):
                yield n

        loop = asyncio.get_running_loop()
        began = loop.time()
        got = [n async for n in Paced(messages(), lambda: now[0])]
        assert got == list(range(int(limits.MESSAGES_BURST) + 20))
        assert loop.time() - began >= 0.2  # each of the 20 waits a little longer than the one before

    asyncio.run(main())
