"""gRPC channels and servers as all parts make them: one place for keepalives, limits and (later) identities."""

import os

import grpc.aio

# The C core's own lines (a peer that goes away) would stand between ours; what they mean is told by who holds the stream.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

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
    try:
        port = target.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"can't listen on {address}: {error}") from error
    if port == 0:
        raise OSError(f"can't listen on {address}: in use, or not an address of this machine")
    return port
