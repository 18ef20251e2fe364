"""Values as the words people read: sizes, spans of time, names, lists. Pure: now is an argument."""

import datetime
import re
import unicodedata
from collections.abc import Iterable, Mapping

_UNITS_S = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def size(count_bytes: float) -> str:
    """`1.5 GiB`."""
    amount = float(count_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(amount) < 1024 or unit == "TiB":
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.95 else f"{amount:.1f} {unit}"


def span(seconds: float) -> str:
    """The two largest units of a span: `3d 4h`, `2m 5s`, `0s`."""
    left = max(0, int(seconds))
    parts = []
    for unit, unit_s in _UNITS_S:
        if left >= unit_s:
            parts.append(f"{left // unit_s}{unit}")
            left %= unit_s
        elif parts:
            break
    return " ".join(parts[:2]) or "0s"


def ago(at: float, now: float) -> str:
    """How long ago an instant was; `-` for one that never was."""
    return span(now - at) if at else "-"


def clock_time(at: float, now: float) -> str:
    """The local time, with its date where that is not today's."""
    local, today = datetime.datetime.fromtimestamp(at), datetime.datetime.fromtimestamp(now)
    return local.strftime("%H:%M:%S" if local.date() == today.date() else "%Y-%m-%d %H:%M:%S")


def iso_time(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_since(text: str, now: float) -> float:
    """The instant of `10m`, `1h30m`, `2026-01-31T12:00:00Z` or seconds since the epoch. Raises ValueError."""
    if re.fullmatch(r"(\d{1,9}(\.\d+)?[dhms])+", text):
        seconds = dict(_UNITS_S)
        return now - sum(float(number) * seconds[unit] for number, _, unit in re.findall(r"(\d+(\.\d+)?)([dhms])", text))
    if re.fullmatch(r"\d{9,12}(\.\d+)?", text):
        return float(text)
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"expected a span (10m, 1h30m) or a time (2026-01-31T12:00:00), got {text!r}") from None


def plural(count: int, noun: str) -> str:
    """`1 node`, `2 nodes`, `2 proxies`."""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun[:-1]}ies" if noun.endswith("y") else f"{count} {noun}s"


def labels(values: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" if value else key for key, value in sorted(values.items()))


def one_line(text: str) -> str:
    """The text with no control characters in it: what others wrote must not steer the terminal."""
    return "".join(c if c == " " or not unicodedata.category(c).startswith(("C", "Z")) or c == "\u00a0" else " " for c in text)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean shop/web?`, or nothing where no name is near."""
    from difflib import get_close_matches  # lazy: only a mistyped name needs it

    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""
