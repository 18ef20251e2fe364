"""How far a service is on its way to what is wanted, and whether it can still get there. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from rookery.cli.text import one_line
from rookery.model import Desired, Replica, ReplicaId, ReplicaState, RolloutState, ServiceStatus

# A failed replica that nothing replaces for so long will not be replaced; after so many failures the next one will fail too.
_GIVE_UP_S = 2.0
_GIVE_UP_FAILURES = 3


class Outcome(Enum):
    DONE = "converged"
    FAILED = "failed"
    TIMED_OUT = "timed out"


@dataclass(frozen=True, slots=True)
class Line:
    """What is shown of one thing that is waited for: how far it is, and what it `waits` for; `outcome` None is: not yet.

    `culprit` is the id of the replica that made it fail.
    """

    subject: str
    text: str
    outcome: Outcome | None = None
    waits: str = ""
    culprit: str = ""

    @property
    def whole(self) -> str:
        return f"{self.text}  ({self.waits})" if self.waits else self.text


@dataclass(frozen=True, slots=True)
class Look:
    """One look at what is waited for; `outcome` None means that it goes on, with the next look within `again_s`."""

    lines: Sequence[Line]
    outcome: Outcome | None = None
    again_s: float = 1.0


def look_at_services(
    services: Iterable[ServiceStatus],
    replicas: Iterable[Replica],
    old_failures: frozenset[ReplicaId],
    ages: Mapping[str, float],
    updated: Mapping[str, int] | None = None,
) -> Look:
    """The progress of services. `old_failures` had failed before; `ages` are the seconds since failures were seen first.

    `updated` has the revisions that are being rolled out, by service: one that is rolled back or paused has failed.
    """
    by_service: dict[str, list[Replica]] = {}
    for replica in replicas:
        by_service.setdefault(replica.key, []).append(replica)
    lines = [
        _rollout_line(status, (updated or {}).get(status.service.name))
        or _line(status, by_service.get(status.service.key, []), old_failures, ages)
        for status in services
    ]
    if any(line.outcome is Outcome.FAILED for line in lines):
        return Look(lines, Outcome.FAILED)
    return Look(lines, Outcome.DONE if all(line.outcome is Outcome.DONE for line in lines) else None)


def failures_of(status: ServiceStatus, replicas: Iterable[Replica]) -> list[Replica]:
    """Replicas of the wanted revision that failed although they were to run."""
    return [
        replica
        for replica in replicas
        if replica.state is ReplicaState.FAILED
        and replica.key == status.service.key
        and replica.revision == status.service.revision
        and replica.desired is Desired.RUN
    ]


def _rollout_line(status: ServiceStatus, updated_to: int | None) -> Line | None:
    """How a rollout goes that does not go well; None where nothing is wrong with it."""
    rollout = status.service.rollout
    if rollout is None or rollout.after != updated_to:
        return None
    match rollout.state:
        case RolloutState.ROLLING_BACK:
            return Line(status.service.key, "rolling back", waits=rollout.why)
        case RolloutState.ROLLED_BACK | RolloutState.PAUSED:
            return Line(status.service.key, rollout.why, Outcome.FAILED)
    return None


def _line(status: ServiceStatus, replicas: Sequence[Replica], old: frozenset[ReplicaId], ages: Mapping[str, float]) -> Line:
    key = status.service.key
    count = f"{status.ready}/{status.wanted} ready"
    if status.ready != status.updated:  # old ones serve while new ones come
        count = f"{status.updated}/{status.wanted} updated, {status.ready} ready"
    if status.converged:
        return Line(key, f"{status.wanted} done" if status.mode.endswith("job") else count, Outcome.DONE)
    failures = failures_of(status, replicas)
    latest = {_place(replica): replica for replica in sorted(replicas, key=lambda r: r.created_at)}
    stuck = [r for r in failures if latest[_place(r)] is r and r.slot <= status.wanted and ages.get(r.id, 0.0) >= _GIVE_UP_S]
    new = [r for r in failures if r.id not in old]
    if stuck or len(new) >= _GIVE_UP_FAILURES:
        worst = (stuck or new)[-1]
        why = f"{count}: {worst.name} failed: {one_line(worst.why) or 'no reason given'}"
        return Line(key, why, Outcome.FAILED, culprit=worst.id)
    return Line(key, count, waits=waits_for(status, replicas))


def waits_for(status: ServiceStatus, replicas: Iterable[Replica]) -> str:
    """What a service waits for, in a few words: what most of its replicas that are not ready say, else what the manager says."""
    current = [r for r in replicas if r.revision == status.service.revision and not r.ended]
    states = Counter(r.state for r in current if not r.ready)
    # One that is assigned says why it is on its node, which is nothing that it waits for.
    whys = Counter(one_line(r.why) for r in current if not r.ready and r.why and r.state is not ReplicaState.ASSIGNED)
    counted = ", ".join(f"{count} {state}" for state, count in states.most_common())
    if not counted:
        return one_line(status.why)
    return f"{counted}: {whys.most_common(1)[0][0]}" if whys else counted


def _place(replica: Replica) -> object:
    return replica.slot or replica.node_id
