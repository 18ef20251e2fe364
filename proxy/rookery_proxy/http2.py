"""HTTP/2 connections on wires. The framing is the library's (h2).

Invariant: a message that is malformed ends its stream, and what the connection's state depends on ends the connection; what came
before is heard either way.
"""

import re

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event, RemoteSettingsChanged, StreamReset
from h2.exceptions import DenialOfServiceError, FlowControlError, ProtocolError, StreamClosedError, StreamIDTooLowError
from h2.settings import SettingCodes, Settings
from h2.stream import StreamClosedBy
from hpack import HPACKError
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

from rookery_proxy.wire import HIGH_WATER_BYTES, Wire

Headers = list[tuple[bytes, bytes]]

SPEAKS_HTTP1 = "it speaks HTTP/1, where HTTP/2 is meant"
_HTTP1 = re.compile(rb"HTTP/1\.|(?!P\Z|PR\Z|PRI)[A-Z]")  # how an answer begins, or a request
MOST_STREAMS = 100  # at a time, of a client's connection, and of one to an endpoint
_STREAM_WINDOW_BYTES = 131072
_CONNECTION_WINDOW_BYTES = MOST_STREAMS * _STREAM_WINDOW_BYTES  # whoever stands still holds up no other call
_MOST_HEADER_BYTES = 32768
_FRAME_HEAD_BYTES = 9
_TYPE_AT = 3
_MOST_CONTROL_BYTES = 1048576  # that wait for a peer which does not read: beyond what bodies may leave there


class Connection(H2Connection):
    """One that goes on with its open streams after a GOAWAY (RFC 9113, 6.8), and with the others after a malformed message on
    one (8.1.1); the library's own is over then. `heard` is what came until an error of the whole connection."""

    MAX_CLOSED_STREAMS = 2048
    """How many streams that have ended it remembers, for what still comes of them: the library's 65,536 are 8 MB a connection."""

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
        self.heard: list[Event] = []
        self._frame_dispatch_table[GoAwayFrame] = self._goes_away
        self._frame_dispatch_table[HeadersFrame] = self._takes_headers
        self._frame_dispatch_table[DataFrame] = self._takes_data
        self.decoder.max_header_list_size = _MOST_HEADER_BYTES  # the library's own limit is beyond what was told to the peer
        self.initiate_connection()
        self.increment_flow_control_window(_CONNECTION_WINDOW_BYTES)

    @property
    def is_overfull(self) -> bool:
        """Whether a frame has begun that is larger than any may be: the library looks at its length only when all of it came."""
        begun = self.incoming_buffer._data
        return len(begun) >= _FRAME_HEAD_BYTES and int.from_bytes(begun[:3], "big") > self.max_inbound_frame_size

    def _receive_frame(self, frame: Frame) -> list[Event]:
        if isinstance(frame, RstStreamFrame) and frame.stream_id > max(
            self.highest_inbound_stream_id, self.highest_outbound_stream_id
        ):
            raise ProtocolError(f"RST_STREAM on stream {frame.stream_id}, which is idle")
        events = super()._receive_frame(frame)
        self.heard += events
        return events

    def _takes_headers(self, frame: HeadersFrame) -> tuple[list[Frame], list[Event]]:
        try:
            return self._receive_headers_frame(frame)
        except ProtocolError as error:
            if not self._is_of_one_stream(frame, error):
                raise
            return self._end_malformed(frame.stream_id, error)

    def _takes_data(self, frame: DataFrame) -> tuple[list[Frame], list[Event]]:
        try:
            return self._receive_data_frame(frame)
        except ProtocolError as error:
            if not self._is_of_one_stream(frame, error):
                raise
            frames, events = self._end_malformed(frame.stream_id, error)
            size = self._inbound_flow_control_window_manager.process_bytes(frame.flow_controlled_length)
            if size:
                frames.append(WindowUpdateFrame(0, window_increment=size))
            return frames, events

    def _is_of_one_stream(self, frame: Frame, error: ProtocolError) -> bool:
        """Whether others of the connection need not suffer for it: not where the state that they share is lost with it."""
        if isinstance(error, (StreamClosedError, StreamIDTooLowError, FlowControlError, DenialOfServiceError)):
            return False
        is_of_a_client = frame.stream_id in self.streams and frame.stream_id % 2 == 1
        return is_of_a_client and not isinstance(error.__cause__ or error.__context__, HPACKError)

    def _end_malformed(self, number: int, error: ProtocolError) -> tuple[list[Frame], list[Event]]:
        stream, frames = self.streams[number], [RstStreamFrame(number, error_code=error.error_code)]
        try:
            stream.reset_stream(error.error_code)
        except StreamClosedError:  # by the error
            stream.state_machine.stream_closed_by = StreamClosedBy.SEND_RST_STREAM
        return list(frames), [StreamReset(stream_id=number, error_code=error.error_code, remote_reset=False)]

    @staticmethod
    def _goes_away(frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        told = ConnectionTerminated()
        told.error_code, told.last_stream_id, told.additional_data = frame.error_code, frame.last_stream_id, None
        return [], [told]


class Link:
    """A connection and its wire. `broken` says why it is to be ended; empty: it goes on."""

    __slots__ = ("_greeted", "_is_new", "broken", "conn", "sent_frames", "wire")

    def __init__(self, wire: Wire, *, client_side: bool) -> None:
        self.wire = wire
        self.sent_frames = 0  # of data
        self._is_new = True  # nothing came yet
        self._greeted = False  # by the peer
        self.broken = ""
        self.conn = Connection(client_side=client_side)

    @property
    def is_greeted(self) -> bool:
        """Whether the peer has said its SETTINGS."""
        return self._greeted

    def read(self) -> list[Event]:
        """What came by now. It may be the last: see `broken`."""
        data = self.wire.read()
        if data is None:
            return []
        if data:
            return self.receive(data)
        self.broken = "it was reset, or nothing was acknowledged any more" if self.wire.broken else "it was closed"
        return []

    def receive(self, data: bytes) -> list[Event]:
        """What came, until it was no HTTP/2 any more: the peer is told so."""
        conn, was_greeted = self.conn, self._greeted
        if self._is_new and _HTTP1.match(data):
            self.broken = SPEAKS_HTTP1
            return []
        if self._is_new and conn.config.client_side and len(data) > _TYPE_AT and data[_TYPE_AT] != SettingsFrame.type:  # 3.4
            self.broken = "its first frame is not SETTINGS"
            return []
        self._is_new = False
        conn.heard = []
        try:
            conn.receive_data(data)
        except ProtocolError as error:
            self.broken = f"the other side does not speak HTTP/2 as RFC 9113 has it: {error}"
            if isinstance(error.__cause__ or error.__context__, HPACKError):
                conn.clear_outbound_data_buffer()  # the library calls it a PROTOCOL_ERROR
                self.go_away(ErrorCodes.COMPRESSION_ERROR)
            else:
                self.flush()
        events, conn.heard = conn.heard, []
        self._greeted = was_greeted or bool(events)
        if events and not was_greeted and not isinstance(events[0], RemoteSettingsChanged):  # 3.4
            self.broken, events = "its first frame is not SETTINGS", []
            self.go_away(ErrorCodes.PROTOCOL_ERROR)
        elif conn.is_overfull:
            self.broken = self.broken or "it sends a frame that is larger than any may be"
        elif self.wire.pending_bytes > HIGH_WATER_BYTES + _MOST_CONTROL_BYTES:
            self.broken = "it asks for answers to pings and settings that it does not read"
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
