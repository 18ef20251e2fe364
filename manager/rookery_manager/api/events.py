"""Changes of the store as events: who did what to which thing, and why. And ListEvents.

Invariant: a write without a why is no event; it is part of another write that has one.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from rookery.model import AcmeAccount, Event, Node, Replica, Service
from rookery.model.event import HELD_OFF
from rookery.v1 import control_pb2
from rookery.wire import WireError, encode

from rookery_manager.api.committing import checked_actor
from rookery_manager.api.errors import invalid
from rookery_manager.api.needs import Api
from rookery_manager.records import Record, parse
from rookery_manager.store import Change, Store

DEFAULT_LIMIT = 100
MAX_LIMIT = 10_000
MAX_LOOK_BACK = 20_000  # changes that a search goes through at most
BREATHE_EVERY = 200  # changes after which others get a turn of the event loop

_KINDS = {
    "apps": "app",
    "services": "service",
    "revisions": "revision",
    "replicas": "replica",
    "nodes": "node",
    "pools": "pool",
    "manager": "manager",
    "people": "person",
    "tokens": "token",
    "revoked": "revocation",
    "attempts": "attempt",
    "secrets": "secret",
    "configs": "config",
    "seal": "lock",
    "lock": "lock",
    "authority": "authority",
    "certificates": "certificate",
    "acme-accounts": "certificate",
}
_NOBODY = ("", "manager", "restore")  # actors that are no people


async def list_events(api: Api, request: control_pb2.ListEventsRequest) -> control_pb2.ListEventsResponse:
    if not 0 <= request.limit <= MAX_LIMIT:
        raise invalid(f"limit: {request.limit} is not between 0 and {MAX_LIMIT}")
    if request.after_revision < 0:
        raise invalid(f"after_revision: {request.after_revision} is negative")
    limit = request.limit or DEFAULT_LIMIT
    if request.kind and request.kind not in _KINDS.values():
        raise invalid(f"kind: must be one of {', '.join(sorted(set(_KINDS.values())))}")
    wanted = Wanted(
        actor=checked_actor(request.by, default=""), kind=request.kind, since_at=request.since_at, text=request.text.casefold()
    )
    found = await events_of(api.store, request.subject, after=request.after_revision, limit=limit, wanted=wanted)
    return control_pb2.ListEventsResponse(events=[encode(event) for event in found])


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which events: of `actor`, or of people with `*`; of that kind; not from before; that say that. What is empty asks none."""

    actor: str = ""
    kind: str = ""
    since_at: float = 0.0
    text: str = ""

    def fits(self, event: Event) -> bool:
        if self.actor == "*" and event.actor in _NOBODY:
            return False
        if self.actor not in ("", "*") and event.actor != self.actor and not event.actor.startswith(f"{self.actor}@"):
            return False
        said = self.text in event.why.casefold() or self.text in event.subject.casefold()
        return event.kind == (self.kind or event.kind) and event.at >= self.since_at and said


ALL = Wanted()


async def events_of(
    store: Store, subject: str, *, after: int = 0, limit: int = DEFAULT_LIMIT, wanted: Wanted = ALL
) -> tuple[Event, ...]:
    """The newest events of an app, service, replica or node (all, where the subject is empty), oldest first."""
    found: dict[tuple[int, str, str], Event] = {}
    for prefix, key_fits, event_fits in _where(subject):
        fits = partial(_both, event_fits, wanted)
        for event in await _search(store, prefix, key_fits, fits, after=after, limit=limit):
            found.setdefault((event.revision, event.kind, event.id or event.subject), event)
    return tuple(sorted(found.values(), key=lambda event: event.revision)[-limit:])


