"""The chain of hashes over the history: each revision's covers all that is in it, and the hash of the one before (0031)."""

import hashlib
import struct
from collections.abc import Sequence

from rookery_manager.store.protocol import Change

BEGINNING = bytes(32)  # what comes before the first


def hash_of(before: bytes, revision: int, at: float, actor: str, changes: Sequence[Change]) -> bytes:
    """The sha256 of one revision. Every text has its length before it, so that no two histories are written alike."""
    made = hashlib.sha256(before)
    made.update(struct.pack(">qd", revision, at))
    made.update(_sized(actor.encode(errors="surrogatepass")))
    for change in changes:
        made.update(_sized(change.key.encode(errors="surrogatepass")))
        made.update(b"-" if change.value is None else b"+" + _sized(change.value))
        made.update(_sized(change.why.encode(errors="surrogatepass")))
    return made.digest()


def _sized(data: bytes) -> bytes:
    return struct.pack(">q", len(data)) + data
