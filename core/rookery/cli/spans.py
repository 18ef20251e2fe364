"""Spans of time as options take them: written as in a compose file (`5m`, `1h30m`, `500ms`), or a bare number of seconds."""

from collections.abc import Callable

import click

from rookery.compose import units


def seconds(least_s: float = 0.0, most_s: float = float("inf")) -> Callable[[str | float], float]:
    """The type of an option: its value in seconds. Raises BadParameter for what is no span, or is out of bounds."""

    def span(given: str | float) -> float:
        text = str(given).strip()
        found = units.duration_s(text)
        if found is None:
            found = units.number(text)
        if found is None:
            raise click.BadParameter(f"expected a span, as in 5m, 1h30m or 90s (a bare number is seconds), got {text!r}")
        if not least_s <= found <= most_s:
            most = f" and {_short(most_s)} at most" if most_s < float("inf") else ""
            raise click.BadParameter(f"expected {_short(least_s)} at least{most}, got {text!r}")
        return found

    return span


def _short(span_s: float) -> str:
    for unit, unit_s in (("h", 3600), ("m", 60)):
        if span_s >= unit_s and span_s % unit_s == 0:
            return f"{span_s / unit_s:g}{unit}"
    return f"{span_s:g}s"
