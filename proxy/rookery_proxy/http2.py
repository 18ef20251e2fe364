"""HTTP/2 connections on wires, and the bodies that go from one to another: what both sides of a call are made of.

The framing is the library's (h2). Invariant: a byte is acknowledged to its sender only when it is on its way to the other side,
so what one call may hold here is its flow-control window, whoever stands still.
"""

from collections import deque
from collections.abc import Callable

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event, RemoteSettingsChanged
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hpack import HPACKError
from hyperframe.frame import Frame, GoAwayFrame

from rookery_proxy.wire import HIGH_WATER_BYTES, Wire

Headers = list[tuple[bytes, bytes]]

MOST_STREAMS = 100  # at a time, of a client's connection, and of one to an endpoint
_STREAM_WINDOW_BYTES = 131072
_CONNECTION_WINDOW_BYTES = MOST_STREAMS * _STREAM_WINDOW_BYTES  # whoever stands still holds up no other call
_MOST_HEADER_BYTES = 32768
_FRAME_HEAD_BYTES = 9
_MOST_CONTROL_BYTES = 1048576  # that wait for a peer which does not read: beyond what bodies may leave there


class Connection(H2Connection):
    """One that goes on with its open streams after a GOAWAY, as RFC 9113 (6.8) has it; the library's own is over then."""

    def __init__(self, *, client_side: bool) -> None:
        super().__init__(
            H2Configuration(
                client_side=client_side, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
            )
        )
        values = {
            SettingCodes.INITIAL_WINDOW_SIZE: _STREAM_WINDOW_BYTES,
            SettingCodes.MAX_HEADER_LIST_SIZE: _MOST_HEADER_BYTES,
            SettingCodes.MAX_CONCURRENT_STREAMS: MOST_STREAMS,
            SettingCodes.ENABLE_PUSH: 0,
        }
        if not client_side:
            values.pop(SettingCodes.ENABLE_PUSH)
        self.local_settings = Settings(client=client_side, initial_values=values)
        self._frame_dispatch_table[GoAwayFrame] = self._goes_away
        self.decoder.max_header_list_size = _MOST_HEADER_BYTES  # the library's own limit is beyond what was told to the peer
        self.initiate_connection()
        self.increment_flow_control_window(_CONNECTION_WINDOW_BYTES)

    @property
    def is_overfull(self) -> bool:
        """Whether more has come of a frame than any may have: the library looks at its length only when all of it is there."""
        return len(self.incoming_buffer._data) > self.max_inbound_frame_size + _FRAME_HEAD_BYTES

    @staticmethod
    def _goes_away(frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        told = ConnectionTerminated()
        told.error_code, told.last_stream_id, told.additional_data = frame.error_code, frame.last_stream_id, None
        return [], [told]


class Link:
    """A connection and its wire."""

    __slots__ = ("_greeted", "conn", "sent_frames", "wire")

    def __init__(self, wire: Wire, *, client_side: bool) -> None:
        self.wire = wire
        self.sent_frames = 0  # of data
        self._greeted = False  # by the peer
        self.conn = Connection(client_side=client_side)

    def read(self) -> list[Event] | None:
        """What came by now. None at the end, or where it is no HTTP/2: the connection is to be ended."""
        data = self.wire.read()
        if data is None:
            return []
        return self.receive(data) if data else None

    def receive(self, data: bytes) -> list[Event] | None:
        """What came. None where it is no HTTP/2: the peer is told so, and the connection is to be ended."""
        try:
            events = self.conn.receive_data(data)
        except ProtocolError as error:
            if isinstance(error.__cause__ or error.__context__, HPACKError):
                self.conn.clear_outbound_data_buffer()  # the library calls it a PROTOCOL_ERROR
                self.go_away(ErrorCodes.COMPRESSION_ERROR)
            else:
                self.flush()
            return None
        if events and not self._greeted:
            self._greeted = True
            if not isinstance(events[0], RemoteSettingsChanged):  # the first frame must be SETTINGS (3.4)
                self.go_away(ErrorCodes.PROTOCOL_ERROR)
                return None
        if self.conn.is_overfull:
            return None
        if self.wire.pending_bytes > HIGH_WATER_BYTES + _MOST_CONTROL_BYTES:
            return None  # it asks for answers to pings and settings that it does not read
        return events

    def flush(self) -> None:
        data = self.conn.data_to_send()
        if data and not self.wire.closed:
            self.wire.write(data)

    def reset(self, stream: int, code: int) -> None:
        """Ends a stream, if it has not ended."""
        try:
            self.conn.reset_stream(stream, code)
        except ProtocolError:
            return
        self.flush()

    def go_away(self, code: int = ErrorCodes.NO_ERROR) -> None:
        """Says that new streams are not taken any more, and why; open ones go on."""
        frame = GoAwayFrame(0, last_stream_id=self.conn.highest_inbound_stream_id, error_code=code)
        if not self.wire.closed:
            self.flush()
            self.wire.write(frame.serialize())


class Body:
    """One direction of a call: from a stream of one link to a stream of another, which may be known only later."""

    __slots__ = (
        "_broke_off", "_chunks", "_passed_on", "_source", "_source_stream", "done", "ended", "sent_bytes", "target",
        "target_stream", "trailers",
    )  # fmt: skip

    def __init__(self, *, passed_on: Callable[[], None], broke_off: Callable[[], None]) -> None:
        """`passed_on` is called when it was sent to its end, `broke_off` when the stream that it goes to is gone."""
        self._passed_on = passed_on
        self._broke_off = broke_off
        self._source: Link | None = None
        self._source_stream = 0
        self._chunks: deque[bytes] = deque()
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

    def put(self, data: bytes, padding: int) -> None:
        """More of it came, with so many bytes of padding."""
        if padding:
            self._acknowledge(padding)
        if data:
            self._chunks.append(data)

    def pump(self) -> None:
        """Sends what the other side takes."""
        target, sent = self.target, 0
        if target is None or self.done:
            return
        try:
            while self._chunks and target.wire.pending_bytes <= HIGH_WATER_BYTES:
                data = self._chunks[0]
                room = min(target.conn.local_flow_control_window(self.target_stream), target.conn.max_outbound_frame_size)
                if room <= 0:
                    break
                target.conn.send_data(self.target_stream, data[:room])
                target.sent_frames += 1
                sent += min(room, len(data))
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
            self._broke_off()
            return
        target.flush()
        if sent:
            self.sent_bytes += sent
            self._acknowledge(sent)
        if self.done:
            self._passed_on()

    def drop(self) -> None:
        """Throws away what is left, so that it does not keep others of its connection waiting."""
        left = sum(map(len, self._chunks))
        self._chunks.clear()
        if left:
            self._acknowledge(left)

    def _acknowledge(self, count: int) -> None:
        source = self._source
        if source is None or source.wire.closed:
            return
        try:
            source.conn.acknowledge_received_data(count, self._source_stream)
        except ProtocolError:
            return
        source.flush()
