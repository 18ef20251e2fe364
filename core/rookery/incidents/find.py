"""Events -> incidents. Pure: what is open is told by the events alone, and the same events give the same incidents.

Invariant: an event goes to one incident at most, but for the return of a node that is held off: that is part of why it was.
"""

from collections.abc import Iterable

from rookery.incidents.book import Book
from rookery.incidents.figures import away_s, silent_s
from rookery.incidents.model import Did, Incident, Kind
from rookery.incidents.places import read_replica
from rookery.model import Event, RolloutState
from rookery.model.event import HELD_OFF

MANAGER = "manager"  # the actor of what nobody asked for


def find(events: Iterable[Event]) -> tuple[Incident, ...]:
    """The incidents that the events tell of, in the order in which they were noticed. The events are given oldest first."""
    book = Book()
    for event in events:
        match event.kind:
            case "replica":
                read_replica(book, event)
            case "node":
                _read_node(book, event)
            case "service":
                _read_service(book, event)
            case "manager":
                _read_start(book, event)
    numbers: dict[int, int] = {}
    found = []
    for draft in book.drafts:
        numbers[draft.revision] = numbers.get(draft.revision, 0) + 1
        if not draft.absorbed:
            found.append(draft.finished(numbers[draft.revision]))
    return tuple(found)


def _read_node(book: Book, event: Event) -> None:
    name, silence_s = event.subject, silent_s(event.why)
    if event.state == "down" and book.node_states.get(name) != "down" and silence_s is not None:
        draft = book.begin(event, Kind.NODE_DOWN, f"{name} went down", began_at=event.at - silence_s)
        draft.add(draft.began_at, Did.BEGAN, name, f"{name} was heard for the last time")
        draft.add(event.at, Did.NOTICED, name, f"its lease ended, so {name} counts as down: {event.reason}")
        draft.note = f"{name} is still down"
        book.nodes[name] = draft
    elif event.state == "ready" and book.node_states.get(name, "down") != "ready" and name in book.nodes:
        draft = book.nodes[name]
        draft.add(event.at, Did.RETURNED, name, event.reason)
        draft.returned_at, draft.note = event.at, ""
        if not draft.affected:
            draft.ended_at = event.at
    book.node_states[name] = event.state
    _read_conditions(book, event)


def _read_conditions(book: Book, event: Event) -> None:
    name = event.subject
    known = {condition for node, condition in book.conditions if node == name}
    for condition in event.conditions:
        if condition in known:
            continue
        is_held = condition == HELD_OFF
        what = f"{name} is held off" if is_held else f"{name}: {condition}"
        draft = book.begin(event, Kind.HELD_OFF if is_held else Kind.CONDITION, what)
        draft.add(event.at, Did.NOTICED, name, f"{name} {event.reason}" if is_held else event.reason)
        book.conditions[name, condition] = draft
    for condition in known - set(event.conditions):
        draft = book.conditions.pop((name, condition))
        if draft.kind is Kind.HELD_OFF:
            draft.end(event.at, f"{name} {event.reason}" if event.state == "ready" else f"{name} went {event.state} again")
        else:
            draft.end(event.at, f"{condition} of {name} is over")


def _read_service(book: Book, event: Event) -> None:
    key, before = event.subject, book.service_states.get(event.subject, "")
    book.service_states[key] = event.state
    if event.state == "removing":
        _drop(book, event)
        return
    if event.state == RolloutState.ROLLING and before != RolloutState.ROLLING:
        book.rolling_since[key] = event.at
    draft = book.rollouts.get(key)
    failed = event.state in (RolloutState.ROLLING_BACK, RolloutState.PAUSED) and event.actor == MANAGER
    if draft is None and failed and event.state != before:
        draft = book.begin(event, Kind.ROLLOUT, f"{key}: {event.reason.partition(': ')[0]}", began_at=book.rolling_since.get(key))
        draft.add(draft.began_at, Did.BEGAN, key, f"a rollout of {key} began")
        crashes = [one for one in book.drafts if one.kind in (Kind.CRASH, Kind.MOVED) and not one.absorbed]
        for other in crashes:
            if other.began_at >= draft.began_at and book.service_of.get(other.subject) == key:
                book.absorb(draft, other)
        draft.add(event.at, Did.NOTICED, key, event.reason)
        book.rollouts[key] = draft
    elif draft is not None and event.state in (RolloutState.ROLLED_BACK, RolloutState.DONE):
        draft.end(event.at, event.reason)
        del book.rollouts[key]
    elif draft is not None:
        draft.add(event.at, Did.TOLD, key, f"{key}: {event.reason}")


def _drop(book: Book, event: Event) -> None:
    """Nothing of the service is wanted any more."""
    if event.subject in book.rollouts:
        book.rollouts.pop(event.subject).end(event.at, f"{event.subject} is removed")
    for draft in book.drafts:
        for place in sorted(p for p in draft.open if book.service_of.get(p) == event.subject):
            draft.add(event.at, Did.DROPPED, place, event.reason)
            draft.close(place, event.at)


def _read_start(book: Book, event: Event) -> None:
    away = away_s(event.why)
    if away is None:
        return
    draft = book.begin(event, Kind.MANAGER_AWAY, "the manager was away", began_at=event.at - away)
    draft.add(
        draft.began_at, Did.BEGAN, "manager", "the manager was there for the last time; agents and proxies go on by themselves"
    )
    draft.end(event.at, "the manager was started")
