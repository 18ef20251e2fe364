"""How far a service is on its way to what is wanted, and whether it can still get there. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from rookery.cli.look import Line, Look, Outcome
from rookery.cli.rollouts import Awaited, rollout_line, stage, stage_s, step_words
from rookery.cli.text import one_line
from rookery.model import Desired, Replica, ReplicaId, ReplicaState, ServiceStatus, Strategy

# A failed replica that nothing replaces for so long will not be replaced; after so many failures the next one will fail too.
_GIVE_UP_S = 2.0
_GIVE_UP_FAILURES = 3


def look_at_services(
    services: Sequence[ServiceStatus],
    replicas: Iterable[Replica],
    old_failures: frozenset[ReplicaId],
    ages: Mapping[str, float],
    rollouts: Mapping[str, Awaited] | None = None,
    strategies: Mapping[str, Strategy] | None = None,
) -> Look:
    """The progress of services. `old_failures` had failed before; `ages` are the seconds since failures were seen first.

    `rollouts` has those that are waited for, by the service's key: where one of them is turned round, paused or overtaken, its
    service has failed. `strategies`, by key too, are those of services whose rollouts take steps.
    """
    by_service: dict[str, list[Replica]] = {}
    for replica in replicas:
        by_service.setdefault(replica.key, []).append(replica)
    lines = []
    for status in services:
        key = status.service.key
        wanted = (rollouts or {}).get(key)
        wrong = rollout_line(status, wanted) if wanted else None
        words = step_words(status.service.rollout, (strategies or {}).get(key))
        lines.append(wrong or _line(status, by_service.get(key, []), old_failures, ages, words))
    if any(line.outcome is Outcome.FAILED for line in lines):
        return Look(lines, Outcome.FAILED)
    if all(line.outcome is Outcome.DONE for line in lines):
        return Look(lines, Outcome.DONE)
    return Look(lines, stage=stage(services), stage_s=stage_s(services, strategies or {}))


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


def _line(
    status: ServiceStatus, replicas: Sequence[Replica], old: frozenset[ReplicaId], ages: Mapping[str, float], step: str
) -> Line:
    """`step` is how far its requests are shifted, in words; empty where they are not."""
    key = status.service.key
    count = f"{status.ready}/{status.wanted} ready"
    if status.ready != status.updated:  # old ones serve while new ones come
        count = f"{status.updated}/{status.wanted} updated, {status.ready} ready"
    if step:
        count = f"{step}: {count}"
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
    restarting = next((r for r in _coming(status, replicas) if r.restarts), None)
    return Line(key, count, waits=waits_for(status, replicas), culprit=restarting.id if restarting else "")


def waits_for(status: ServiceStatus, replicas: Iterable[Replica]) -> str:
    """What a service waits for, in a few words: what most of its replicas that are not ready say, else what the manager says."""
    coming = _coming(status, replicas)
    states = Counter(r.state for r in coming)
    # One that is assigned says why it is on its node, which is nothing that it waits for.
    whys = Counter(one_line(r.why) for r in coming if r.why and r.state is not ReplicaState.ASSIGNED)
    counted = ", ".join(f"{count} {state}" for state, count in states.most_common())
    if not counted:
        return one_line(status.why)
    return f"{counted}: {whys.most_common(1)[0][0]}" if whys else counted


def _coming(status: ServiceStatus, replicas: Iterable[Replica]) -> list[Replica]:
    return [r for r in replicas if r.revision == status.service.revision and not r.ended and not r.ready]


def _place(replica: Replica) -> object:
    return replica.slot or replica.node_id
