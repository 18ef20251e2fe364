"""The history of a service or an app from its revisions and rollouts: what each revision changed, and what became of it. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rookery.cli.text import one_line
from rookery.diff import diff_specs
from rookery.model import UNDER_WAY, App, AppRevision, AppStatus, FieldChange, Revision, Rollout, RolloutState, Service

CHANGES_TOLD = 3  # of a revision, where a person reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A revision, and how it differs from the one numbered before it; there are no `fields` of the oldest that is known.

    `rollouts` are those that led to it, restarts among them, newest first.
    """

    revision: int
    created_at: float
    actor: str
    in_force: bool
    outcome: str
    fields: tuple[FieldChange, ...] = ()
    is_first: bool = False
    rollouts: tuple[Rollout, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AppStep:
    """A revision of an app; `services` says which they were, and at which of their revisions."""

    revision: int
    created_at: float
    actor: str
    in_force: bool
    services: str
    why: str


def history(service: Service, revisions: Sequence[Revision], past: Sequence[Rollout] = ()) -> list[Step]:
    """Newest first. `past` are the service's rollouts before its latest, newest first."""
    known = sorted(revisions, key=lambda revision: revision.number, reverse=True)
    rollouts = (*([service.rollout] if service.rollout else []), *past)
    return [
        Step(
            revision=one.number,
            created_at=one.created_at,
            actor=one.actor,
            in_force=one.number == service.revision,
            outcome=_outcome(service, one.number, rollouts),
            fields=diff_specs(earlier.spec, one.spec) if earlier else (),
            is_first=earlier is None,
            rollouts=tuple(rollout for rollout in rollouts if rollout.after == one.number),
        )
        for one, earlier in zip(known, [*known[1:], None], strict=True)
    ]


def told(step: Step) -> str:
    """What changed in a few words. The image with both values; of the others only which they are: a value may be for few eyes."""
    if step.is_first:
        return "created" if step.revision == 1 else ""
    words = [
        f"image {change.before or 'none'} -> {change.after or 'none'}"
        if change.path == "container.image"
        else change.path.removeprefix("container.")
        for change in step.fields
    ]
    more = f" and {len(words) - CHANGES_TOLD} more" if len(words) > CHANGES_TOLD else ""
    return ", ".join(words[:CHANGES_TOLD]) + more


def app_history(app: App, revisions: Sequence[AppRevision]) -> list[AppStep]:
    """Newest first; that one is in force, as far as its services did not go back by themselves."""
    return [
        AppStep(
            revision=one.number,
            created_at=one.created_at,
            actor=one.actor,
            in_force=one.number == app.revision,
            services=", ".join(f"{name} {number}" for name, number in sorted(one.services.items())),
            why=one.why,
        )
        for one in sorted(revisions, key=lambda revision: revision.number, reverse=True)
    ]


def departures(status: AppStatus, revisions: Sequence[AppRevision]) -> Iterator[str]:
    """The services that are not at the revision that the newest one of their app says, and why."""
    newest = next((one for one in revisions if one.number == status.app.revision), None)
    for found in status.services if newest else ():
        service = found.service
        said = newest.services.get(service.name) if newest else None
        if said is not None and said != service.revision:
            why = f": {one_line(service.rollout.why)}" if service.rollout and service.rollout.why else ""
            yield f"{service.key} is at revision {service.revision}, not {said}{why}"


def _outcome(service: Service, number: int, rollouts: Sequence[Rollout]) -> str:
    """What the newest rollout to the revision came to, and how it was left or restarted since."""
    returned = _returned(service, number)
    if returned:
        return returned
    in_force = number == service.revision
    newest = [rollout for rollout in rollouts if rollout.after == number]
    moves = [rollout for rollout in newest if not rollout.is_restart]
    words = _came_to(moves[0], rollouts, in_force) if moves else ""
    if words and len(moves) > 1:
        words += f" (the latest of {len(moves)} rollouts)"
    if not in_force:
        return ", ".join(filter(None, [words, _left(number, rollouts)])) or "left"
    is_there = not moves or moves[0].state not in UNDER_WAY
    restarted = _restarted(newest[0]) if newest and newest[0].is_restart else ""
    return ", ".join(filter(None, ["in force" if is_there else "", words, restarted]))


def _came_to(rollout: Rollout, rollouts: Sequence[Rollout], in_force: bool) -> str:
    why = one_line(rollout.why)
    match rollout.state:
        case RolloutState.ROLLING:
            return "on the way back" if rollout.is_return else "rolling out"
        case RolloutState.DONE:
            return f"{'back' if rollout.is_return else 'rolled out'} {_took(rollout)}"
        case RolloutState.ROLLING_BACK | RolloutState.ROLLED_BACK:
            return why if not why or "rolled back" in why else f"rolled back: {why}"
        case RolloutState.OVERTAKEN:
            return _overtaken(rollout, rollouts)
        case RolloutState.PAUSED if in_force:
            return why or "its rollout is paused"
    return ""  # the way back from it is paused, which the one in force tells


def _returned(service: Service, number: int) -> str:
    """What is told of the revision that the latest rollout goes back to by itself, or went; empty for every other."""
    rollout = service.rollout
    if rollout is None or rollout.is_restart or not number == service.revision == rollout.before:
        return ""
    match rollout.state:
        case RolloutState.ROLLED_BACK:
            return "in force again"
        case RolloutState.PAUSED:
            return one_line(rollout.why)
        case RolloutState.ROLLING_BACK:
            return "coming back"
    return ""


def _left(number: int, rollouts: Sequence[Rollout]) -> str:
    """`left for 2 by hand`, where the latest rollout from a revision led to an earlier one."""
    away = next((rollout for rollout in rollouts if rollout.before == number and not rollout.is_restart), None)
    came = next((rollout for rollout in rollouts if rollout.after == number and not rollout.is_restart), None)
    if away is None or not away.is_return or (came is not None and came.number > away.number):
        return ""
    return f"left for {away.after} by hand"


def _overtaken(rollout: Rollout, rollouts: Sequence[Rollout]) -> str:
    following = next((other for other in rollouts if other.number == rollout.number + 1), None)
    if following is None:
        return "overtaken"
    return "overtaken by a restart" if following.is_restart else f"overtaken by {following.after}"


def _restarted(rollout: Rollout) -> str:
    match rollout.state:
        case RolloutState.DONE:
            return f"restarted {_took(rollout)}"
        case RolloutState.ROLLING:
            return "restarting"
    return f"its restart was not done: {one_line(rollout.why)}" if rollout.why else "its restart was not done"


def _took(rollout: Rollout) -> str:
    return f"in {rollout.changed_at - rollout.started_at:.1f} s"
