"""Arbitrary streams of requests, cut at arbitrary places: the endpoint sees the same, and the client gets the same."""

import asyncio
import itertools
import re
from collections.abc import Iterator

import pytest
from http1_case import Asked
from http1_lane import Lane, Outcome
from http1_meaning import messages
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from proxy_rig import endpoint, free_port, rig, route
from rookery_proxy.request import parse_request

PIECES = st.one_of(
    st.sampled_from([
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HEAD /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"3;a=b\r\nabc\r\n", b"0\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\nMax-Forwards: 2\r\n\r\n", b"0\r\nX: y\r\n\r\n",
        b"PUT /b HTTP/1.1\r\nHost: x\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n", b"Expect: 100-continue\r\n", b"X: y\r\n", b"abc", b"0",
        b"\r\n", b"\n", b"\r", b" ", b"\0", b"\x80", b":",
    ]),
    st.binary(max_size=12),
)  # fmt: skip
STREAMS = st.lists(PIECES, min_size=1, max_size=10).map(b"".join).filter(bool)


class Through:
    """A proxy with one lane, on a loop that the examples share."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._lane = Lane()
        self._rig = rig()

    def start(self) -> None:
        self._loop.run_until_complete(self._start())

    def stop(self) -> None:
        self._loop.run_until_complete(self._stop())
        self._loop.close()

    def send(self, data: bytes, cuts: list[int]) -> Outcome:
        case = Asked(rule="", name="", sent=data, statuses=())
        return self._loop.run_until_complete(self._lane.run(case, cuts, ends_input=True))

    async def _start(self) -> None:
        r = await self._rig.__aenter__()
        await self._lane.start()
        self._lane.port = free_port()
        await r.serve(route(self._lane.port, endpoint("a", self._lane.endpoint_port)))

    async def _stop(self) -> None:
        await self._lane.stop()
        await self._rig.__aexit__(None, None, None)


@pytest.fixture(scope="module")
def through() -> Iterator[Through]:
    made = Through()
    made.start()
    yield made
    made.stop()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=STREAMS, cuts=st.lists(st.integers(1, 400), max_size=8, unique=True))
def test_a_stream_means_the_same_wherever_it_is_cut(through: Through, data: bytes, cuts: list[int]) -> None:
    whole = through.send(data, [])
    cut = through.send(data, sorted(at for at in cuts if at < len(data)))
    assert whole.ended
    assert cut.ended
    assert cut.statuses == whole.statuses
    seen, rest = messages(whole.endpoint)
    assert messages(cut.endpoint)[0] == seen
    # Each request that was whole has one meaning still, and what is left of another has not ended.
    for line, fields, _ in seen:
        head = line + b"\r\n" + fields + b"\r\n"
        again = parse_request(head)
        assert again.fields.host is not None
        assert len(re.findall(rb"(?i)(?:^|\n)(?:content-length|transfer-encoding):", fields)) <= 1
    assert rest == b"" or not messages(rest)[0]
    answered = [status for status in whole.statuses if status == 200]
    assert len(answered) <= len(seen)
    assert all(a < 400 for a, _ in itertools.pairwise(whole.statuses))  # nothing is answered behind a refusal
