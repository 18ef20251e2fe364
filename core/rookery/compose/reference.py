"""The reference of the compose format, made from its description: what docs/compose.md says of each key.

`python -m rookery.compose.reference docs/compose.md` writes it between the two marks in that file. Invariant: pure but for that.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from rookery.compose.keys_top import APP
from rookery.compose.schema import (
    Anything,
    Command,
    Duration,
    Effect,
    FileMode,
    Flag,
    Key,
    ListOf,
    LocalPath,
    Named,
    Number,
    Object,
    Pairs,
    Size,
    Text,
    Type,
    Whole,
)

BEGIN = "<!-- made from core/rookery/compose by `python -m rookery.compose.reference docs/compose.md`: begin -->"
END = "<!-- end -->"

_SECTIONS = (
    "services.NAME",
    "services.NAME.deploy",
    "services.NAME.x-rookery",
    "networks.NAME",
    "volumes.NAME",
    "secrets.NAME",
    "configs.NAME",
)


def reference() -> str:
    """One table for the top of a file and one for each of the larger parts."""
    tables: dict[str, list[str]] = {section: [] for section in ("", *_SECTIONS)}
    for path, key in _walk(APP, ""):
        section = max((title for title in _SECTIONS if path.startswith(f"{title}.")), key=len, default="")
        shown = path.removeprefix(f"{section}.") if section else path
        tables[section].append(_row(shown, key))
    parts = []
    for section, rows in tables.items():
        title = f"### `{section}`" if section else "### The top of a file"
        parts.append("\n".join([title, "", "| key | value | here |", "|---|---|---|", *rows]))
    return "\n\n".join(parts)


def replaced(document: str) -> str:
    """The document with the reference of now between the marks."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{reference()}\n\n{END}{after}"


def _walk(type: Type, path: str) -> Iterator[tuple[str, Key]]:
    match type:
        case Object(keys=keys):
            for name, key in sorted(keys.items()):
                where = f"{path}.{name}" if path else name
                yield where, key
                if key.effect is Effect.WORKS:
                    yield from _walk(key.type, where)
        case Named(value=value):
            yield from _walk(value, f"{path}.NAME")
        case ListOf(item=item):
            yield from _walk(item, f"{path}[]")
        case _:
            return


def _row(path: str, key: Key) -> str:
    match key.effect:
        case Effect.WORKS:
            here = key.note or "yes"
        case Effect.NONE:
            here = f"**no effect** (warning): {key.note}" + (f"; {key.instead}" if key.instead else "")
        case Effect.REFUSED:
            here = f"**refused**: {key.note}" + (f"; {key.instead}" if key.instead else "")
    value = "" if key.effect is Effect.REFUSED else _value(key.type)
    return f"| `{path}` | {value} | {here} |".replace("  ", " ")


def _value(type: Type) -> str:
    match type:
        case Text(choices=choices, what=what):
            return " \\| ".join(f"`{choice}`" for choice in choices) or what
        case Whole():
            return "whole number"
        case Number():
            return "number"
        case Flag():
            return "true or false"
        case Duration():
            return "time"
        case Size():
            return "size"
        case FileMode():
            return "octal mode"
        case LocalPath():
            return "path"
        case Anything():
            return "any"
        case Command():
            return "text or list"
        case Pairs():
            return "mapping or list of NAME=value"
        case ListOf(item=item, single=single, expand=expand):
            short = ", or short form" if expand is not None and "short" not in _value(item) else ""
            return f"list of {_value(item)}{short}" + (", or one" if single else "")
        case Named(from_list=from_list):
            return "mapping by name" + (", or list of names" if from_list is not None else "")
        case Object(expand=expand):
            return "mapping" + (", or short form" if expand is not None else "")


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(replaced(file.read_text()))
