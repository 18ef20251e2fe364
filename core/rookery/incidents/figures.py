"""The figures that are nowhere but in a sentence: how long a node was silent, how long the manager was away.

tests/unit/manager/test_incident_sentences.py holds them together with what makes these sentences.
"""

import re

_SILENT = re.compile(r"silent for (\d+(?:\.\d+)?) s")
_AWAY = re.compile(r"away for (\d+(?:\.\d+)?) s")


def silent_s(why: str) -> float | None:
    """How long the node had been silent; None where the sentence does not say."""
    return _seconds(_SILENT, why)


def away_s(why: str) -> float | None:
    return _seconds(_AWAY, why)


def _seconds(pattern: re.Pattern[str], why: str) -> float | None:
    found = pattern.search(why)
    return float(found[1]) if found else None
