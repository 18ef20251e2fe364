"""What the supervising process and a worker say to each other, over a socket pair.

Messages are frozen values, pickled (both ends are this program, one the child of the other), each after its length. A listening
socket travels with its Listen. Invariant: messages arrive in order and whole; sending never blocks.
"""

import array
import os
import pickle
import socket
import struct
from dataclasses import dataclass

from rookery.model import Route, RouteId, RouteTable

from rookery_proxy.certificates import Certificate
from rookery_proxy.stats import Figures

_LENGTH = struct.Struct("!I")
_READ_BYTES = 1048576


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace:
    """The whole table."""

    table: RouteTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is different from the table before."""

    from_version: int
    to_version: int
    puts: tuple[Route, ...]
    removes: tuple[RouteId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Comes with the listening socket of that port."""

    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlisten:
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Asks for the figures: all of them, or the `changes` since those were last asked for, which only one may do."""

    changes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Requests have begun to wait for an endpoint: the figures say which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Asks the worker to finish what is in flight, for so long at most, and end."""

    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """From now on the worker sends nothing to endpoints that are not in this version."""

    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Secure:
    """The certificates to serve from now on, the default first."""

    certificates: tuple[Certificate, ...]


Message = Secure | Replace | Change | Listen | Unlisten | Count | Drain | Applied | Held | Figures


def packed(message: Message) -> bytes:
    """A message as it travels."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(data)) + data


class Channel:
    """One end of the socket pair, non-blocking: `receive` when it is readable, `flush` when it is writable."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.closed = False  # by the other end
        self._inward = bytearray()
        self._sockets: list[int] = []
        self._outward: list[tuple[memoryview, int | None]] = []

    @property
    def waiting(self) -> bool:
        """Whether there is output left."""
        return bool(self._outward)

    def send(self, message: Message, descriptor: int | None = None) -> None:
        """Queues a message and sends what can be sent. The descriptor is the caller's, who may close it at any time."""
        self.send_packed(packed(message), descriptor)

    def send_packed(self, data: bytes, descriptor: int | None = None) -> None:
        """As `send`, of a message that was packed once for several channels."""
        self._outward.append((memoryview(data), os.dup(descriptor) if descriptor is not None else None))
        self.flush()

    def flush(self) -> None:
        while self._outward:
            data, descriptor = self._outward[0]
            ancillary = []
            if descriptor is not None:
                ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
            try:
                sent = self.sock.sendmsg([data], ancillary)
            except BlockingIOError:
                return
            except OSError:
                self.closed = True
                self.drop()
                return
            if descriptor is not None:
                os.close(descriptor)
            if sent < len(data):
                self._outward[0] = (data[sent:], None)
            else:
                self._outward.pop(0)

    def drop(self) -> None:
        """Gives up what was not sent."""
        for _, descriptor in self._outward:
            if descriptor is not None:
                os.close(descriptor)
        self._outward.clear()

    def receive(self) -> list[Message]:
        """The messages that have come. Sets `closed` at the end of the other side."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self.sock, _READ_BYTES, 64)
        except BlockingIOError:
            return []
        except OSError:
            data, descriptors = b"", []
        if not data:
            self.closed = True
            return []
        self._sockets += descriptors
        self._inward += data
        messages: list[Message] = []
        at = 0
        while len(self._inward) - at >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._inward, at)
            if len(self._inward) - at - _LENGTH.size < size:
                break
            at += _LENGTH.size
            messages.append(pickle.loads(memoryview(self._inward)[at : at + size].tobytes()))
            at += size
        del self._inward[:at]
        return messages

    def take_socket(self) -> socket.socket:
        """The listening socket that came with the Listen in hand; Listens take them in order."""
        return socket.socket(fileno=self._sockets.pop(0))
