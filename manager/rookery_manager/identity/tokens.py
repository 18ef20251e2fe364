"""Making join tokens: the text goes to whoever asked, only a digest of its secret is kept."""

import secrets

from rookery.identity.token import Token, base32
from rookery.model import JoinToken, PartKind

from rookery_manager.identity.authority import Authority
from rookery_manager.identity.joining import secret_digest

ANY_NUMBER = -1


def make_token(
    authority: Authority, kind: PartKind, *, now: float, person: str = "", lifetime_s: float = 0.0, uses: int = ANY_NUMBER
) -> tuple[JoinToken, str]:
    """The record and the text. `lifetime_s` 0: no end."""
    token = Token(authority=authority.digest, id=base32(secrets.token_bytes(5)), secret=base32(secrets.token_bytes(20)))
    record = JoinToken(
        id=token.id,
        kind=kind,
        person=person,
        digest=secret_digest(token.secret),
        created_at=now,
        expires_at=now + lifetime_s if lifetime_s else 0.0,
        uses_left=uses,
    )
    return record, str(token)
