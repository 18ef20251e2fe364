"""Whether a peer sends frames that cost it nothing and us something: beyond what its calls and its answers give reason for.

Every known flood of HTTP/2 is made of frames that the protocol allows (CVE-2019-9511 to 9518, CVE-2023-44487, CVE-2025-8671), so
only their number tells. The limits are far above what libraries do: they ping once in some seconds, and open windows once or
twice for each frame of data that they get (Envoy allows ten), or for each stream. Those of gRPC measure the way by pings too, one
after the other while data comes.
"""

from h2.events import (
    DataReceived,
    Event,
    PingReceived,
    PriorityUpdated,
    RemoteSettingsChanged,
    RequestReceived,
    ResponseReceived,
    StreamReset,
    WindowUpdated,
)
from rookery.model import RateLimit

from rookery_proxy.rules import Buckets

_RESETS = RateLimit(per_s=100.0, burst=1000)  # calls that end by a reset, of whichever side
_IDLE = RateLimit(per_s=100.0, burst=1000)  # pings, settings, priorities, data without data
_WINDOWS = 1000  # beyond those for the data that was sent
_WINDOWS_A_FRAME = 10


class Flood:
    """Of one connection."""

    __slots__ = ("_idle", "_pinged_at", "_resets", "_windows")

    def __init__(self, *, resets: bool = True) -> None:
        """`resets`: those count too."""
        self._resets = Buckets(_RESETS) if resets else None
        self._pinged_at = 0  # so much was sent at the last ping that did not count
        self._idle = Buckets(_IDLE)
        self._windows = 0

    def is_beyond(self, event: Event, now: float, sent_frames: int) -> bool:
        """Takes an event down. Returns whether it is one too many, `sent_frames` of data having been sent on the connection."""
        match event:
            case WindowUpdated():
                self._windows += 1
                return self._windows > _WINDOWS + _WINDOWS_A_FRAME * sent_frames
            case RequestReceived() | ResponseReceived():
                self._windows = max(0, self._windows - _WINDOWS_A_FRAME)
            case StreamReset():
                return self._resets is not None and self._resets.take(b"", now) > 0
            case PingReceived() if sent_frames > self._pinged_at:
                self._pinged_at = sent_frames
            case PingReceived() | PriorityUpdated() | RemoteSettingsChanged():
                return self._idle.take(b"", now) > 0
            case DataReceived(data=b"", stream_ended=None):
                return self._idle.take(b"", now) > 0
        return False
