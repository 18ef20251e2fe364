"""How a joiner gets a certificate, and a later one: its key never leaves it, its secret goes to the pinned authority alone."""

import asyncio
import contextlib
import logging
import socket
import ssl
import time

import grpc
import grpc.aio

from rookery import channel
from rookery.identity import visitor
from rookery.identity.files import Identity
from rookery.identity.token import Token, digest_of, digests_of, split_pem
from rookery.v1 import identity_pb2, identity_pb2_grpc, types_pb2

_ANSWER_S = 10.0
SKEW_S = 86_400.0  # certificates begin so long before they are made, for clocks that are behind
TOLD_APART_S = 60.0  # clocks that are further apart are told of
MOST_KNOWN = 16

log = logging.getLogger("rookery.identity")


class NotJoined(Exception):
    """No certificate was got; `lasting` where trying again the same way makes no sense."""

    def __init__(self, message: str, *, lasting: bool) -> None:
        super().__init__(message)
        self.lasting = lasting


async def join(address: str, token: Token, *, id: str = "") -> Identity:
    """A first identity. Raises NotJoined, before the secret was said where the authority is not the pinned one."""
    authority_pem = await _pinned_authority(address, token)
    stranger = _stranger(authority_pem)
    key_pem, request_pem = await asyncio.to_thread(_make_request)
    try:
        async with channel.dial(address, stranger) as connection:
            request = identity_pb2.JoinRequest(token=token.said, request_pem=request_pem, id=id)
            stub = identity_pb2_grpc.IdentityServiceStub(connection)
            issued = await stub.Join(request, timeout=_ANSWER_S)
    except grpc.aio.AioRpcError as error:
        raise _failure(address, error) from None
    return _identity(issued, key_pem, ())


async def renew(address: str, identity: Identity) -> Identity:
    """A later identity of the same part, with a new key. Raises NotJoined."""
    key_pem, request_pem = await asyncio.to_thread(_make_request)
    try:
        async with channel.dial(address, identity) as connection:
            stub = identity_pb2_grpc.IdentityServiceStub(connection)
            issued = await stub.Renew(identity_pb2.RenewRequest(request_pem=request_pem), timeout=_ANSWER_S)
    except grpc.aio.AioRpcError as error:
        raise _failure(address, error) from None
    return _identity(issued, key_pem, identity.known)


def _make_request() -> tuple[str, str]:
    from rookery.identity.keys import make_request  # lazy: loads `cryptography`, which a part needs once a day

    return make_request()


async def _pinned_authority(address: str, token: Token) -> str:
    """The certificate of the authority that has the token's digest: of the one that makes certificates, or of the one that it
    replaces, which vouches for it. Nothing that comes here is believed for any other reason."""
    leaf_pem = await asyncio.to_thread(_shown_certificate, address)
    try:
        async with channel.dial(address, _stranger(leaf_pem)) as connection:
            stub = identity_pb2_grpc.IdentityServiceStub(connection)
            told = await stub.GetAuthority(identity_pb2.GetAuthorityRequest(), timeout=_ANSWER_S)
    except grpc.aio.AioRpcError as error:
        raise _failure(address, error) from None
    for pem in split_pem(told.trusted_pem or told.certificate_pem):
        with contextlib.suppress(ValueError):
            if digest_of(pem) == token.authority:
                return pem
    raise NotJoined(
        f"what listens at {address} is not of the cluster that the token is for: the token's secret was not sent. "
        "Is the address right, was the token made by this manager ('rookery token create'), and not before its authority was "
        "replaced ('rookery ca status')?",
        lasting=True,
    )


def _shown_certificate(address: str) -> str:
    """The certificate that whoever listens there shows. Raises NotJoined."""
    host, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it is not known yet whom to trust: see _pinned_authority
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S) as raw,
            context.wrap_socket(raw) as secured,
        ):
            der = secured.getpeercert(binary_form=True)
    except ssl.SSLError:
        why = f"what listens at {address} does not talk TLS 1.3: it is no manager, or one that was started with --insecure"
        raise NotJoined(why, lasting=False) from None
    except OSError as error:
        raise NotJoined(f"no manager answers at {address} ({error.strerror or error})", lasting=False) from None
    return ssl.DER_cert_to_PEM_cert(der or b"")


def _stranger(authority_pem: str) -> Identity:
    """Nobody in particular, who believes this authority."""
    return Identity(
        kind="visitor",
        id="",
        cluster_id="",
        renew_at=0.0,
        ends_at=0.0,
        authority_pem=authority_pem,
        certificate_pem=visitor.CERTIFICATE.decode(),
        key_pem=visitor.KEY.decode(),
    )


def _identity(issued: identity_pb2.Issued, key_pem: str, known: tuple[str, ...]) -> Identity:
    """The times are those of this machine's clock, whatever the manager's says. `known` are the authorities of before.

    Raises NotJoined for an answer that would be of no use.
    """
    apart_s = time.time() - issued.now
    if abs(apart_s) > TOLD_APART_S:
        where = "ahead of" if apart_s > 0 else "behind"
        log.warning(
            "the clock here is %.0f s %s the manager's; a day behind it, no certificate is taken for valid here any more",
            abs(apart_s),
            where,
        )
    try:
        trusted = digests_of(issued.authority_pem)
    except ValueError:
        trusted = ()
    if not trusted:
        raise NotJoined("the manager does not say which authority it trusts", lasting=False)
    return Identity(
        kind=types_pb2.PartKind.Name(issued.kind).removeprefix("PART_KIND_").lower(),
        id=issued.id,
        cluster_id=issued.cluster_id,
        renew_at=issued.renew_at + apart_s,
        ends_at=issued.ends_at + apart_s,
        authority_pem=issued.authority_pem,
        certificate_pem=issued.certificate_pem,
        known=tuple(dict.fromkeys((*trusted, *known)))[:MOST_KNOWN],
        key_pem=key_pem,
    )


def _failure(address: str, error: grpc.aio.AioRpcError) -> NotJoined:
    details = error.details() or error.code().name.lower()
    if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        why = channel.words_of_tls(details) or details
        return NotJoined(f"the manager at {address} can't be reached ({why})", lasting=False)
    refused = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INVALID_ARGUMENT)
    return NotJoined(details, lasting=error.code() in refused)
