"""HTTP/2 frames made by hand (RFC 9113, 4.1), also ones that nobody may send."""

import struct
from dataclasses import dataclass

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
NO_ERROR, PROTOCOL, INTERNAL, FLOW_CONTROL, SETTINGS_TIMEOUT, CLOSED, FRAME_SIZE, REFUSED, CANCEL, COMPRESSION = range(10)
CALM = 11

Fields = list[tuple[str, str]]


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def settings(*pairs: tuple[int, int], flags: int = 0) -> bytes:
    return frame(SETTINGS, flags, payload=b"".join(struct.pack("!HI", *pair) for pair in pairs))


def window(stream: int, size: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, struct.pack("!I", size))


def reset(stream: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack("!I", code))


def request(path: str = "/bad", method: str = "GET") -> Fields:
    return [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", path)]


def block(fields: Fields) -> bytes:
    """The fields as HPACK has them, without the dynamic table, which another block would depend on."""
    return b"".join(
        b"\0" + _text(name) + _text(value) for name, value in ((n.encode("latin-1"), v.encode("latin-1")) for n, v in fields)
    )


def headers(stream: int, fields: Fields, *, end: bool = True, flags: int = END_HEADERS) -> bytes:
    return frame(HEADERS, flags | (END_STREAM if end else 0), stream, block(fields))


def data(stream: int, payload: bytes = b"", *, end: bool = False) -> bytes:
    return frame(DATA, END_STREAM if end else 0, stream, payload)


@dataclass(frozen=True, slots=True)
class Heard:
    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self) -> int:
        """Of a RST_STREAM or a GOAWAY."""
        return int.from_bytes(self.payload[4:8] if self.kind == GOAWAY else self.payload[:4], "big")


def parse(data: bytes) -> tuple[list[Heard], bytes]:
    """The whole frames, and what is left."""
    found = []
    while len(data) >= 9 and len(data) >= 9 + (size := int.from_bytes(data[:3], "big")):
        kind, flags, stream = struct.unpack("!BBI", data[3:9])
        found.append(Heard(kind, flags, stream & 0x7FFFFFFF, data[9 : 9 + size]))
        data = data[9 + size :]
    return found, data


def _text(text: bytes) -> bytes:
    return _integer(len(text), 7) + text


def _integer(value: int, bits: int) -> bytes:
    most = (1 << bits) - 1
    if value < most:
        return bytes([value])
    made, value = bytearray([most]), value - most
    while value >= 128:
        made.append(value % 128 + 128)
        value //= 128
    return bytes([*made, value])
