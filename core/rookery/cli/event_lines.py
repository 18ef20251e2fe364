"""Events for people: without the steps that the next one of the same replica makes plain. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from rookery.model import Event

_PASSING = {"running": {"ready"}, "preparing": {"running", "ready"}, "stop": {"stopped"}}
"""What is left out, where one of these comes next. A stop is only where a drain came before, which has the reason."""


def folded(events: Sequence[Event]) -> list[Event]:
    """A replica that is created and given a node is one event; steps in between are left out."""
    following: dict[str, Event] = {}
    created: dict[str, Event] = {}
    passing: set[int] = set()
    drained = {event.id for event in events if event.verb == "drain"}
    for place in reversed(range(len(events))):
        event = events[place]
        after = following.get(event.id)
        if event.kind != "replica":
            continue
        following[event.id] = event
        if after is None:
            continue
        if event.verb == "create" and after.verb == "assign":
            created[event.id] = event
            passing.add(place)
        elif after.verb in _PASSING.get(event.verb, ()) and (event.verb != "stop" or event.id in drained):
            passing.add(place)
    return [_whole(event, created) for place, event in enumerate(events) if place not in passing]


def _whole(event: Event, created: dict[str, Event]) -> Event:
    if event.verb != "assign" or event.id not in created:
        return event
    return replace(event, why=f"create on {event.node}: {created[event.id].reason}; {event.reason}")
