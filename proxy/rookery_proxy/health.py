"""Which endpoints are left alone for a while, judged by what became of the requests they got.

Pure: the time is an argument. An endpoint is ejected after so many failures in a row, for longer each time, until it answers.
Invariant: nothing here ejects more than half of a route's endpoints at a time.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol

from rookery_proxy.pick import Loaded

FIRST_EJECTION_S = 1.0
LONGEST_EJECTION_S = 10.0


class Failure(IntEnum):
    """What went wrong. The value is how many failures in a row are too many, when this is the latest of them."""

    REFUSED = 1  # a connection: there is nobody
    BROKEN = 3  # a request: no answer, in time or at all, or none that is whole and well formed
    GATEWAY = 5  # 502, 503 or 504, which the endpoint answers for something behind it: the others may do so too


class Judged(Loaded, Protocol):
    """What is kept of an endpoint. Instants are of the clock that `now` comes from."""

    ejected_until: float
    ejected_at: float  # since then it has to prove itself; -inf while it is on trial
    failures: int  # in a row
    ejections: int  # in a row: without a good answer between them
    refusing: bool  # the latest failure was a refused connection


def failed(endpoint: Judged, failure: Failure, endpoints: Sequence[Loaded], now: float) -> bool:
    """Takes a failure down, of one of the route's endpoints. Returns whether it is ejected for it."""
    endpoint.failures += 1
    endpoint.refusing = failure is Failure.REFUSED
    on_trial = endpoint.ejections and endpoint.ejected_at == -float("inf")
    if endpoint.failures < failure and not on_trial:
        return False
    if on_trial:
        endpoint.ejected_until = 0.0  # its place was kept: it is not counted twice
    if endpoint.ejected_until > now or not may_eject(endpoints, now):
        return False
    endpoint.ejections += 1
    endpoint.ejected_at = now
    endpoint.ejected_until = now + ejection_s(endpoint.ejections)
    return True


def answered_well(endpoint: Judged, asked_at: float) -> None:
    """Takes a good answer down, to a request of that instant. What was asked before the ejection proves nothing now."""
    if not endpoint.ejections or asked_at > endpoint.ejected_at:
        _acquit(endpoint)


def took_connection(endpoint: Judged) -> None:
    """Takes a connection down. It shows that one which refused is there again, not that it answers."""
    if endpoint.refusing:
        _acquit(endpoint)


def begin_trial(endpoint: Judged, endpoints: Sequence[Loaded], now: float) -> None:
    """The first request after an ejection's time: until it is answered the others go elsewhere, so that one pays at most."""
    if endpoint.ejected_until <= now:
        endpoint.ejected_at = -float("inf")
        if may_eject(endpoints, now):
            endpoint.ejected_until = now + ejection_s(endpoint.ejections)


def ejection_s(ejections: int) -> float:
    """How long an endpoint is left alone the n-th time in a row: 1, 2, 4, 8, 10 s."""
    return float(min(FIRST_EJECTION_S * 2 ** min(ejections - 1, 10), LONGEST_EJECTION_S))


def may_eject(endpoints: Sequence[Loaded], now: float) -> bool:
    """Whether one more may be ejected: never more than half are at a time."""
    ejected = sum(1 for endpoint in endpoints if endpoint.ejected_until > now)
    return (ejected + 1) * 2 <= len(endpoints)


def release(endpoints: Sequence[Judged], now: float) -> None:
    """Endpoints left the route: no more than half of those that are there stay ejected, those that were due first go free.

    They prove themselves by the next request, as after any ejection.
    """
    ejected = sorted((e for e in endpoints if e.ejected_until > now), key=lambda e: e.ejected_until)
    for endpoint in ejected[: max(0, len(ejected) - len(endpoints) // 2)]:
        endpoint.ejected_until = now


def _acquit(endpoint: Judged) -> None:
    endpoint.ejected_until = 0.0
    endpoint.failures = endpoint.ejections = 0
    endpoint.refusing = False
