"""Join tokens as they are handed over: `RKY1-<digest of the authority>-<id>-<secret>`."""

import base64
import hashlib
import re
import ssl
from dataclasses import dataclass, field

_FORM = re.compile(r"RKY1-([a-z2-7]{52})-([a-z2-7]{8})-([a-z2-7]{26,64})")


_END = "-----END CERTIFICATE-----"


class BadToken(ValueError):
    """A text that is no token. The message does not repeat it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """`authority` is what the manager's authority must have as its digest; `secret` never goes to any other."""

    authority: str
    id: str
    secret: str = field(repr=False)

    @property
    def said(self) -> str:
        """What the manager is told."""
        return f"{self.id}-{self.secret}"

    def __str__(self) -> str:
        return f"RKY1-{self.authority}-{self.id}-{self.secret}"


def parse_token(text: str) -> Token:
    """Raises BadToken."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise BadToken("this is no join token: one has the form RKY1-…-…-…, in one line; was a part of it lost?")
    return Token(authority=found[1], id=found[2], secret=found[3])


def digest_of(certificate_pem: str) -> str:
    """The sha256 of a certificate, as tokens have it. Raises ValueError for what is none."""
    der = ssl.PEM_cert_to_DER_cert(certificate_pem)
    return base32(hashlib.sha256(der).digest())


def digests_of(certificates_pem: str) -> tuple[str, ...]:
    """Those of the certificates in a text, in their order. Raises ValueError where one is none."""
    return tuple(digest_of(pem) for pem in split_pem(certificates_pem))


def split_pem(certificates_pem: str) -> tuple[str, ...]:
    """The certificates in a text, each by itself."""
    return tuple(f"{part.strip()}\n{_END}\n" for part in certificates_pem.split(_END) if part.strip())


def base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()
