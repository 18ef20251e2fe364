"""Who a caller is, from the certificate that its connection was made with."""

from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID
from rookery.identity import visitor
from rookery.model import PartKind

from rookery_manager.identity.authority import Authority, made_at, uri_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """`kind` None: a visitor, who has no certificate of this cluster and is nobody in particular. `authority` is the digest of
    the one that made the certificate, `host` is where it is."""

    kind: PartKind | None
    id: str = ""
    made_at: float = 0.0
    ends_at: float = 0.0
    authority: str = ""
    host: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.id}" if self.kind else "a caller without a certificate of this cluster"


VISITOR = Peer(kind=None)
_PART = "remove its identity.pem, and start it with a new join token"
_AGAIN = {PartKind.AGENT: _PART, PartKind.PROXY: _PART, PartKind.PERSON: "log in with a new token ('rookery person token')"}


class Unknown(Exception):
    """A certificate that says nothing this manager believes."""


class Peers:
    """Reads certificates; the result of the work is kept for the connections that there are."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._visitor = x509.load_pem_x509_certificate(visitor.CERTIFICATE)
        self._read = lru_cache(maxsize=4096)(self._read_certificate)

    @property
    def issuing(self) -> str:
        """The digest of the authority that makes certificates now."""
        return self._authority.digest

    def of(self, context: Any) -> Peer:
        """Raises Unknown."""
        said = context.auth_context()
        if said.get("ssl_tls_version") != [b"TLSv1.3"]:
            raise Unknown("only TLS 1.3 is spoken here")
        certificates = said.get("x509_pem_cert")
        if not certificates:
            raise Unknown("a certificate is needed")
        peer = self._read(certificates[0])
        if peer.kind is not None and peer.authority not in self._authority.digests:
            raise Unknown(f"the certificate of {peer} is of an authority that was replaced; {_AGAIN[peer.kind]}")
        return replace(peer, host=host_of(context.peer()))

    def _read_certificate(self, pem: bytes) -> Peer:
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            if certificate == self._visitor:
                return VISITOR
            # TLS has checked this already, but trusts the visitor's certificate too.
            issuer = self._authority.issuer_of(certificate)
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            raise Unknown(self._whose(pem)) from None
        for uri in names.get_values_for_type(x509.UniformResourceIdentifier):
            for kind in PartKind:
                prefix = uri_of(self._authority.cluster_id, kind, "")
                if uri.startswith(prefix) and len(uri) > len(prefix):
                    return Peer(
                        kind=kind,
                        id=uri.removeprefix(prefix),
                        made_at=made_at(certificate.serial_number),
                        ends_at=certificate.not_valid_after_utc.timestamp(),
                        authority=issuer,
                    )
        raise Unknown("the certificate is not one of an agent, a proxy or a person")

    def _whose(self, pem: bytes) -> str:
        with suppress(ValueError, IndexError):
            issuer = x509.load_pem_x509_certificate(pem).issuer.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
            if issuer == self._authority.cluster_id:
                return "the certificate is of an authority that was replaced; join, or log in, again with a new token"
        return "the certificate is of another cluster"


def who_of(peer: Peer | None, address: str) -> str:
    """As the history names who was refused: `agent n1@10.0.0.7`."""
    name = str(peer) if peer is not None and peer.kind is not None else "stranger"
    return f"{name}@{host_of(address)}"


def host_of(peer: str) -> str:
    """`10.0.0.7` of gRPC's `ipv4:10.0.0.7:4711`."""
    return unquote(peer.partition(":")[2].rpartition(":")[0]).strip("[]")


_caller: ContextVar[Peer | None] = ContextVar("caller", default=None)


def caller() -> Peer | None:
    """Who made the call that is being served, as the guard found; None on a server without one (--insecure)."""
    return _caller.get()


def serve_for(peer: Peer) -> None:
    """What this task does from now on it does for that caller."""
    _caller.set(peer)
