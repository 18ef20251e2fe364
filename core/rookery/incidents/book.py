"""What is known at one point of the reading: the incidents so far, and how nodes, services and places were last."""

from dataclasses import dataclass, field

from rookery.incidents.draft import Draft
from rookery.incidents.model import Kind
from rookery.model import Event


@dataclass(slots=True, kw_only=True)
class Book:
    """`nodes` are the latest incidents of nodes that went down, `places` those that a place had part in last, `rollouts` those of
    services. `moving` are places whose replica goes to a node that came back, `returning` those that wait for their own node."""

    drafts: list[Draft] = field(default_factory=list)
    nodes: dict[str, Draft] = field(default_factory=dict)
    places: dict[str, Draft] = field(default_factory=dict)
    rollouts: dict[str, Draft] = field(default_factory=dict)
    conditions: dict[tuple[str, str], Draft] = field(default_factory=dict)
    moving: dict[str, Draft] = field(default_factory=dict)
    returning: dict[str, Draft] = field(default_factory=dict)
    moves: dict[str, Event] = field(default_factory=dict)
    node_states: dict[str, str] = field(default_factory=dict)
    service_states: dict[str, str] = field(default_factory=dict)
    rolling_since: dict[str, float] = field(default_factory=dict)
    service_of: dict[str, str] = field(default_factory=dict)
    alive: dict[str, set[str]] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)

    def begin(self, event: Event, kind: Kind, what: str, *, began_at: float | None = None, subject: str = "") -> Draft:
        draft = Draft(
            revision=event.revision,
            kind=kind,
            subject=subject or event.subject,
            what=what,
            began_at=event.at if began_at is None else began_at,
            noticed_at=event.at,
        )
        self.drafts.append(draft)
        return draft

    def absorb(self, draft: Draft, other: Draft) -> None:
        draft.absorb(other)
        self.places |= {place: draft for place, one in self.places.items() if one is other}
