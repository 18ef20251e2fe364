"""The beginning of a rollout: what it is numbered, where it returns to if it fails, and what becomes of one that it overtakes."""

import dataclasses
from dataclasses import dataclass

from rookery.model import OPEN, PastRollout, Rollout, RolloutState, Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A rollout as it begins, and the record of the one that was not done yet, if there is one."""

    rollout: Rollout
    overtaken: PastRollout | None = None


def begin(service: Service, *, before: int, after: int, now: float, actor: str, is_reverse: bool = False, why: str = "") -> Begun:
    latest = service.rollout
    number = latest.number + 1 if latest is not None else 1
    rollout = Rollout(
        before=before, after=after, started_at=now, changed_at=now, number=number, actor=actor, is_reverse=is_reverse, why=why
    )
    return Begun(rollout=rollout, overtaken=_overtaken(service, after, now))


def revision_to_keep(service: Service) -> int:
    """The one that a rollout which begins now returns to if it fails: a rollout that was not done leaves the one that it would
    have returned to."""
    latest = service.rollout
    is_open = latest is not None and latest.state in (RolloutState.ROLLING, RolloutState.PAUSED)
    return latest.before if latest is not None and is_open and not latest.is_return else service.revision


def past(service: Service, rollout: Rollout) -> PastRollout:
    return PastRollout(app=service.app, service=service.name, number=rollout.number, rollout=rollout)


def _overtaken(service: Service, after: int, now: float) -> PastRollout | None:
    latest = service.rollout
    if latest is None or latest.state not in OPEN:
        return None
    why = f"it was {latest.state} when revision {after} took its place"
    return past(service, dataclasses.replace(latest, state=RolloutState.OVERTAKEN, changed_at=now, why=why))
