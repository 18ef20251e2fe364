"""The listening sockets: opened, kept and handed to the workers by the supervising process.

One socket a worker and port, sharing the port, so that the kernel spreads connections; a worker that dies leaves its socket, and
the connections waiting in it, to its successor. Invariant: a port is open for all workers or for none.
"""

import os
import socket
from collections.abc import Iterable

_BACKLOG = 4096
# Connections have them from their listening socket. A client that is gone without a word is noticed after two minutes of silence.
_OF_CLIENTS = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)


class Ports:
    def __init__(self, bind: str, workers: int) -> None:
        self._bind = bind
        self._workers = workers
        self.sockets: dict[int, list[socket.socket]] = {}
        self.errors: dict[int, str] = {}

    def reconcile(self, wanted: Iterable[int]) -> tuple[list[int], list[int]]:
        """Opens what is wanted and not open, closes what is not wanted; what was opened and what was closed.

        A port that can't be opened is in `errors` with the reason, until it can be or is no longer wanted.
        """
        wanted = set(wanted)
        opened = []
        self.errors = {port: why for port, why in self.errors.items() if port in wanted}
        for port in sorted(wanted - self.sockets.keys()):
            try:
                self.sockets[port] = self._open(port)
            except OSError as error:
                self.errors[port] = f"can't listen on {self._bind}:{port}: {error.strerror or error}"
            else:
                self.errors.pop(port, None)
                opened.append(port)
        closed = sorted(self.sockets.keys() - wanted)
        for port in closed:
            for sock in self.sockets.pop(port):
                sock.close()
        return opened, closed

    def close(self) -> None:
        for sockets in self.sockets.values():
            for sock in sockets:
                sock.close()
        self.sockets.clear()

    def _open(self, port: int) -> list[socket.socket]:
        # A port that is shared can be shared with a stranger too: that nobody else listens is found out by not sharing first.
        first = self._bound(port, shared=False)
        if self._workers == 1:
            first.listen(_BACKLOG)
            return [first]
        first.close()
        sockets: list[socket.socket] = []
        try:
            while len(sockets) < self._workers:
                sockets.append(self._bound(port, shared=True))
                sockets[-1].listen(_BACKLOG)
        except OSError:
            for sock in sockets:
                sock.close()
            raise
        return sockets

    def _bound(self, port: int, *, shared: bool) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in self._bind else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            for level, option, value in _OF_CLIENTS:
                sock.setsockopt(level, option, value)
            sock.bind((self._bind, port))
            if not shared and self._workers > 1:
                sock.listen(1)  # bind alone does not tell when another one listens with SO_REUSEADDR
        except OSError as error:
            sock.close()
            raise OSError(error.errno, os.strerror(error.errno or 0)) from error
        return sock
