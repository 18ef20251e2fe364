"""The body of a message on its way from a stream of one HTTP/2 connection to a stream of another.

Invariant: a byte is acknowledged to its sender only when it is on its way to the other side. So what one call may hold here is
its flow-control window, whoever stands still; and, of a request until its answer begins, 64 KiB that may have to be sent again.
"""

from collections import deque
from collections.abc import Callable

from h2.exceptions import ProtocolError

from rookery_proxy.http2 import Headers, Link
from rookery_proxy.wire import HIGH_WATER_BYTES

_MOST_KEPT_BYTES = 65536


class Body:
    """One direction of a call: from a stream of one link to a stream of another, which may be known only later."""

    __slots__ = (
        "_ahead", "_broke_off", "_chunks", "_kept", "_kept_bytes", "_passed_on", "_source", "_source_stream", "done", "ended",
        "sent_bytes", "target", "target_stream", "trailers",
    )  # fmt: skip

    def __init__(self, *, passed_on: Callable[[], None], broke_off: Callable[[], None], keeps: bool = False) -> None:
        """`passed_on` is called when it was sent to its end, `broke_off` when the stream that it goes to is gone. `keeps`: what
        is sent may have to be sent again."""
        self._passed_on = passed_on
        self._broke_off = broke_off
        self._source: Link | None = None
        self._source_stream = 0
        self._chunks: deque[bytes] = deque()
        self._kept: list[bytes] | None = [] if keeps else None  # all that was sent; None: it is not known any more
        self._kept_bytes = 0
        self._ahead = 0  # bytes that were acknowledged already, when they were sent before
        self.target: Link | None = None
        self.target_stream = 0
        self.trailers: Headers | None = None
        self.ended = False  # all of it has come
        self.done = False  # and is sent
        self.sent_bytes = 0

    @property
    def is_empty(self) -> bool:
        """Whether it ended without a byte and without trailers."""
        return self.ended and not self._chunks and self.trailers is None

    def come_from(self, source: Link, stream: int) -> None:
        self._source, self._source_stream = source, stream

    @property
    def can_rewind(self) -> bool:
        return self._kept is not None

    def rewind(self) -> None:
        """Makes it begin anew, for another stream."""
        self._chunks.extendleft(reversed(self._kept or []))
        self._ahead += self._kept_bytes
        self._kept, self._kept_bytes = [], 0
        self.target, self.target_stream, self.done = None, 0, False

    def keep_no_more(self) -> None:
        self._kept = None

    def put(self, data: bytes, padding: int) -> None:
        """More of it came, with so many bytes of padding."""
        if padding:
            self._acknowledge(padding)
        if data:
            self._chunks.append(data)

    def pump(self) -> None:
        """Sends what the other side takes."""
        target = self.target
        if target is None or self.done:
            return
        sent_before = self.sent_bytes
        try:
            while self._chunks and target.wire.pending_bytes <= HIGH_WATER_BYTES:
                data = self._chunks[0]
                room = min(target.conn.local_flow_control_window(self.target_stream), target.conn.max_outbound_frame_size)
                if room <= 0:
                    break
                piece = data[:room]
                target.conn.send_data(self.target_stream, piece)
                target.sent_frames += 1
                self.sent_bytes += len(piece)
                if self._kept is not None:
                    self._keep(piece)
                if room < len(data):
                    self._chunks[0] = data[room:]
                else:
                    self._chunks.popleft()
            if self.ended and not self._chunks:
                self.done = True
                if self.trailers is not None:
                    target.conn.send_headers(self.target_stream, self.trailers, end_stream=True)
                else:
                    target.conn.end_stream(self.target_stream)
        except ProtocolError:
            self._acknowledge_sent(sent_before)
            self._broke_off()
            return
        target.flush()
        self._acknowledge_sent(sent_before)
        if self.done:
            self._passed_on()

    def drop(self) -> None:
        """Throws away what is left, so that it does not keep others of its connection waiting."""
        self._kept = None
        left = sum(map(len, self._chunks)) - self._ahead
        self._chunks.clear()
        self._ahead = 0
        if left > 0:
            self._acknowledge(left)

    def _keep(self, piece: bytes) -> None:
        self._kept_bytes += len(piece)
        if self._kept_bytes > _MOST_KEPT_BYTES:
            self._kept = None
        elif self._kept is not None:
            self._kept.append(piece)

    def _acknowledge_sent(self, before: int) -> None:
        sent = self.sent_bytes - before
        again = min(sent, self._ahead)
        self._ahead -= again
        if sent > again:
            self._acknowledge(sent - again)

    def _acknowledge(self, count: int) -> None:
        source = self._source
        if source is None or source.wire.closed:
            return
        try:
            source.conn.acknowledge_received_data(count, self._source_stream)
        except ProtocolError:
            return
        source.flush()
