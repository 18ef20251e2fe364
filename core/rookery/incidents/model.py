"""An incident and its steps, as values."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    NODE_DOWN = "node-down"
    CRASH = "crash"
    MOVED = "moved"  # it kept crashing on one node, so that it was tried on another
    ROLLOUT = "rollout"
    CONDITION = "condition"
    HELD_OFF = "held-off"
    MANAGER_AWAY = "manager-away"


class Outcome(StrEnum):
    OPEN = "open"
    RECOVERED = "recovered"
    GAVE_UP = "gave up"  # nothing more is done by itself


class Did(StrEnum):
    """What a step is, of the cluster (the first ones) or of a replica."""

    BEGAN = "began"
    NOTICED = "noticed"
    TOLD = "told"  # something that its why says in whole
    RETURNED = "returned"
    ENDED = "ended"
    LOST = "lost"
    DOUBTED = "doubted"
    CRASHED = "crashed"
    FAILED = "failed"
    CREATED = "created"
    HELD = "held"
    PLACED = "placed"
    PREPARED = "prepared"
    STARTED = "started"
    READY = "ready"
    MOVES = "moves"
    STOPPED = "stopped"
    DROPPED = "dropped"  # its place is no longer wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """`node` is where the replica `subject` was at that time, if anywhere."""

    at: float
    did: Did
    subject: str
    why: str = ""
    node: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """`id` is the store revision at which it was noticed, so it stays the same however long the story gets; others noticed at
    the same one are `217.2`, `217.3`.

    `began_at` is when the trouble began, as far as that is known, `noticed_at` when the manager knew of it; an `ended_at` of 0 is
    none yet. `affected` are replicas. `still_open` are its places that nothing ready is in. `times` is how often it crashed.
    `note` is what is not as before although it recovered.
    """

    id: str
    kind: Kind
    subject: str
    what: str
    outcome: Outcome
    began_at: float
    noticed_at: float
    ended_at: float = 0.0
    affected: tuple[str, ...] = ()
    still_open: tuple[str, ...] = ()
    times: int = 0
    note: str = ""
    steps: tuple[Step, ...] = ()

    @property
    def noticed_after_s(self) -> float:
        return max(0.0, self.noticed_at - self.began_at)

    @property
    def recovered_in_s(self) -> float | None:
        """From its beginning, not from when it was noticed: that is what users felt."""
        return max(0.0, self.ended_at - self.began_at) if self.outcome is Outcome.RECOVERED else None

    def concerns(self, subject: str) -> bool:
        """Whether it is about the app, service, replica or node of that name, or a part of it."""
        names = (self.subject, *self.affected, *(step.node for step in self.steps if step.did in (Did.LOST, Did.CRASHED)))
        return any(name == subject or name.startswith((f"{subject}/", f"{subject}.")) for name in names)
