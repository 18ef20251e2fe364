"""One non-blocking socket on the loop: reads on readiness, writes at once, keeps what does not fit, and says when it is too much.

The owner is told of input (`on_input`), of an output that ran dry again (`on_drained`), of a connection made or refused
(`on_connected`, `on_refused`). Invariant: output is never reordered and never dropped while the socket lives. HTTP and TCP
know sockets only through this class.
"""

import errno
import socket
import struct
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from rookery_proxy.loop import GONE, IN, OUT, Loop

READ_BYTES = 65536
Address = tuple[str, int]
_NO_LINGER = struct.pack("ii", 1, 0)
HIGH_WATER_BYTES = 262144  # an owner stops reading the other side above this


class Sock(Protocol):
    """What a wire needs of a socket. One of TLS raises BlockingIOError and OSError as a plain one does."""

    def fileno(self) -> int: ...
    def recv(self, size: int, flags: int = ..., /) -> bytes: ...
    def send(self, data: bytes, /) -> int: ...
    def shutdown(self, how: int, /) -> None: ...
    def setsockopt(self, level: int, option: int, value: bytes, /) -> None: ...
    def getsockopt(self, level: int, option: int, /) -> int: ...
    def getpeername(self) -> Any: ...
    def getsockname(self) -> Any: ...
    def close(self) -> None: ...


S = TypeVar("S", bound=Sock)


class Owner(Protocol):
    def on_input(self) -> None: ...

    def on_drained(self) -> None:
        """The output that was over the high-water mark, or that a close waits for, is written."""

    def on_lost(self) -> None:
        """A write failed: the peer is gone."""

    def on_connected(self) -> None: ...

    def on_refused(self, why: str) -> None: ...


class Wire:
    __slots__ = (
        "_loop",
        "_mask",
        "_pending",
        "_sock",
        "_watched",
        "announced",
        "broken",
        "closed",
        "connecting",
        "fd",
        "owner",
        "paused",
        "pending_bytes",
    )

    def __init__(self, loop: Loop, sock: Sock, owner: Owner, *, connecting: bool = False) -> None:
        self._loop = loop
        self._sock = sock
        self.fd = sock.fileno()
        self.owner = owner
        self.connecting = connecting
        self.closed = False
        self.broken = False
        self.announced: tuple[Address, Address] | None = None  # the two ends, as a PROXY header told them
        self._pending: list[bytes] = []
        self.pending_bytes = 0
        self._mask = OUT if connecting else IN
        self.paused = connecting  # it is not read: on demand, or since there is no connection yet
        self._watched = True
        loop.watch(sock, self._mask, self)

    def on_event(self, mask: int) -> None:
        if mask == IN and not self.paused:
            self.owner.on_input()
            return
        if self.connecting:
            self._connected()
            return
        if mask & OUT and self._pending:
            self._flush()
            if self.closed:
                return
        if mask & ~OUT:
            if not self.paused:
                self.owner.on_input()
            elif mask & GONE:
                # Nobody reads now, and the kernel would repeat this for ever: it is looked at again on resume.
                self._loop.unwatch(self.fd)
                self._watched = False
                if self._pending:
                    self.owner.on_lost()

    def abort(self) -> None:
        self.owner.on_lost()
        self.close()

    def read(self) -> bytes | None:
        """What has arrived; None for nothing now; empty at the end of the input, or (then `broken` too) of the connection."""
        try:
            return self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            self.broken = True
            return b""

    def ends(self) -> tuple[Address | None, Address | None]:
        """The addresses of the other end and of this one; None where it is gone already."""
        if self.announced is not None:
            return self.announced
        try:
            return self._sock.getpeername()[:2], self._sock.getsockname()[:2]
        except OSError:
            return None, None

    def peer(self) -> bytes:
        """The other end's address; empty where it is gone already."""
        source = self.ends()[0]
        return source[0].encode("ascii", "replace") if source is not None else b""

    def secure(self, wrap: Callable[[socket.socket], S | None]) -> S | None:
        """Goes on over the same descriptor with what `wrap` gives, if it gives one. Raises OSError where the peer is gone."""
        assert isinstance(self._sock, socket.socket)
        wrapped = wrap(self._sock)
        if wrapped is not None:
            self._sock = wrapped
        return wrapped

    def peek(self, size: int) -> bytes | None:
        """What has arrived, left where it is; as `read` otherwise."""
        try:
            return self._sock.recv(size, socket.MSG_PEEK)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def skip(self, size: int) -> None:
        """Takes bytes that were peeked at."""
        self._sock.recv(size)

    def peek_stale(self) -> bool:
        """Whether an idle connection has ended, or has said something that nobody asked for."""
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def write(self, data: bytes) -> None:
        """Sends now what fits, the rest when there is room."""
        if self._pending or self.connecting:
            self._pending.append(data)
            self.pending_bytes += len(data)
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._loop.soon(self._lost)
            return
        if sent < len(data):
            self._pending.append(data[sent:])
            self.pending_bytes = len(data) - sent
            self._watch(self._mask | OUT)

    def take_pending(self) -> bytes:
        """What was never sent, for another wire."""
        data = b"".join(self._pending)
        self._pending.clear()
        self.pending_bytes = 0
        return data

    def pause(self) -> None:
        """Stops reading."""
        if not self.paused:
            self.paused = True
            self._watch(self._mask & ~IN)

    def resume(self) -> None:
        if self.paused:
            self.paused = False
            self._watch(self._mask | IN)

    def finish(self) -> None:
        """No more output: the peer reads to the end of ours."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno not in (errno.ENOTCONN, errno.EPIPE, errno.ECONNRESET):
                raise

    def reset(self) -> None:
        """Closes such that the peer can't take it for an end in order."""
        if not self.closed:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self.close()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._pending.clear()
            self.pending_bytes = 0
            self._loop.discard(self._sock)

    def _watch(self, mask: int) -> None:
        if self.closed:
            return
        self._mask = mask
        if self.connecting:
            return
        if self._watched:
            self._loop.change(self.fd, mask)
        else:
            self._watched = True
            self._loop.watch(self._sock, mask, self)

    def _lost(self) -> None:
        if not self.closed:
            self.owner.on_lost()

    def _connected(self) -> None:
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self.owner.on_refused(errno.errorcode.get(code, str(code)))
            return
        self.connecting = self.paused = False
        self._mask = IN
        if self._pending:
            self._flush()
        else:
            self._loop.change(self.fd, IN)
        if not self.closed:
            self.owner.on_connected()

    def _flush(self) -> None:
        data = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._pending.clear()
            self.pending_bytes = 0
            self.owner.on_lost()
            return
        if sent < len(data):
            self._pending = [data[sent:]]
            self.pending_bytes = len(data) - sent
            self._watch(self._mask | OUT)
        else:
            self._pending = []
            self.pending_bytes = 0
            self._watch(self._mask & ~OUT)
            self.owner.on_drained()
