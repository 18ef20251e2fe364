"""gRPC channels and servers as all parts make them: one place for keepalives, limits and identities.

With an identity a channel is mutual TLS, to a manager of the same authority and to nobody else.
"""

import os
import socket
from collections.abc import Sequence

# gRPC reads these once, when it is first used. It writes a line on standard error for every handshake that fails, which any
# stranger can cause; errors are told as errors. And it has no setting for TLS 1.3 alone: so TLS 1.2 is left with nothing to agree
# on, by a cipher that asks for an RSA key, which no part has.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
os.environ.setdefault("GRPC_SSL_CIPHER_SUITES", "ECDHE-RSA-AES256-GCM-SHA384")

import grpc
import grpc.aio

from rookery.identity import MANAGER_NAME, Identity

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
# gRPC measures each connection with pings, over TLS two for each message: three packets each way where there was one. What
# streams say here is small; a window of this size, of which only what is not yet read takes memory, is enough for the rest.
_FLOW: list[tuple[str, int]] = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024 * 1024)]
_RECONNECT: list[tuple[str, int]] = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2_000),  # how long one attempt may take; a refused one is followed by the next as above
    ("grpc.max_reconnect_backoff_ms", 2_000),
]
# Else channels in plain text share one connection where they are of one process and to one manager, and those with identities do
# not: what is tried or measured without TLS would be another thing than what runs with it.
_OWN: list[tuple[str, int]] = [("grpc.use_local_subchannel_pool", 1)]
_SERVER: list[tuple[str, int]] = [
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.server_handshake_timeout_ms", 10_000),  # else two minutes, which whoever connects and says nothing would have
    ("grpc.max_connection_idle_ms", 600_000),  # without a call; the clients of this connect anew
    ("grpc.max_concurrent_streams", 1_024),
    ("grpc.so_reuseport", 1),  # a manager's next server beside its present one; see refuse_taken
]
# A manager is known by its certificate, not by where it listens.
_TO_A_MANAGER: tuple[str, str] = ("grpc.ssl_target_name_override", MANAGER_NAME)


def dial(address: str, identity: Identity | None = None) -> grpc.aio.Channel:
    """A channel to `HOST:PORT`, in plain text where there is no identity: one connection, which no other channel uses.

    It connects when used, and whenever it is lost."""
    options = [*_KEEPALIVE, *_LIMITS, *_FLOW, *_RECONNECT, *_OWN]
    if identity is None:
        return grpc.aio.insecure_channel(address, options=options)
    return grpc.aio.secure_channel(address, credentials(identity), options=[*options, _TO_A_MANAGER])


def dial_blocking(address: str, identity: Identity | None = None) -> grpc.Channel:
    """As `dial`, for code without an event loop."""
    options = [*_KEEPALIVE, *_LIMITS, *_FLOW, *_RECONNECT, *_OWN]
    if identity is None:
        return grpc.insecure_channel(address, options=options)
    return grpc.secure_channel(address, credentials(identity), options=[*options, _TO_A_MANAGER])


def words_of_tls(details: str) -> str:
    """What gRPC says of a handshake that failed, as a person can use it; empty where it is about something else."""
    if "CERTIFICATE_VERIFY_FAILED" in details:
        return "its certificate is of another cluster, or the clock here is wrong by more than a day"
    if "WRONG_VERSION_NUMBER" in details:
        return "it does not talk TLS: it was started with --insecure, or is no manager"
    return ""


def credentials(identity: Identity) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=identity.authority_pem.encode(),
        private_key=identity.key_pem.encode(),
        certificate_chain=identity.certificate_pem.encode(),
    )


def server(interceptors: Sequence[grpc.aio.ServerInterceptor] = ()) -> grpc.aio.Server:
    """A server that tolerates the pings of `dial`; bind it with `listen`."""
    return grpc.aio.server(interceptors=interceptors, options=[*_KEEPALIVE, *_LIMITS, *_FLOW, *_SERVER])


def listen(target: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
    """Binds the server to `HOST:PORT` and returns the port (the one taken where PORT is 0). Raises OSError when it can't.

    Without credentials it talks in plain text.
    """
    host, colon, port = address.rpartition(":")
    # gRPC takes the port modulo 65536.
    if not colon or not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise OSError(f"can't listen on {address}: expected HOST:PORT, with a port from 0 to 65535")
    try:
        bound = target.add_secure_port(address, credentials) if credentials else target.add_insecure_port(address)
    except RuntimeError:
        bound = 0
    if bound == 0:
        raise OSError(f"can't listen on {address}: {_why_not(host.strip('[]'), int(port))}")
    return bound


def refuse_taken(address: str) -> None:
    """Raises OSError where somebody listens at `HOST:PORT` already: two managers would each get some of the agents."""
    host, _, port = address.rpartition(":")
    if host and port.isascii() and port.isdecimal() and 0 < int(port) <= 65535:
        why = _why_not(host.strip("[]"), int(port), "")
        if why:
            raise OSError(f"can't listen on {address}: {why}")


def _why_not(host: str, port: int, otherwise: str = "in use, or not an address of this machine") -> str:
    """Why nothing can listen there, which gRPC does not tell: asked of the system by a try with a plain socket."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what a manager before left open matters not
            trial.bind(where)
            trial.listen()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return otherwise