def _where(subject: str) -> list[tuple[str, Callable[[str], bool], Callable[[Event], bool]]]:
    """Where a subject's events may lie: a prefix, which keys under it may hold them, and which events are its own."""
    if not subject:
        return [("", _any, _any)]
    app, slash, rest = subject.partition("/")
    service, dot, _ = rest.partition(".")
    if dot:
        return [(f"replicas/{app}/{service}/", _any, lambda event: event.subject == subject)]
    if slash:
        own = (f"services/{subject}", _any, lambda event: event.subject == subject)
        files = [(f"{kind}/{subject}", _any, lambda event: event.subject == subject) for kind in ("secrets", "configs")]
        return [own, *files, *((f"{kind}/{subject}/", _any, _any) for kind in ("revisions", "replicas"))]
    of_app = [(f"{kind}/{app}/", _any, _any) for kind in ("services", "revisions", "replicas", "secrets", "configs")]
    named = ("nodes/", _any, lambda event: event.subject == subject or event.id.startswith(subject))
    of_replica = ("replicas/", lambda key: key.rpartition("/")[2].startswith(subject), _any)
    of_pool = (f"pools/{app}", _any, lambda event: event.subject == app)
    of_host = (f"certificates/{app}", _any, lambda event: event.subject == app)
    refused = ("attempts/", _any, lambda event: app in event.why.split())
    return [(f"apps/{app}", _any, lambda event: event.subject == app), *of_app, named, of_replica, of_pool, of_host, refused]


def _any(_: object) -> bool:
    return True


def _both(event_fits: Callable[[Event], bool], wanted: Wanted, event: Event) -> bool:
    return wanted.fits(event) and event_fits(event)


async def _search(
    store: Store, prefix: str, key_fits: Callable[[str], bool], event_fits: Callable[[Event], bool], *, after: int, limit: int
) -> tuple[Event, ...]:
    """The newest events under the prefix. Most changes are events, so that few are asked for twice."""
    look_back = min(2 * limit, MAX_LOOK_BACK)
    while True:
        changes = await store.history(prefix, after=after, limit=look_back)
        events = await to_events(store, [change for change in changes if key_fits(change.key)])
        found = [event for event in events if event_fits(event)]
        if len(found) >= limit or len(changes) < look_back or look_back >= MAX_LOOK_BACK:
            return tuple(found[-limit:])
        look_back = min(4 * look_back, MAX_LOOK_BACK)


async def to_events(store: Store, changes: Sequence[Change]) -> list[Event]:
    events = []
    for number, change in enumerate(changes):
        if number % BREATHE_EVERY == BREATHE_EVERY - 1:
            await asyncio.sleep(0)
        if change.why and _kind(change.key):
            events.append(await _event(store, change))
    return events


async def _event(store: Store, change: Change) -> Event:
    record = read(change)
    if record is None and change.value is None:
        record = await _before(store, change)
    event = Event(
        revision=change.revision,
        at=change.at,
        actor=change.actor,
        kind=_kind(change.key),
        subject=subject_of(change.key, record),
        why=change.why,
        id=record.id if isinstance(record, Replica | Node) else "",
    )
    return _with_state(event, record)


def _with_state(event: Event, record: Record | None) -> Event:
    """The event with how its subject was after it."""
    match record:
        case Replica():
            state = "ready" if record.ready else record.state.value
            return replace(event, state=state, node=record.node_name, restarts=record.restarts)
        case Node():
            names = tuple(condition.name for condition in record.conditions)
            return replace(event, state=record.state.value, conditions=(*names, HELD_OFF) if record.held_off else names)
        case Service():
            rollout = record.rollout.state.value if record.rollout else ""
            return replace(event, state="removing" if record.removing else rollout)
    return event


async def _before(store: Store, change: Change) -> Record | None:
    """What was deleted: a delete does not say, but the write before it does."""
    earlier: Iterable[Change] = await store.history(change.key, after=0, limit=50)
    values = [old for old in earlier if old.key == change.key and old.revision < change.revision and old.value is not None]
    return read(values[-1]) if values else None


def read(change: Change) -> Record | None:
    """The record that a change wrote; None for a delete, and for what can't be read."""
    try:
        return parse(change.key, change.value) if change.value is not None else None
    except WireError:
        return None


def subject_of(key: str, record: Record | None) -> str:
    """What people call the thing: `shop/web.3`, `n2`; where its record is gone, what its key says."""
    if isinstance(record, Replica | Node):
        return record.name
    parts = key.split("/")
    match parts[0]:
        case "acme-accounts":
            return record.directory if isinstance(record, AcmeAccount) else parts[1]
        case "seal" | "lock":
            return "manager"
        case "manager" | "authority":
            return parts[0]
        case "apps" | "nodes" | "pools":
            return parts[1]
        case "replicas":
            return f"{parts[1]}/{parts[2]}.{parts[3][:8]}"
        case _:
            return "/".join(parts[1:3])


def _kind(key: str) -> str:
    return _KINDS.get(key.partition("/")[0], "")
