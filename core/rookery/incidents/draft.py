"""An incident in the making, while the events are read."""

from dataclasses import dataclass, field

from rookery.incidents.model import Did, Incident, Kind, Outcome, Step


@dataclass(slots=True, kw_only=True)
class Draft:
    """`open` and `failed` are places: names of replicas, whichever replica is in them. `replicas` are the ids of those that were
    in them."""

    revision: int
    kind: Kind
    subject: str
    what: str
    began_at: float
    noticed_at: float
    ended_at: float = 0.0
    affected: dict[str, None] = field(default_factory=dict)  # in order
    open: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    replicas: set[str] = field(default_factory=set)
    steps: list[Step] = field(default_factory=list)
    latest: dict[str, Did] = field(default_factory=dict)
    times: int = 0
    note: str = ""
    returned_at: float = 0.0
    latest_at: float = 0.0
    absorbed: bool = False

    def add(self, at: float, did: Did, subject: str, why: str = "", node: str = "") -> None:
        if did is Did.STOPPED and self.latest.get(subject) is did:
            return  # first it is drained, then stopped
        self.latest[subject] = did
        self.steps.append(Step(at=at, did=did, subject=subject, why=why, node=node))
        self.latest_at = max(self.latest_at, at)

    def hit(self, place: str, replica_id: str) -> None:
        """Nothing ready is in the place."""
        self.replicas.add(replica_id)
        self.affected[place] = None
        self.open.add(place)
        self.failed.discard(place)
        self.ended_at = 0.0

    def close(self, place: str, at: float) -> None:
        """It is well again, or no longer wanted. The incident ends with the last of its places."""
        self.open.discard(place)
        self.failed.discard(place)
        if not self.open and self.kind is not Kind.ROLLOUT:
            self.ended_at = at

    def end(self, at: float, why: str) -> None:
        self.add(at, Did.ENDED, self.subject, why)
        self.open.clear()
        self.ended_at = at

    def absorb(self, other: "Draft") -> None:
        """The other one is part of this one from now on."""
        other.absorbed = True
        self.steps += other.steps
        self.affected |= other.affected
        self.open |= other.open
        self.replicas |= other.replicas
        self.times += other.times

    def finished(self, number: int) -> Incident:
        """The value; `number` counts those that were noticed at the same revision."""
        gave_up = bool(self.failed) and self.failed >= self.open
        outcome = Outcome.GAVE_UP if gave_up else Outcome.RECOVERED if self.ended_at else Outcome.OPEN
        return Incident(
            id=str(self.revision) if number == 1 else f"{self.revision}.{number}",
            kind=self.kind,
            subject=self.subject,
            what=self.what,
            outcome=outcome,
            began_at=self.began_at,
            noticed_at=self.noticed_at,
            ended_at=0.0 if gave_up else self.ended_at,
            affected=tuple(self.affected),
            still_open=() if self.kind is Kind.ROLLOUT else tuple(sorted(self.open)),
            times=self.times,
            note=self.note,
            steps=tuple(sorted(self.steps, key=lambda step: step.at)),
        )
