"""What a planned change means for replicas and nodes, before anything is done: how many come, go and stay, in which order, and
which nodes have to pull an image for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from rookery.model import (
    BlueGreen,
    Canary,
    ChangeKind,
    Global,
    GlobalJob,
    PlannedReplica,
    Replica,
    ServiceChange,
    ServicePlan,
    ServiceSpec,
    UpdateOrder,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Foresight:
    """The changes, and what is there now: the services' replicas that have not ended, and the images in use on each node."""

    changes: Sequence[ServiceChange]
    specs: Mapping[str, ServiceSpec]
    replicas: Mapping[str, tuple[Replica, ...]] = field(default_factory=dict)
    images: Mapping[str, set[str]] = field(default_factory=dict)


def foresee(known: Foresight, placements: Sequence[PlannedReplica]) -> tuple[ServicePlan, ...]:
    """In the order in which it happens."""
    moving = {change.service for change in known.changes if change.kind in (ChangeKind.CREATE, ChangeKind.UPDATE)}
    after = {
        name: tuple(d.service for d in known.specs[name].depends_on if d.service in moving)
        for name in moving
        if name in known.specs
    }
    waves: dict[str, int] = {}  # 1 for a service that waits for no other
    for name in TopologicalSorter(after).static_order():  # the specs have no circles
        waves[name] = 1 + max((waves[other] for other in after[name]), default=0)
    plans = [
        _plan(change, known, placements, after.get(change.service, ()), waves.get(change.service, 1)) for change in known.changes
    ]
    return tuple(sorted(plans, key=lambda plan: (plan.wave, plan.service)))


def _plan(
    change: ServiceChange, known: Foresight, placements: Sequence[PlannedReplica], after: tuple[str, ...], wave: int
) -> ServicePlan:
    spec = known.specs.get(change.service)
    if spec is None or change.kind is ChangeKind.REMOVE:
        return ServicePlan(service=change.service, removed=len(known.replicas.get(change.service, ())))
    own = [placed for placed in placements if placed.service == change.service and placed.node_id]
    replaces = change.kind is ChangeKind.UPDATE
    is_global = isinstance(spec.mode, Global | GlobalJob)
    there = len(known.replicas.get(change.service, ()))
    wanted = len(own) + (0 if replaces or change.kind is ChangeKind.CREATE else there) if is_global else change.replicas
    stay = min(there, wanted)
    return ServicePlan(
        service=change.service,
        wave=wave,
        after=after,
        created=max(0, wanted - there),
        replaced=stay if replaces else 0,
        kept=0 if replaces else stay,
        removed=max(0, there - wanted),
        how=how(spec) if replaces else "",
        image=spec.container.image,
        pull_on=tuple(
            dict.fromkeys(p.node_name for p in own if spec.container.image not in known.images.get(p.node_name, set()))
        ),
    )


def how(spec: ServiceSpec) -> str:
    """How an update of the service goes, in a few words."""
    match spec.strategy:
        case BlueGreen(keep_s=keep_s):
            return f"blue-green: all new ones beside the old, which are kept for {keep_s:g} s after that"
        case Canary(steps=steps, interval_s=interval_s):
            shares = ", ".join(map(str, steps))
            return f"canary: {shares} % of the requests, each step {interval_s:g} s or longer"
    update = spec.update
    pace = f"{update.parallelism} at a time" if update.parallelism else "all at once"
    order = "the new one first" if update.order is UpdateOrder.START_FIRST else "the old one stops first"
    return f"{pace}, {order}"
