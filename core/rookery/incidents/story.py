"""An incident in sentences: a time line, how long each phase took, what is still open, what to look at next. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from rookery.incidents.grouping import grouped
from rookery.incidents.model import Did, Incident, Kind, Outcome
from rookery.incidents.sentences import brief, sentence

PHASES = ((Did.PLACED, "placed"), (Did.STARTED, "started"), (Did.READY, "ready"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """`offset_s` counts from the beginning of the incident; `count` is how many steps the sentence tells of."""

    at: float
    offset_s: float
    text: str
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    incident: Incident
    lines: tuple[Line, ...]
    took: tuple[str, ...] = ()
    still_open: tuple[str, ...] = ()
    look_at: tuple[str, ...] = ()


def story(incident: Incident) -> Story:
    return Story(
        incident=incident,
        lines=tuple(_lines(incident)),
        took=_took(incident),
        still_open=tuple(_still_open(incident)),
        look_at=tuple(_look_at(incident)),
    )


def _lines(incident: Incident) -> Iterator[Line]:
    ready_after = _ready_after(incident)
    for group in grouped(incident.steps):
        after_s = max((ready_after.get(id(one), 0.0) for one in group), default=0.0)
        at = group[0].at
        yield Line(at=at, offset_s=at - incident.began_at, text=sentence(group, after_s=after_s), count=len(group))


def _ready_after(incident: Incident) -> dict[int, float]:
    """For each step in which a replica gets ready: how long its place had been without one. By the step's identity."""
    down_since: dict[str, float] = {}
    found: dict[int, float] = {}
    for step in incident.steps:
        if step.did in (Did.LOST, Did.DOUBTED, Did.CRASHED, Did.FAILED):
            down_since.setdefault(step.subject, step.at)
        elif step.did is Did.READY and step.subject in down_since:
            found[id(step)] = step.at - down_since.pop(step.subject)
    return found


def _took(incident: Incident) -> tuple[str, ...]:
    """How long each phase was, where there was more than one."""
    phases = tuple(_phases(incident))
    return phases if len(phases) > 1 else ()


def _phases(incident: Incident) -> Iterator[str]:
    """Each from the end of the one before it to its last step, of all the replicas that had to come back."""
    if incident.noticed_after_s:
        yield f"noticed after {incident.noticed_after_s:.1f} s"
    if incident.kind is Kind.NODE_DOWN:
        before = incident.noticed_at
        until = incident.ended_at or float("inf")  # what its return brought comes later
        for did, name in PHASES:
            at = max((step.at for step in incident.steps if step.did is did and step.at <= until), default=0.0)
            if at > before:
                yield f"{name} after {brief(at - before)} more"
                before = at
    if incident.recovered_in_s is not None and incident.kind is not Kind.MANAGER_AWAY:
        yield f"{brief(incident.recovered_in_s)} in all"


def _still_open(incident: Incident) -> Iterator[str]:
    latest = {step.subject: step for step in incident.steps}
    for place in incident.still_open:
        step = latest.get(place)
        yield f"{place} is not ready: {sentence([step])}" if step else f"{place} is not ready"
    if incident.note:
        yield incident.note
    if incident.outcome is Outcome.OPEN and not incident.still_open:
        match incident.kind:
            case Kind.ROLLOUT:
                yield f"the rollout of {incident.subject} is not over"
            case Kind.CONDITION:
                yield f"{incident.what} goes on"
            case Kind.HELD_OFF:
                yield f"{incident.subject} gets no work yet"


def _look_at(incident: Incident) -> Iterator[str]:
    places = incident.still_open or incident.affected[:1]
    match incident.kind:
        case Kind.NODE_DOWN:
            if incident.note:
                yield f"rookery node inspect {incident.subject}"
            for place in incident.still_open[:3]:
                yield f"rookery explain {place}"
        case Kind.CRASH | Kind.MOVED:
            for place in places[:1]:
                yield f"rookery logs {place} --tail 50"
                if incident.outcome is not Outcome.RECOVERED:
                    yield f"rookery explain {place}"
        case Kind.ROLLOUT:
            yield f"rookery history {incident.subject}"
            if incident.outcome is Outcome.OPEN:
                yield f"rookery rollout status {incident.subject}"
        case Kind.CONDITION | Kind.HELD_OFF:
            if incident.outcome is Outcome.OPEN:
                yield f"rookery node inspect {incident.subject}"
        case Kind.MANAGER_AWAY:
            return
