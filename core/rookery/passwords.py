"""Passwords of routes' users: as they are kept, and whether one is right.

Kept is a salted scrypt digest that takes some 10 ms and 4 MiB to make, so that who reads it can't try many.
"""

import base64
import hashlib
import hmac
import secrets

_N, _R, _P, _BYTES = 2**12, 8, 1, 24


def user_line(name: str, password: str, salt: bytes | None = None) -> str:
    """`NAME:scrypt.SALT.HASH`, for `basic_auth`. It holds no `$`, which a compose file would take for a variable."""
    salt = salt or secrets.token_bytes(12)
    return f"{name}:scrypt.{_text(salt)}.{_text(_digest(password.encode(), salt))}"


def is_right(password: bytes, salt: bytes, digest: bytes) -> bool:
    return hmac.compare_digest(_digest(password, salt), digest)


def _digest(password: bytes, salt: bytes) -> bytes:
    return hashlib.scrypt(password, salt=salt, n=_N, r=_R, p=_P, dklen=_BYTES)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
