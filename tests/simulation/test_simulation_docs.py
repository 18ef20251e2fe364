"""docs/simulation.md names every invariant, with the meaning that is in the code."""

from pathlib import Path

from world.invariants import ELSEWHERE, INVARIANTS

PAGE = Path(__file__).parents[2] / "docs" / "simulation.md"


def test_the_page_has_every_invariant() -> None:
    rows = [f"| {i.name} | {i.meaning} |" for i in INVARIANTS] + [
        f"| {name} | {meaning} |" for name, meaning in ELSEWHERE.items()
    ]
    text = PAGE.read_text()
    missing = [row for row in rows if row not in text]
    assert not missing, "docs/simulation.md lacks:\n" + "\n".join(missing)
