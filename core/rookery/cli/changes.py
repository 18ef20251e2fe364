"""What a deploy changes, in words."""

from collections.abc import Iterable, Iterator

import click

from rookery.cli.text import one_line, plural
from rookery.model import ChangeKind, FieldChange, ServiceChange

_MARKS = {
    ChangeKind.CREATE: ("+", "green"), ChangeKind.UPDATE: ("~", "yellow"), ChangeKind.SETTINGS: ("~", "yellow"),
    ChangeKind.SCALE: ("~", "yellow"), ChangeKind.REMOVE: ("-", "red"), ChangeKind.KEEP: ("=", "bright_black"),
}  # fmt: skip
_LONGEST = 100  # of a value that is shown


def change_lines(app: str, changes: Iterable[ServiceChange], *, fields: bool) -> Iterator[str]:
    for change in changes:
        mark, colour = _MARKS[change.kind]
        yield click.style(f"{mark} {app}/{change.service}", fg=colour) + f"  {_what(change)}"
        if fields and change.kind is not ChangeKind.CREATE:
            for field in change.fields:
                yield f"    {_field(field)}"


def _what(change: ServiceChange) -> str:
    replicas = plural(change.replicas, "replica")
    match change.kind:
        case ChangeKind.CREATE:
            return f"created, {replicas}"
        case ChangeKind.UPDATE:
            return f"updated to revision {change.revision}: its replicas are replaced ({replicas} wanted)"
        case ChangeKind.SETTINGS:
            return "new settings, no replica is replaced"
        case ChangeKind.SCALE:
            return f"scaled to {replicas}, none is replaced"
        case ChangeKind.REMOVE:
            return "removed"
        case ChangeKind.KEEP:
            return "unchanged"


def _field(field: FieldChange) -> str:
    before, after = _value(field.before), _value(field.after)
    if not field.before:
        return f"{field.path}: {click.style(after, fg='green')}"
    if not field.after:
        return f"{field.path}: {click.style(before, fg='red')} removed"
    return f"{field.path}: {click.style(before, fg='red')} -> {click.style(after, fg='green')}"


def _value(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
