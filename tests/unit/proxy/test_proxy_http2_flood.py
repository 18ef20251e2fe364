"""What is a flood of HTTP/2 frames and what is a library at work."""

import pytest
from h2.events import Event, PingReceived, RequestReceived, StreamReset, WindowUpdated
from rookery_proxy.http2_flood import Flood

PING, REQUEST, WINDOW = PingReceived(ping_data=bytes(8)), RequestReceived(stream_id=1), WindowUpdated(stream_id=1, delta=1)
RESET = StreamReset(stream_id=1)


@pytest.mark.parametrize(
    ("events", "sent_frames_each", "is_flood"),
    [
        pytest.param([PING], 1, False, id="gRPC measures the way, one ping for each frame of data"),
        pytest.param([PING], 0, True, id="pings for nothing"),
        pytest.param([PING, PING], 1, True, id="two pings for each frame of data"),
        pytest.param([REQUEST, WINDOW, WINDOW], 0, False, id="windows for streams that get no data"),
        pytest.param([WINDOW] * 10, 1, False, id="ten windows for each frame of data"),
        pytest.param([WINDOW], 0, True, id="windows for nothing"),
        pytest.param([REQUEST, RESET], 1, True, id="calls that are cancelled at once"),
    ],
)
def test_what_is_beyond_what_there_is_reason_for(events: list[Event], sent_frames_each: int, is_flood: bool) -> None:
    flood, sent = Flood(), 0
    found = False
    for _ in range(5000):
        sent += sent_frames_each
        found = any(flood.is_beyond(event, 0.0, sent) for event in events) or found
    assert found is is_flood


def test_an_endpoint_may_reset_what_it_was_asked() -> None:
    flood = Flood(resets=False)
    assert not any(flood.is_beyond(RESET, 0.0, 0) for _ in range(5000))
