"""Has the number of every autoscaled service follow what is asked of it.

It looks whenever a proxy reports, and once a second all the same. What it remembers of the seconds before is in memory only: a
manager that was restarted begins with the number that there is, and takes nothing away before it has seen a whole window.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from rookery.model import (
    UNDER_WAY,
    Autoscale,
    NodeId,
    Replica,
    ReplicaId,
    ReplicaStats,
    Revision,
    ScaleDecision,
    ScaleMetric,
    Service,
    ServiceKey,
    ServiceSpec,
)
from rookery.model.ids import service_key

from rookery_manager.actor import Actor
from rookery_manager.clock import Clock
from rookery_manager.demand import Seen, quantile_s
from rookery_manager.loops import DirtyKeys, reconcile
from rookery_manager.planners.actions import SetReplicas
from rookery_manager.planners.autoscale import Asked, Past, ScaleView, Scaling, bounds_at, plan_scaling
from rookery_manager.records import Record
from rookery_manager.routing import RoutePlane
from rookery_manager.state import State

LOOK_S = 1.0  # a service is looked at so often at least,
AGAIN_S = 0.2  # and after so long at the soonest, however many proxies report
NODE_SILENT_S = 5.0  # figures of a node that was not heard for so long are stale


class Stats(Protocol):
    """What agents tell of replicas."""

    def last_seen(self, node_id: NodeId) -> float: ...

    def replica_stats(self, replica_id: ReplicaId) -> ReplicaStats | None: ...


@dataclass(slots=True, kw_only=True)
class _Memory:
    """Of one service. `policy` is the one under which it was gathered."""

    since: float
    policy: Autoscale
    replicas: int
    looked_at: float = 0.0
    called: deque[Past] = field(default_factory=deque)
    changes: deque[Past] = field(default_factory=deque)
    latest: ScaleDecision | None = None


class Autoscaler:
    def __init__(self, state: State, actor: Actor, clock: Clock, plane: RoutePlane, stats: Stats, *, lease_s: float) -> None:
        self._state = state
        self._actor = actor
        self._clock = clock
        self._plane = plane
        self._stats = stats
        self._since = clock() + lease_s  # by then the proxies that there were have connected
        self._memories: dict[ServiceKey, _Memory] = {}
        self.keys: DirtyKeys[ServiceKey] = DirtyKeys(clock)
        for key in state.services:
            self._note(key)
        state.listen(self._on_record)
        plane.demand.listen(self.keys.mark)

    async def run(self) -> None:
        await reconcile(self.keys, self._step)

    # ---- what others ask

    def demand_of(self, key: ServiceKey) -> Seen:
        return self._plane.demand.seen(key, self._clock())

    def latest(self, key: ServiceKey) -> ScaleDecision | None:
        """What was decided when the figures were last looked at."""
        memory = self._memories.get(key)
        return memory.latest if memory else None

    # ---- the loop

    async def _step(self, key: ServiceKey) -> float | None:
        found = self._policy_of(key)
        if found is None:
            self._memories.pop(key, None)
            self._plane.demand.unwatch(key)
            return None
        service, spec, policy = found
        now = self._clock()
        memory = self._memory(key, service, policy, now)
        seen = self._plane.demand.seen(key, now)
        wakes = seen.held > 0 and not service.replicas
        if now < memory.looked_at + AGAIN_S and not wakes:
            return memory.looked_at + AGAIN_S
        memory.looked_at = now
        view = self._view(service, spec, memory, seen, now)
        plan = plan_scaling(view, now)
        decision = self._remember(memory, view, plan, now)
        if plan.wanted == service.replicas:
            return now + LOOK_S
        before = service.replicas
        why = f"{before} -> {plan.wanted}: {plan.why}"
        if await self._actor.act([SetReplicas(service=service, decision=decision, why=why)]):
            memory.replicas = plan.wanted
            memory.changes.append(Past(at=now, number=before))
        else:
            self.keys.mark(key)
        return self._clock() + AGAIN_S

    def _view(self, service: Service, spec: ServiceSpec, memory: _Memory, seen: Seen, now: float) -> ScaleView:
        replicas = [r for r in self._state.replicas_of(service.key).values() if r.ready and not r.ended]
        quiet = not seen.missing and not seen.concurrency and not seen.held
        return ScaleView(
            policy=memory.policy,
            bounds=bounds_at(memory.policy, now),
            replicas=service.replicas,
            ready=len(replicas),
            newest_ready_at=max((r.ready_at for r in replicas), default=0.0),
            asked=self._asked(memory.policy, spec, replicas, seen, now),
            quiet_since=max(seen.busy_at, service.created_at) if quiet else None,
            held=seen.held,
            called=tuple(memory.called),
            changes=tuple(memory.changes),
            known_since=memory.since,
            is_updating=service.rollout is not None and service.rollout.state in UNDER_WAY,
        )

    def _asked(
        self, policy: Autoscale, spec: ServiceSpec, replicas: list[Replica], seen: Seen, now: float
    ) -> Mapping[ScaleMetric, Asked]:
        asked: dict[ScaleMetric, Asked] = {}
        for metric in (target.metric for target in policy.targets):
            match metric:
                case ScaleMetric.CONCURRENCY:
                    asked[metric] = Asked(value=seen.concurrency, missing=seen.missing)
                case ScaleMetric.RPS:
                    asked[metric] = Asked(value=seen.rps, missing=seen.missing)
                case ScaleMetric.LATENCY_P95:
                    p95 = quantile_s(seen.latency_counts, self._plane.latency_bounds_s, 0.95)
                    asked[metric] = Asked(value=p95, missing=seen.missing)
                case ScaleMetric.CPU | ScaleMetric.MEMORY:
                    asked[metric] = self._used(metric, spec, replicas, now)
        return asked

    def _used(self, metric: ScaleMetric, spec: ServiceSpec, replicas: list[Replica], now: float) -> Asked:
        """What the ready replicas use together, in percent of what one of them may use."""
        if not replicas:
            return Asked(missing="no replica is ready")
        total = 0.0
        for replica in replicas:
            stats = self._stats.replica_stats(replica.id)
            if stats is None or self._stats.last_seen(replica.node_id) + NODE_SILENT_S < now:
                return Asked(missing=f"node {replica.node_name} does not report what {replica.name} uses")
            total += stats.cpu_percent / 100 if metric is ScaleMetric.CPU else stats.memory_bytes
        if metric is ScaleMetric.CPU:
            return Asked(value=100 * total / (spec.limits.cpus or spec.reservations.cpus or 1.0))
        return Asked(value=100 * total / (spec.limits.memory_bytes or spec.reservations.memory_bytes or 1))

    def _memory(self, key: ServiceKey, service: Service, policy: Autoscale, now: float) -> _Memory:
        memory = self._memories.get(key)
        if memory is None:
            memory = _Memory(since=max(now, self._since), policy=policy, replicas=service.replicas)
            self._memories[key] = memory
        if memory.policy != policy:  # what other targets called for is no measure for these
            memory.policy, memory.since = policy, max(now, self._since)
            memory.called.clear()
        if memory.replicas != service.replicas:  # someone else's doing
            memory.replicas = service.replicas
            memory.changes.clear()
        for past, pace_s in (
            (memory.called, max(policy.up.window_s, policy.down.window_s)),
            (memory.changes, max(policy.up.per_s, policy.down.per_s)),
        ):
            while past and past[0].at <= now - pace_s:
                past.popleft()
        return memory

    def _remember(self, memory: _Memory, view: ScaleView, plan: Scaling, now: float) -> ScaleDecision:
        called = memory.called
        if called and called[-1].number == plan.called:  # the latest of several in a row says it all
            called.pop()
        called.append(Past(at=now, number=plan.called))
        memory.latest = ScaleDecision(
            at=now, before=view.replicas, after=plan.wanted, ready=view.ready, why=plan.why, figures=plan.figures
        )
        return memory.latest

    def _policy_of(self, key: ServiceKey) -> tuple[Service, ServiceSpec, Autoscale] | None:
        service = self._state.services.get(key)
        revision = self._state.revision_of(key, service.revision) if service else None
        if service is None or revision is None or service.removing:
            return None
        policy = service.autoscale(revision.spec)
        return (service, revision.spec, policy) if policy is not None else None

    def _note(self, key: ServiceKey) -> None:
        """The service may be an autoscaled one from now on, or no longer."""
        if self._policy_of(key) is not None:
            self._plane.demand.watched.add(key)
            self.keys.mark(key)
        elif key in self._plane.demand.watched:
            self.keys.mark(key)

    def _on_record(self, record: Record, _after: Record | None) -> None:
        match record:
            case Service():
                self._note(record.key)
            case Revision():
                self._note(service_key(record.app, record.service))
            case _:
                return
