"""The history of a service from its revisions and its latest rollout: what each changed, and what became of it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from rookery.diff import diff_specs
from rookery.model import FieldChange, Revision, RolloutState, Service

CHANGES_TOLD = 3  # of a revision, where a person reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A revision, and how it differs from the one numbered before it; there are no `fields` of the oldest that is known."""

    revision: int
    created_at: float
    actor: str
    in_force: bool
    outcome: str
    fields: tuple[FieldChange, ...] = ()
    is_first: bool = False


def history(service: Service, revisions: Sequence[Revision]) -> list[Step]:
    """Newest first."""
    known = sorted(revisions, key=lambda revision: revision.number, reverse=True)
    return [
        Step(
            revision=one.number,
            created_at=one.created_at,
            actor=one.actor,
            in_force=one.number == service.revision,
            outcome=_outcome(service, one.number),
            fields=diff_specs(earlier.spec, one.spec) if earlier else (),
            is_first=earlier is None,
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


def _outcome(service: Service, number: int) -> str:
    """As far as the latest rollout knows; of earlier ones only the revision is left."""
    rollout, in_force = service.rollout, number == service.revision
    if rollout is None:
        return "in force" if in_force else "left"
    took = f"in {rollout.changed_at - rollout.started_at:.1f} s"
    if number == rollout.after:
        match rollout.state:
            case RolloutState.ROLLING:
                return "on the way back" if rollout.is_return else "rolling out"
            case RolloutState.ROLLING_BACK | RolloutState.ROLLED_BACK:
                return rollout.why
            case RolloutState.PAUSED if in_force:
                return f"in force, {rollout.why}"
            case RolloutState.DONE if in_force:
                return f"in force, {'back' if rollout.is_return else 'rolled out'} {took}"
            case RolloutState.DONE | RolloutState.PAUSED:
                return "left"
    if number == rollout.before:
        if in_force:
            again = rollout.state is RolloutState.ROLLED_BACK
            return "in force again" if again else rollout.why if rollout.state is RolloutState.PAUSED else "coming back"
        return f"left for {rollout.after} by hand" if rollout.is_return else "left"
    return "in force" if in_force else "left"
