"""Whether what came of a case is what its rule asks for. Pure."""

from http1_case import PROBE_ANSWER, PROBE_SEEN, Answered, Asked
from http1_lane import Outcome

_PROBED = PROBE_ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")  # as the client sees it


def wrong(case: Asked | Answered, outcome: Outcome) -> str:
    """What is wrong with an outcome; empty for nothing."""
    if not outcome.ended:
        return f"the connection stays open; the client got {outcome.client[:300]!r}"
    return _wrong_request(case, outcome) if isinstance(case, Asked) else _wrong_answer(case, outcome)


def _wrong_request(case: Asked, outcome: Outcome) -> str:
    statuses = case.statuses if case.ends else (*case.statuses, 200)
    if outcome.statuses != statuses:
        return f"the client got {outcome.statuses}, not {statuses}: {outcome.client[:300]!r}"
    if case.ends and b"\r\nConnection: close\r\n" not in outcome.client:
        return f"the client is not told that the connection ends: {outcome.client[:300]!r}"
    if case.refused and not case.statuses[1:]:
        if not case.reaches.startswith(outcome.endpoint):
            return f"the endpoint got {outcome.endpoint!r}, more than a beginning of {case.reaches!r}"
        return ""
    reaches = case.reaches if case.ends else case.reaches + PROBE_SEEN
    if outcome.endpoint != reaches:
        return f"the endpoint got {outcome.endpoint!r}, not {reaches!r}"
    return ""


def _wrong_answer(case: Answered, outcome: Outcome) -> str:
    got = outcome.client
    if case.status == 502:
        head, _, rest = got.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 502 Bad Gateway\r\n") or not rest.startswith(b"the endpoint"):
            return f"the client got {got[:300]!r}, not a 502"
        if outcome.statuses != (502, 200) or not got.endswith(_PROBED):
            return f"the next request is not answered: {got[:300]!r}"
        return ""
    if case.breaks:
        if case.gets.startswith(got) or got.startswith((b"HTTP/1.1 502 ", case.gets + b"HTTP/1.1 502 ")):
            return ""
        return f"the client got {got[:300]!r}, more than a beginning of {case.gets!r}"
    gets = case.gets if case.ends else case.gets + _PROBED
    return "" if got == gets else f"the client got {got!r}, not {gets!r}"
