"""What listens: one gRPC server, and for as long as the authority is replaced the one before it beside it.

gRPC takes its certificate with the port and never changes it (0030). So a second server listens on the same port, with the new
certificate, and the system is told to give it all new connections; those of the first go on until `close_old`.
"""

import asyncio
import ctypes
import logging
import os
import socket
import stat
import struct
from collections.abc import Callable, Sequence

import grpc
import grpc.aio
from rookery import channel

log = logging.getLogger("rookery.manager")

_SO_ATTACH_REUSEPORT_CBPF = 51  # linux/asm-generic/socket.h
_BPF_RET = 0x06  # BPF_RET | BPF_K: returns a constant, here which of the sockets of a port a connection is for
_OLD_S = 5.0  # for calls under way when the old server is closed
_GRACE_S = 365 * 86_400.0


class Front:
    """`credentials` are asked for each time a server is made: None is plain text."""

    def __init__(
        self, interceptors: Sequence[grpc.aio.ServerInterceptor], credentials: Callable[[], grpc.ServerCredentials | None]
    ) -> None:
        self._interceptors = interceptors
        self._credentials = credentials
        self._register: Callable[[grpc.aio.Server], None] = lambda _: None
        self._server: grpc.aio.Server | None = None
        self._old: list[grpc.aio.Server] = []
        self._address = ""
        self._stopping: asyncio.Future[None] | None = None

    async def open(self, address: str) -> str:
        """Binds; the address that was taken. Raises OSError. Nothing is served before `serve`."""
        channel.refuse_taken(address)
        self._server = channel.server(self._interceptors)
        port = channel.listen(self._server, address, self._credentials())
        self._address = f"{address.rpartition(':')[0]}:{port}"
        return self._address

    async def serve(self, register: Callable[[grpc.aio.Server], None]) -> None:
        """`register` puts all services on a server."""
        assert self._server is not None
        self._register = register
        register(self._server)
        await self._server.start()

    async def reopen(self) -> None:
        """New connections meet a server with the credentials of now; those that there are go on. Raises OSError."""
        before = self._server
        assert before is not None
        await self.close_old()
        server = channel.server(self._interceptors)
        self._register(server)
        channel.listen(server, self._address, self._credentials())
        await server.start()
        self._server = server
        self._old.append(before)
        try:
            _prefer_newest(int(self._address.rpartition(":")[2]))
        except OSError as error:  # calls that begin in this moment may fail then; streams go on
            log.warning("connections can't be led to the new certificate (%s): nothing new is taken with the old one", error)
            self._stopping = asyncio.ensure_future(before.stop(_GRACE_S))

    async def close_old(self) -> None:
        """Ends the connections from before the last `reopen`."""
        old, self._old = self._old, []
        for server in old:
            await server.stop(_OLD_S)

    async def stop(self, grace_s: float) -> None:
        for server in (*self._old, self._server):
            if server is not None:
                await server.stop(grace_s)


def _prefer_newest(port: int) -> None:
    """Leads all new connections of a port to the socket of this process that was bound last. Raises OSError.

    The sockets that share a port are numbered as they came, and there are two: of the old server and of the new one.
    """
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", _BPF_RET, 0, 0, 1))
    program = struct.pack("HP", 1, ctypes.addressof(instruction))
    for name in os.listdir("/proc/self/fd"):
        try:
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            shared = socket.socket(fileno=os.dup(int(name)))
        except OSError:  # closed meanwhile
            continue
        with shared:
            if _listens(shared, port):
                shared.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, program)


def _listens(candidate: socket.socket, port: int) -> bool:
    if candidate.family not in (socket.AF_INET, socket.AF_INET6) or candidate.type != socket.SOCK_STREAM:
        return False
    return bool(candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)) and candidate.getsockname()[1] == port
