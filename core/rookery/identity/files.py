"""An identity as a file: a few lines of text, the key, the certificate and the authority's. Any TLS tool reads it as PEM.

Invariant: only its owner can read it, and it is replaced whole.
"""

import contextlib
import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from rookery.identity.token import digests_of

_BLOCK = re.compile(r"-----BEGIN ([A-Z ]+)-----\n[A-Za-z0-9+/=\n]+-----END \1-----\n")
_LINE = re.compile(r"^([a-z-]+): (.*)$", re.MULTILINE)
_MOST_BYTES = 65_536


class Damaged(Exception):
    """A file that is no identity; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """`kind` is agent, proxy or person. `renew_at` and `ends_at` are seconds since the epoch, by this machine's clock.

    `authority_pem` is the certificates of all authorities that are trusted, the one that made this identity first. `known` are
    the digests of those that were trusted at any time: a join token that names one of them is for this cluster.
    """

    kind: str
    id: str
    cluster_id: str
    renew_at: float
    ends_at: float
    authority_pem: str
    certificate_pem: str
    known: tuple[str, ...] = ()
    key_pem: str = field(repr=False)


def load(path: Path) -> Identity | None:
    """None where there is no such file. Raises Damaged, or OSError."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES).decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise Damaged(f"{path}: this is no identity") from None
    said = dict(_LINE.findall(text))
    blocks = [(found[1], found[0]) for found in _BLOCK.finditer(text)]
    kinds = [kind for kind, _ in blocks]
    if len(kinds) < 3 or kinds != ["PRIVATE KEY"] + ["CERTIFICATE"] * (len(kinds) - 1):
        raise Damaged(f"{path}: a key, a certificate and the authority's certificate are expected in it, in this order")
    try:
        identity = Identity(
            kind=said["kind"],
            id=said["id"],
            cluster_id=said["cluster"],
            renew_at=float(said["renew-at"]),
            ends_at=float(said["ends-at"]),
            key_pem=blocks[0][1],
            certificate_pem=blocks[1][1],
            authority_pem="".join(pem for _, pem in blocks[2:]),
            known=tuple(said.get("known", "").split()),
        )
        digests_of(identity.authority_pem)
        return identity
    except (KeyError, ValueError) as error:
        raise Damaged(f"{path}: this is no identity ({error})") from None


def save(path: Path, identity: Identity) -> None:
    """Raises OSError."""
    head = (
        f"kind: {identity.kind}\nid: {identity.id}\ncluster: {identity.cluster_id}\n"
        f"renew-at: {identity.renew_at:.0f}\nends-at: {identity.ends_at:.0f}\nknown: {' '.join(identity.known)}\n"
    )
    write_private(path, head + identity.key_pem + identity.certificate_pem + identity.authority_pem)


def write_private(path: Path, text: str) -> None:
    """The file holds `text`, durably, and only its owner can read it. Raises OSError."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
