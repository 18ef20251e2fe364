"""The PROXY protocol, versions 1 and 2: a connection's beginning that says whom it is for, read and written.

Pure (as HAProxy's proxy-protocol.txt has it). Invariant: a header is taken as a whole or not at all; no byte after it is touched.
"""

import ipaddress
import re
import struct
from dataclasses import dataclass

MOST_BYTES = 4096  # with all that version 2 may carry beside the addresses, which is passed over
_V1_MOST_BYTES = 107
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V2 = struct.Struct("!12sBBH")
_V1_LINE = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f.:]{2,45}) ([0-9A-Fa-f.:]{2,45}) ([0-9]{1,5}) ([0-9]{1,5})\r\n")
_V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n")

Address = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """`source` is None where the header leaves open who it is (a health check of the sender's own). `size` is the header's."""

    source: Address | None
    destination: Address | None
    size: int


def parse(data: bytes) -> Announced | int:
    """The header that `data` begins with, or how many bytes belong to it for sure while it is not whole.

    Raises ValueError for what is no header.
    """
    if data[:12] == _SIGNATURE[: len(data[:12])]:
        return _parse_v2(data)
    if not b"PROXY ".startswith(data[:6]):
        raise ValueError("the connection does not begin with a PROXY header")
    end = data.find(b"\r\n", 0, _V1_MOST_BYTES)
    if end < 0:
        if len(data) >= _V1_MOST_BYTES:
            raise ValueError("a PROXY line has no end")
        return len(data)
    line = data[: end + 2]
    if _V1_UNKNOWN.fullmatch(line):
        return Announced(source=None, destination=None, size=len(line))
    found = _V1_LINE.fullmatch(line)
    if found is None:
        raise ValueError(f"a malformed PROXY line: {line[:60]!r}")
    kind, source, destination, source_port, destination_port = found.groups()
    version = 4 if kind == b"TCP4" else 6
    return Announced(
        source=_address(source.decode(), int(source_port), version),
        destination=_address(destination.decode(), int(destination_port), version),
        size=len(line),
    )


def _parse_v2(data: bytes) -> Announced | int:
    if len(data) < _V2.size:
        return len(data)
    _, version_command, family, length = _V2.unpack_from(data)
    size = _V2.size + length
    if version_command not in (0x20, 0x21) or size > MOST_BYTES:
        raise ValueError("a PROXY header of a version, command or size that is not known")
    if len(data) < size:
        return len(data)
    if version_command == 0x20 or family not in (0x11, 0x21):
        return Announced(source=None, destination=None, size=size)
    width = 4 if family == 0x11 else 16
    if length < 2 * width + 4:
        raise ValueError("a PROXY header is too short for its addresses")
    at = _V2.size
    source, destination = (ipaddress.ip_address(data[at + n * width : at + (n + 1) * width]) for n in (0, 1))
    source_port, destination_port = struct.unpack_from("!HH", data, at + 2 * width)
    return Announced(source=(str(source), source_port), destination=(str(destination), destination_port), size=size)


def header(version: int, source: Address | None, destination: Address | None) -> bytes:
    """The header for a connection; of one whose ends are not known, or of two kinds, that nothing is known."""
    ends = [(ipaddress.ip_address(host), port) for host, port in (source, destination) if host] if source and destination else []
    kinds = {address.version for address, _ in ends}
    if len(ends) != 2 or len(kinds) != 1:
        return b"PROXY UNKNOWN\r\n" if version == 1 else _V2.pack(_SIGNATURE, 0x20, 0, 0)
    (one, one_port), (other, other_port) = ends
    if version == 1:
        return f"PROXY TCP{one.version} {one} {other} {one_port} {other_port}\r\n".encode()
    body = one.packed + other.packed + struct.pack("!HH", one_port, other_port)
    return _V2.pack(_SIGNATURE, 0x21, 0x11 if one.version == 4 else 0x21, len(body)) + body


def _address(host: str, port: int, version: int) -> Address:
    address = ipaddress.ip_address(host)
    if address.version != version or port > 65535:
        raise ValueError(f"a malformed PROXY line: {host} {port}")
    return str(address), port
