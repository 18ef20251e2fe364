"""Why a peer differs from this proxy, by rule. explained.txt holds it: rules, each after a hyphen, and below them the reason."""

from collections.abc import Mapping
from pathlib import Path

_FILE = Path(__file__).with_name("explained.txt")


def read() -> Mapping[str, str]:
    """The reason by rule; `answers: RULE` where answers have one of their own."""
    reasons: dict[str, str] = {}
    for block in _FILE.read_text().split("\n\n")[1:]:
        lines = block.strip().splitlines()
        rules = [line[2:] for line in lines if line.startswith("- ")]
        reasons.update(dict.fromkeys(rules, " ".join(line for line in lines if not line.startswith("- "))))
    return reasons


def why(reasons: Mapping[str, str], rule: str, *, answer: bool) -> str | None:
    """Why the peers differ in a rule; None where nobody has said."""
    return (reasons.get(f"answers: {rule}") if answer else None) or reasons.get(rule)
