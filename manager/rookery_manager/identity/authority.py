"""The cluster's certificate authority, and while it is replaced the one before it too (0030). Its files: `keeping`.

Every certificate says in one URI what it is for (`rookery://CLUSTER/agent/ID`), and in its serial number when it was made. Nobody
but the authority's key makes them, and the names that a joiner writes in its request are not heeded.
"""

import datetime
import math
import secrets
import time
from dataclasses import dataclass, replace

import grpc
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from rookery.identity import MANAGER_NAME, visitor
from rookery.identity.join import SKEW_S
from rookery.identity.keys import key_pem
from rookery.identity.token import digest_of, digests_of
from rookery.model import PartKind

from rookery_manager.clock import Clock

PERSON_LIFE_S = 30 * 86_400.0
PART_LIFE_S = 86_400.0  # of agents' and proxies', unless told otherwise
RENEW_PART = 2 / 3  # of its life, after which a part's certificate is renewed
RENEW_PERSON_S = 86_400.0  # people renew theirs when they use them a day later: so they learn of a new authority, too


class BadRequest(ValueError):
    """A certificate request that can't be granted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    pem: str
    made_at: float
    ends_at: float
    renew_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """The authority that is being replaced. It makes no certificates any more, so that they have all ended by `parts_end_at` and
    `people_end_at`. `voucher_pem` is the new authority signed by it: whoever trusts this one takes the new one's certificates."""

    pem: str
    certificate: x509.Certificate
    voucher_pem: str
    began_at: float
    parts_end_at: float
    people_end_at: float

    def ends_at(self, kind: PartKind) -> float:
        """When the last certificate that it made for such has ended."""
        return self.people_end_at if kind is PartKind.PERSON else self.parts_end_at


class Authority:
    """`pem` and `digest` are of what makes certificates now, `trusted_pem` and `digests` of all that are trusted, it first."""

    def __init__(
        self,
        key: ec.EllipticCurvePrivateKey,
        certificate: x509.Certificate,
        clock: Clock,
        *,
        part_life_s: float,
        before: Before | None = None,
    ) -> None:
        self.cluster_id = str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
        self._clock = clock
        self.part_life_s = part_life_s
        self.take(key, certificate, before)

    def take(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, before: Before | None) -> None:
        """From now on this is the authority."""
        self.key = key
        self.certificate = certificate
        self.before = before
        self.pem = certificate.public_bytes(Encoding.PEM).decode()
        self.digest = digest_of(self.pem)
        self.trusted_pem = self.pem + (before.pem if before else "")
        self.digests = digests_of(self.trusted_pem)

    def issuer_of(self, certificate: x509.Certificate) -> str:
        """The digest of the trusted authority that made it. Raises ValueError, TypeError or InvalidSignature where none did."""
        if self.before is not None and certificate.issuer == self.before.certificate.subject:
            certificate.verify_directly_issued_by(self.before.certificate)
            return self.digests[1]
        certificate.verify_directly_issued_by(self.certificate)
        return self.digest

    def issue(self, kind: PartKind, id: str, request_pem: str) -> Certificate:
        """A certificate of the requested key for that part. Raises BadRequest."""
        key = _requested_key(request_pem)
        life_s = PERSON_LIFE_S if kind is PartKind.PERSON else self.part_life_s
        name = x509.UniformResourceIdentifier(uri_of(self.cluster_id, kind, id))
        made = self._sign(key, f"rookery {kind}", name, [ExtendedKeyUsageOID.CLIENT_AUTH], life_s)
        return replace(made, renew_at=made.made_at + RENEW_PERSON_S) if kind is PartKind.PERSON else made

    def server_credentials(self) -> grpc.ServerCredentials:
        """For a port on which every caller shows a certificate.

        The manager's own lasts as long as the authority's: its key is in this process alone, and made anew with the next one.
        Credentials that gRPC asks for at each connection could be shorter, but crash it where connections come at once.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        life_s = math.floor(self.certificate.not_valid_after_utc.timestamp() - max(self._clock(), time.time())) - 1
        name = x509.DNSName(MANAGER_NAME)
        own = self._sign(key.public_key(), "rookery manager", name, [ExtendedKeyUsageOID.SERVER_AUTH], life_s)
        voucher_pem = self.before.voucher_pem if self.before else self.pem
        pair = (key_pem(key).encode(), (own.pem + voucher_pem).encode())
        return grpc.ssl_server_credentials([pair], self.trusted_pem.encode() + visitor.CERTIFICATE, require_client_auth=True)

    def _sign(
        self,
        key: ec.EllipticCurvePublicKey,
        common_name: str,
        name: x509.GeneralName,
        usages: list[x509.ObjectIdentifier],
        life_s: float,
    ) -> Certificate:
        now, machine_now = self._clock(), time.time()
        ends_at = now + life_s
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(common_name))
            .issuer_name(self.certificate.subject)
            .public_key(key)
            .serial_number(serial_at(now))
            .not_valid_before(_utc(min(now, machine_now) - SKEW_S))  # TLS goes by the machine's clock
            .not_valid_after(_utc(math.ceil(max(now, machine_now) + life_s)))  # X.509 knows whole seconds
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        )
        made = builder.sign(self.key, hashes.SHA256())
        pem = made.public_bytes(Encoding.PEM).decode()
        return Certificate(pem=pem, made_at=now, ends_at=ends_at, renew_at=now + life_s * RENEW_PART)


def _requested_key(request_pem: str) -> ec.EllipticCurvePublicKey:
    if len(request_pem) > 10_000:
        raise BadRequest("the certificate request is as long as a book")
    try:
        request = x509.load_pem_x509_csr(request_pem.encode())
        proven = request.is_signature_valid
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm, InvalidSignature):
        raise BadRequest("the certificate request is none") from None
    if not proven or not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadRequest("the certificate request must be signed by its own key, on the curve P-256")
    return key


def uri_of(cluster_id: str, kind: PartKind, id: str) -> str:
    return f"rookery://{cluster_id}/{kind}/{id}"


def serial_at(now: float) -> int:
    """A serial number that tells when the certificate was made, to the microsecond: its validity begins before that."""
    return (int(now * 1e6) + 1 << 64) | secrets.randbits(64)


def made_at(serial: int) -> float:
    return (serial >> 64) / 1e6


def named(common_name: str, unit: str = "") -> x509.Name:
    units = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit)] if unit else []
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name), *units])


def _utc(at: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(at, datetime.UTC)


def usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
