"""What replicas' events mean for incidents. A place is the name of a replica, which its replacements have too."""

from rookery.incidents.book import Book
from rookery.incidents.draft import Draft
from rookery.incidents.model import Did, Kind
from rookery.model import Event

QUIET_S = 60.0
"""A crash so soon after the one before is part of the same incident; agents reset their back-off after as long."""

REBALANCE_S = 60.0
"""A move to a node that came back is part of its return when it comes so soon after that, or after the move before."""

_ENDED = frozenset({"stopped", "failed", "lost"})
_STEPS = {
    "create": Did.CREATED,
    "hold": Did.HELD,
    "assign": Did.PLACED,
    "preparing": Did.PREPARED,
    "running": Did.STARTED,
    "ready": Did.READY,
    "drain": Did.STOPPED,
    "stop": Did.STOPPED,
}


def read_replica(book: Book, event: Event) -> None:
    place = event.subject
    book.service_of[place] = _service(event)
    crashes = event.restarts - book.restarts.get(event.id, event.restarts if event.state == "ready" else 0)
    book.restarts[event.id] = event.restarts
    alive = book.alive.setdefault(place, set())
    if event.state in _ENDED:
        alive.discard(event.id)
    else:
        alive.add(event.id)
    if event.state == "lost" or event.verb == "doubt":
        _lose(book, event)
    elif crashes > 0 or event.verb == "failed":
        _crash(book, event, crashes)
    elif event.verb == "move":
        book.moves[place] = event
    else:
        _go_on(book, event, others=alive - {event.id})


def _service(event: Event) -> str:
    if event.node and event.subject.endswith(f".{event.node}"):
        return event.subject.removesuffix(f".{event.node}")
    return event.subject.rpartition(".")[0]


def _lose(book: Book, event: Event) -> None:
    place, before = event.subject, book.places.get(event.subject)
    draft = book.nodes.get(event.node)
    if draft is None or book.node_states.get(event.node) == "ready":
        draft = book.begin(event, Kind.NODE_DOWN, f"{event.node or place}: {event.reason}", subject=event.node or place)
        draft.add(event.at, Did.NOTICED, draft.subject, event.reason)
        book.nodes[event.node] = draft
        book.node_states[event.node] = "gone"
    if before is not None and before is not draft and place in before.open:
        if before.kind in (Kind.CRASH, Kind.MOVED):
            book.absorb(draft, before)
        else:
            before.add(event.at, Did.TOLD, place, f"{place} was lost again, with {event.node}")
            before.close(place, event.at)
    did = Did.LOST if event.state == "lost" else Did.DOUBTED
    draft.add(event.at, did, place, event.reason, event.node)
    draft.hit(place, event.id)
    if place.endswith(f".{event.node}") and did is Did.LOST:  # of a global service: there is no other node for it
        draft.close(place, event.at)
        book.returning[place] = draft
    book.places[place] = draft


def _crash(book: Book, event: Event, crashes: int) -> None:
    place, draft = event.subject, book.places.get(event.subject)
    if draft is None or (place not in draft.open and not (event.id in draft.replicas and _is_fresh(draft, event))):
        draft = book.rollouts.get(_service(event)) or book.begin(event, Kind.CRASH, f"{place} crashed")
        book.places[place] = draft
    draft.times += max(crashes, 0)
    draft.hit(place, event.id)
    if event.verb == "failed":
        draft.add(event.at, Did.FAILED, place, event.reason, event.node)
        draft.failed.add(place)
    else:
        draft.add(event.at, Did.CRASHED, place, event.why, event.node)
    if draft.kind in (Kind.CRASH, Kind.MOVED):
        draft.what = _crash_told(draft, place)
    if event.state == "ready":
        draft.add(event.at, Did.READY, place, event.reason, event.node)
        draft.close(place, event.at)


def _crash_told(draft: Draft, place: str) -> str:
    if not draft.times:
        return f"{place} failed"
    if draft.kind is Kind.MOVED:
        return f"{place} crashed {draft.times} times, and was moved"
    return f"{place} crashed {draft.times} times" if draft.times > 1 else f"{place} crashed"


def _is_fresh(draft: Draft, event: Event) -> bool:
    return draft.kind in (Kind.CRASH, Kind.MOVED) and event.at - draft.latest_at <= QUIET_S


def _go_on(book: Book, event: Event, *, others: set[str]) -> None:
    """A step of a place that an incident has part in."""
    place, did = (
        event.subject,
        Did.READY if event.verb in ("ready", "running") and event.state == "ready" else _STEPS.get(event.verb),
    )
    if did is Did.PLACED and place in book.moves:
        _move_back(book, event, book.moves.pop(place))
        return
    moving, draft = book.moving.get(place), book.places.get(place)
    if moving is not None and did is not None:
        moving.add(event.at, did, place, event.reason, event.node)
        if did is Did.STOPPED:
            del book.moving[place]
        return
    if place in book.returning and did is not None:
        book.returning[place].add(event.at, did, place, event.reason, event.node)
        if did is Did.READY:
            del book.returning[place]
        return
    if draft is None:
        return
    if place in draft.open:
        if did is Did.CREATED:
            draft.failed.discard(place)
            draft.replicas.add(event.id)
        if did is Did.CREATED and others and draft.kind is Kind.CRASH and draft.times > 1:
            draft.kind = Kind.MOVED
            draft.what = _crash_told(draft, place)
        if did is not None and (did is not Did.STOPPED or others):
            draft.add(event.at, did, place, event.reason, event.node)
        if did is Did.READY:
            draft.close(place, event.at)
        elif event.state == "stopped" and not others:
            draft.add(event.at, Did.DROPPED, place, event.reason, event.node)
            draft.close(place, event.at)
    elif did is Did.STOPPED and others and _is_fresh(draft, event):
        draft.add(event.at, did, place, event.reason, event.node)


def _move_back(book: Book, event: Event, move: Event) -> None:
    """The replacement of a replica that is moved for the sake of an even spread was given a node."""
    draft = book.nodes.get(event.node)
    if draft is None or not draft.returned_at or event.at - draft.latest_at > REBALANCE_S:
        return
    draft.add(move.at, Did.MOVES, event.subject, move.reason, event.node)
    draft.add(event.at, Did.PLACED, event.subject, event.reason, event.node)
    book.moving[event.subject] = draft
