"""What a deploy changes, in words."""

from collections.abc import Iterable, Iterator, Sequence

import click

from rookery.cli.text import one_line, plural
from rookery.model import ChangeKind, FieldChange, ServiceChange, ServicePlan

_MARKS = {
    ChangeKind.CREATE: ("+", "green"), ChangeKind.UPDATE: ("~", "yellow"), ChangeKind.SETTINGS: ("~", "yellow"),
    ChangeKind.SCALE: ("~", "yellow"), ChangeKind.REMOVE: ("-", "red"), ChangeKind.KEEP: ("=", "bright_black"),
}  # fmt: skip
_LONGEST = 100  # of a value that is shown


def change_lines(app: str, changes: Iterable[ServiceChange], *, fields: bool, plans: Sequence[ServicePlan] = ()) -> Iterator[str]:
    """A line for each service; with `fields` what of it changes, and with `plans` what that means for its replicas."""
    in_order = len({plan.wave for plan in plans if _moves(plan)}) > 1
    for change in changes:
        mark, colour = _MARKS[change.kind]
        yield click.style(f"{mark} {app}/{change.service}", fg=colour) + f"  {_what(change)}"
        if fields and change.kind is not ChangeKind.CREATE:
            for field in change.fields:
                yield f"    {_field(field)}"
        for plan in plans:
            if plan.service == change.service:
                yield from _plan_lines(plan, in_order)


def overtaking_lines(app: str, changes: Iterable[ServiceChange], *, done: bool = True) -> Iterator[str]:
    """Which rollouts are left for others before they are done; `done` or only planned."""
    was = "was" if done else "is"
    for change in changes:
        if change.overtakes:
            key = f"{app}/{change.service}"
            yield f"{key}: the rollout of revision {change.overtakes} {was} not done; {change.revision} takes its place"


def _plan_lines(plan: ServicePlan, in_order: bool) -> Iterator[str]:
    """What happens to a service's replicas, when and how, and what is pulled for it; nothing where nothing does."""
    if not _moves(plan):
        return
    counts = (("created", plan.created), ("replaced", plan.replaced), ("removed", plan.removed), ("kept", plan.kept))
    told = ", ".join(f"{count} {word}" for word, count in counts if count)
    after = f", after {', '.join(plan.after)}" if plan.after else ""
    when = f"wave {plan.wave}{after}: " if in_order or after else ""
    yield f"    {when}{told}{f' ({one_line(plan.how)})' if plan.how else ''}"
    if plan.pull_on:
        yield f"    pulls {one_line(plan.image)} on {', '.join(plan.pull_on)}"


def _moves(plan: ServicePlan) -> bool:
    return bool(plan.created or plan.replaced or plan.removed)


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
