"""Tables as lines of text that fit a width: the columns that may shrink do so first, then those that can be missed go.

Pure. Without a width nothing is cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import click

from rookery.cli.text import one_line

_GAP = "  "
_NARROWEST = 12  # of a column that shrinks


@dataclass(frozen=True, slots=True)
class Column:
    """`flexible` ones shrink; of those with a `rank` above 0 the highest goes first where there is no room."""

    title: str
    right: bool = False
    flexible: bool = False
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    colour: str | None = None


Row = Sequence[Cell | str]


def render(columns: Sequence[Column], rows: Sequence[Row], width: int | None = None) -> list[str]:
    """The table's lines, its titles first. Columns in which no row has anything are left out."""
    cells = [[Cell(one_line(c)) if isinstance(c, str) else Cell(one_line(c.text), c.colour) for c in row] for row in rows]
    kept = [i for i, column in enumerate(columns) if not column.rank or any(row[i].text not in ("", "-") for row in cells)]
    widths = {i: max([len(columns[i].title), *(len(row[i].text) for row in cells)]) for i in kept}
    if width is not None:
        kept = _fit(columns, kept, widths, width)
    lines = [_line([Cell(columns[i].title, "bright_black") for i in kept], columns, kept, widths)]
    lines += [_line([row[i] for i in kept], columns, kept, widths) for row in cells]
    return lines


def _fit(columns: Sequence[Column], kept: list[int], widths: dict[int, int], width: int) -> list[int]:
    """The columns that stay, with `widths` shrunk to what there is room for."""
    while True:
        excess = sum(widths[i] for i in kept) + len(_GAP) * (len(kept) - 1) - width
        flexible = sorted((i for i in kept if columns[i].flexible), key=lambda i: -widths[i])
        room = sum(max(0, widths[i] - _NARROWEST) for i in flexible)
        if excess <= room or not any(columns[i].rank for i in kept):
            break
        kept = [i for i in kept if i != max(kept, key=lambda i: columns[i].rank)]
    while excess > 0 and flexible and widths[flexible[0]] > _NARROWEST:
        widths[flexible[0]] -= 1
        excess -= 1
        flexible.sort(key=lambda i: -widths[i])
    return kept


def _line(cells: Sequence[Cell], columns: Sequence[Column], kept: Sequence[int], widths: dict[int, int]) -> str:
    parts = []
    for place, (cell, i) in enumerate(zip(cells, kept, strict=True)):
        text = cell.text if len(cell.text) <= widths[i] else cell.text[: widths[i] - 1] + "…"
        pad = " " * (widths[i] - len(text))
        shown = click.style(text, fg=cell.colour) if cell.colour else text
        last = place == len(kept) - 1
        parts.append(pad + shown if columns[i].right else shown if last else shown + pad)
    return _GAP.join(parts).rstrip()
