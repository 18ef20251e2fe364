"""The table of moves in the documentation is the one in the code."""

from pathlib import Path

from rookery.model import TRANSITIONS

CONCEPTS = Path(__file__).parents[3] / "docs/concepts.md"


def test_the_documented_moves_are_the_legal_ones() -> None:
    text = CONCEPTS.read_text()
    table = text.partition("<!-- transitions")[2].partition("<!-- end of transitions -->")[0]
    documented = [line for line in table.splitlines() if line.startswith("| `")]
    assert documented == [f"| `{a}` | `{b}` | {move.by} | {move.why} |" for (a, b), move in TRANSITIONS.items()]
