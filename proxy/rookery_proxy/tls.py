"""TLS towards clients: sockets that a Wire takes for plain ones, the handshake, and the certificate for the name asked for.

Invariant: no byte that was not decrypted ever reaches an owner, and none goes out that was not encrypted.
"""

import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Mapping

from rookery.model import ListenProtocol

from rookery_proxy.balance import Context, LiveListener
from rookery_proxy.certificates import Certificate
from rookery_proxy.unserved import Unserved
from rookery_proxy.wire import Wire

_RECORD_BYTES = 16384  # what one write is cut into: a record, which is sent whole or is to be written again as it was
_RETRY_S = 0.05

log = logging.getLogger(__name__)


class Keyring:
    """The certificates that a worker serves, by name, to clients that then speak `protocol` (its name for ALPN)."""

    def __init__(self, protocol: str) -> None:
        self._protocol = protocol
        self._by_name: dict[str, ssl.SSLContext] = {}
        self._held: dict[Certificate, ssl.SSLContext] = {}
        self._default: ssl.SSLContext | None = None

    def take(self, certificates: tuple[Certificate, ...]) -> None:
        """Serves these from now on; the first is for who names no other. Connections that are open keep theirs."""
        held = {}
        for certificate in certificates:
            try:
                held[certificate] = self._held.get(certificate) or self._context(certificate)
            except OSError as error:
                log.error("%s can't be read any more: %s", certificate.chain, error)
        self._held = held
        by_name: dict[str, ssl.SSLContext] = {}
        for certificate, context in held.items():
            for name in certificate.names:
                by_name.setdefault(name, context)
        self._by_name = by_name
        self._default = next(iter(held.values()), None)

    def wrap(self, sock: socket.socket) -> "TlsSocket | None":
        """The socket as the server's end of TLS; None where there is no certificate."""
        if self._default is None:
            return None
        wrapped = self._default.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return TlsSocket(wrapped)

    def _context(self, certificate: Certificate) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
        context.load_cert_chain(certificate.chain, certificate.key, password="")
        context.set_alpn_protocols([self._protocol])
        context.sni_callback = self._choose
        return context

    def _choose(self, sock: ssl.SSLObject | ssl.SSLSocket, name: str | None, _context: ssl.SSLContext) -> None:
        found = context_for(self._by_name, name or "")
        if found is not None:
            sock.context = found


class Keyrings:
    """One for each protocol that is spoken over TLS."""

    def __init__(self) -> None:
        self._http1, self._http2 = Keyring("http/1.1"), Keyring("h2")

    def of(self, protocol: ListenProtocol) -> Keyring:
        return self._http2 if protocol is ListenProtocol.HTTP2 else self._http1

    def take(self, certificates: tuple[Certificate, ...]) -> None:
        self._http1.take(certificates)
        self._http2.take(certificates)


def context_for(by_name: Mapping[str, ssl.SSLContext], name: str) -> ssl.SSLContext | None:
    """The context for a name: its own, else that of all names one level below its parent (RFC 6125)."""
    name = name.lower().rstrip(".")
    return by_name.get(name) or by_name.get(f"*.{name.partition('.')[2]}")


class TlsSocket:
    """As much of a non-blocking socket as a Wire needs."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._sock = sock
        self._ended = False  # we have said that no more comes
        self._over = False  # and so has the client

    def handshake(self) -> bool:
        """Goes on with it. Returns whether it is done. Raises OSError where there will be none, SSLWantWriteError to be called
        again."""
        try:
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def fileno(self) -> int:
        return self._sock.fileno()

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Raises BlockingIOError where nothing whole has come."""
        if flags:
            raise OSError("TLS has no flags")
        if self._over:
            return b""
        try:
            return self._sock.recv(size)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def send(self, data: bytes) -> int:
        """How much is on its way. Raises BlockingIOError where nothing is."""
        view, sent = memoryview(data), 0
        while sent < len(data):
            try:
                sent += self._sock.send(view[sent : sent + _RECORD_BYTES])
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
        if not sent and data:
            raise BlockingIOError
        return sent

    def shutdown(self, how: int) -> None:
        """Says that no more comes, by TLS and below it; what the client says after it has heard both is still decrypted."""
        if not self._ended:
            self._ended = True
            with contextlib.suppress(OSError, ValueError):
                self._sock.unwrap()
                self._over = True
        socket.socket.shutdown(self._sock, how)  # that of SSLSocket would go on in plain text

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        self._sock.setsockopt(level, option, value)

    def getsockopt(self, level: int, option: int) -> int:
        return self._sock.getsockopt(level, option)

    def getpeername(self) -> tuple[str, int]:
        found: tuple[str, int] = self._sock.getpeername()
        return found

    def getsockname(self) -> tuple[str, int]:
        found: tuple[str, int] = self._sock.getsockname()
        return found

    def close(self) -> None:
        self._sock.close()


class Handshake(Unserved):
    """A connection until it is known to be TLS."""

    __slots__ = ("_context", "_sock", "_welcome")

    def __init__(
        self, context: Context, listener: LiveListener, wire: Wire, sock: TlsSocket, welcome: Callable[[Wire], None]
    ) -> None:
        super().__init__(listener, wire, context.loop.now + context.limits.head_s)
        self._context = context
        self._sock = sock
        self._welcome = welcome

    def on_input(self) -> None:
        try:
            done = self._sock.handshake()
        except ssl.SSLWantWriteError:  # what we say does not fit at once: rare, and not worth a watch of its own
            self._context.loop.after(_RETRY_S, self._again)
            return
        except OSError:
            self.on_lost()
            return
        if done:
            self._listener.connections.discard(self)
            self._welcome(self._wire)

    def _again(self) -> None:
        if not self._wire.closed and self._wire.owner is self:
            self.on_input()
