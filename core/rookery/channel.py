"""gRPC channels and servers as all parts make them: one place for keepalives, limits and (later) identities."""

import socket

import grpc.aio

# A dead peer is noticed within 10 + 5 s even where the network says nothing; HTTP/2 pings cost next to nothing.
_KEEPALIVE: list[tuple[str, int]] = [
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
]
_LIMITS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", 64 * 1024 * 1024),
]
_RECONNECT: list[tuple[str, int]] = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]
_SERVER: list[tuple[str, int]] = [
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.so_reuseport", 0),  # two managers on one port would each get some of the agents
]


def dial(address: str) -> grpc.aio.Channel:
    """A channel to `HOST:PORT`. It connects when first used and again whenever it is lost."""
    return grpc.aio.insecure_channel(address, options=[*_KEEPALIVE, *_LIMITS, *_RECONNECT])


def dial_blocking(address: str) -> grpc.Channel:
    """As `dial`, for code without an event loop."""
    return grpc.insecure_channel(address, options=[*_KEEPALIVE, *_LIMITS, *_RECONNECT])


def server() -> grpc.aio.Server:
    """A server that tolerates the pings of `dial`; bind it with `listen`."""
    return grpc.aio.server(options=[*_KEEPALIVE, *_LIMITS, *_SERVER])


def listen(target: grpc.aio.Server, address: str) -> int:
    """Binds the server to `HOST:PORT` and returns the port (the one taken where PORT is 0). Raises OSError when it can't."""
    host, colon, port = address.rpartition(":")
    # gRPC takes the port modulo 65536.
    if not colon or not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise OSError(f"can't listen on {address}: expected HOST:PORT, with a port from 0 to 65535")
    try:
        bound = target.add_insecure_port(address)
    except RuntimeError:
        bound = 0
    if bound == 0:
        raise OSError(f"can't listen on {address}: {_why_not(host.strip('[]'), int(port))}")
    return bound


def _why_not(host: str, port: int) -> str:
    """Why nothing can listen there, which gRPC does not tell: asked of the system by a try with a plain socket."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.bind(where)
            trial.listen()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return "in use, or not an address of this machine"
