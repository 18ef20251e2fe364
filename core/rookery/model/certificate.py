"""Certificates that the manager gets from a certificate authority by ACME (RFC 8555), for the TLS of routes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AcmeAccount:
    """Who the manager is for one authority; `url` is empty until that has said so. `key_digest` is of the sealed key."""

    directory: str
    key_digest: str
    url: str = ""
    email: str = ""
    created_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AcmeChallenge:
    """What proves that the host is ours: at `token` the proxies say `key_authorization`. `asked_at` is when the authority was
    told to look; 0: not yet."""

    url: str
    token: str
    key_authorization: str
    asked_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AcmeOrder:
    """A certificate that is being had. `key_digest` is of its sealed key. Without a challenge the authority named none yet."""

    directory: str
    url: str
    key_digest: str
    began_at: float
    challenge: AcmeChallenge | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedCertificate:
    """The certificate of one host. `digest` is of the sealed chain with its key; empty: there is none yet.

    `directory` is of the authority that issued it, `tried` of the one that was asked last. `renew_at` is when it is due,
    `ask_at` when the authority is asked again when that is. `failures` are in a row, with the last one's reason in `fault`, and
    the next attempt at `retry_at`; `away`: the authority did not answer then.
    """

    host: str
    digest: str = ""
    directory: str = ""
    issuer: str = ""
    issued_at: float = 0.0
    expires_at: float = 0.0
    renew_at: float = 0.0
    ask_at: float = 0.0
    order: AcmeOrder | None = None
    tried: str = ""
    failures: int = 0
    fault: str = ""
    failed_at: float = 0.0
    retry_at: float = 0.0
    away: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateStatus:
    """`services` have routes for it; `note` says what it waits for, or what is wrong; empty where all is well."""

    certificate: ManagedCertificate
    services: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedCertificate:
    """What a proxy serves for a host: `pem` is the chain with its key."""

    host: str
    digest: str
    pem: bytes
