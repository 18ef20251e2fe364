"""Durations, sizes and the like, from the text that Compose writes them as.

Invariant: every function returns None for text it does not understand; none raises.
"""

import re

_DURATION_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(ns|us|µs|ms|s|m|h|d|w)")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*([kmgtp]?)i?b?\Z", re.IGNORECASE)
_TRUE = ("true", "yes", "on", "y", "t", "1")
_FALSE = ("false", "no", "off", "n", "f", "0")
_LONGEST = 30  # no number that anyone writes is longer; keeps parsing cheap


def duration_s(text: str) -> float | None:
    """Seconds: `1h30m`, `1.5s`, `250ms`. A bare 0 needs no unit."""
    if text == "0":
        return 0.0
    if not text or len(text) > _LONGEST * 2:
        return None
    total, at = 0.0, 0
    while at < len(text):
        part = _DURATION_PART.match(text, at)
        if part is None:
            return None
        total += float(part.group(1)) * _DURATION_UNITS[part.group(2)]
        at = part.end()
    return total if total < 1e9 else None


def size_bytes(text: str) -> int | None:
    """Bytes: `10m`, `1gb`, `1.5g`, `512`; multiples of 1024, as Docker counts."""
    found = _SIZE.match(text) if len(text) <= _LONGEST else None
    if found is None:
        return None
    value = float(found.group(1)) * 1024 ** " kmgtp".index(found.group(2).lower() or " ")
    return int(value) if value < 2**62 else None


def whole(text: str) -> int | None:
    if len(text) > _LONGEST:
        return None
    if re.fullmatch(r"[-+]?[0-9]+", text, re.ASCII):
        return int(text)
    if re.fullmatch(r"0x[0-9a-fA-F]+", text):
        return int(text, 16)
    return None


def percent(text: str) -> int | None:
    """`5` or `5%`."""
    return whole(text.removesuffix("%"))


def number(text: str) -> float | None:
    if len(text) <= _LONGEST and re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,2})?", text, re.ASCII):
        return float(text)
    return None


def flag(text: str) -> bool | None:
    lower = text.lower()
    return True if lower in _TRUE else False if lower in _FALSE else None


def file_mode(text: str) -> int | None:
    """A file mode, in octal as written: `0440`, `440`, `0o440`."""
    digits = text[2:] if text.startswith(("0o", "0O")) else text
    if re.fullmatch(r"[0-7]{1,5}", digits) and int(digits, 8) <= 0o7777:
        return int(digits, 8)
    return None
