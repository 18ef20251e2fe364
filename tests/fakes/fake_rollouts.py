"""The rollouts of a FakeControl: how one begins, gets a step further with each look, is paused, resumed, aborted, and ends."""

from dataclasses import dataclass, field, replace

from rookery.model import (
    OPEN,
    BlueGreen,
    Canary,
    RevisionFigures,
    Rollout,
    RolloutState,
    RolloutStatus,
    Service,
    ServiceSpec,
    ServiceStatus,
    Strategy,
)

T0 = 1_700_000_000.0
TOOK_S = 7.5


class RefusedError(Exception):
    """What the manager says to what can't be done now."""


@dataclass(slots=True)
class FakeRollouts:
    past: dict[str, tuple[Rollout, ...]] = field(default_factory=dict)  # by service, newest first, without the latest
    fails: dict[str, str] = field(default_factory=dict)  # services whose rollouts go back by themselves, and why
    held: dict[str, int] = field(default_factory=dict)  # services whose rollouts do not get beyond a share
    pauses: dict[str, str] = field(default_factory=dict)  # services whose rollouts are paused as they begin, and why

    def begin(self, service: Service, after: int, actor: str) -> Service:
        """The service on its way to `after`; a rollout that was under way is over."""
        latest, before = service.rollout, service.revision
        if latest is not None:
            over = replace(latest, state=RolloutState.OVERTAKEN) if latest.state in OPEN else latest
            self.past[service.key] = (over, *self.past.get(service.key, ()))
            before = latest.before if latest.state in OPEN and after > service.revision else before
        rollout = Rollout(
            before=before, after=after, started_at=T0, changed_at=T0, actor=actor, number=(latest.number if latest else 0) + 1
        )
        if service.key in self.pauses:
            rollout = replace(rollout, state=RolloutState.PAUSED, why=self.pauses[service.key])
        return replace(service, revision=after, rollout=rollout)

    def advance(self, service: Service, spec: ServiceSpec) -> Service:
        """The service one step further, where all its replicas are as wanted."""
        rollout = service.rollout
        if rollout is None or rollout.state not in OPEN or rollout.state is RolloutState.PAUSED:
            return service
        if rollout.state is RolloutState.ROLLING_BACK:
            return replace(service, rollout=replace(rollout, state=RolloutState.ROLLED_BACK, changed_at=T0 + TOOK_S))
        steps = steps_of(spec.strategy)
        if steps and rollout.share >= self.held.get(service.key, 101):
            return service
        if steps and not rollout.step_at:
            return replace(service, rollout=replace(rollout, share=steps[rollout.step], step_at=T0 + rollout.step + 1))
        if service.key in self.fails:
            why = f"revision {rollout.after} is rolled back to {rollout.before}: {self.fails[service.key]}"
            return _go_back(service, rollout, why)
        if rollout.step + 1 < len(steps):
            return replace(service, rollout=replace(rollout, step=rollout.step + 1, step_at=0.0))
        why = f"revision {rollout.after} is rolled out in {TOOK_S} s"
        return replace(service, rollout=replace(rollout, state=RolloutState.DONE, changed_at=T0 + TOOK_S, why=why))

    def update(self, service: Service, action: str, actor: str) -> Service:
        """The service after `pause`, `resume` or `abort`. Raises RefusedError."""
        rollout = service.rollout
        if rollout is None or rollout.state not in OPEN:
            raise RefusedError(f"no rollout of {service.key} is under way; 'rookery history {service.key}' has those before")
        match action:
            case "pause" if rollout.state is not RolloutState.PAUSED:
                why = f"the rollout of revision {rollout.after} is paused by {actor}"
                paused = replace(rollout, state=RolloutState.PAUSED, paused_in=rollout.state, why=why)
                return replace(service, rollout=paused)
            case "resume":
                if rollout.state is not RolloutState.PAUSED:
                    raise RefusedError(f"the rollout of {service.key} is not paused")
                return replace(service, rollout=replace(rollout, state=rollout.paused_in, why=f"resumed by {actor}"))
            case "abort":
                return _go_back(service, rollout, f"aborted by {actor}")
        return service

    def status(self, service: Service, spec: ServiceSpec, seen: ServiceStatus) -> RolloutStatus:
        app, name = service.app, service.name
        if service.rollout is None:
            return RolloutStatus(app=app, service=name)
        is_canary = isinstance(spec.strategy, Canary)
        return RolloutStatus(
            app=app,
            service=name,
            rollout=service.rollout,
            strategy=strategy_name(spec.strategy),
            steps=steps_of(spec.strategy),
            wanted=seen.wanted,
            updated=seen.updated,
            ready=seen.ready,
            waits_for=waits_for(service.rollout),
            new=RevisionFigures(requests=31, errors=0, slow=2) if is_canary else None,
            old=RevisionFigures(requests=95, errors=1, slow=4) if is_canary else None,
            slow_s=0.25 if is_canary else 0.0,
            past=self.past.get(service.key, ()),
        )


def waits_for(rollout: Rollout) -> str:
    """What a rollout waits for; the same words are the `why` of its service."""
    if rollout.state is RolloutState.PAUSED:
        return rollout.why
    if rollout.state is RolloutState.ROLLING and rollout.step_at:
        return "31 of 50 requests in this step"
    return "" if rollout.state not in OPEN else "new replicas"


def steps_of(strategy: Strategy) -> tuple[int, ...]:
    match strategy:
        case Canary(steps=steps):
            return steps
        case BlueGreen():
            return (100,)
    return ()


def strategy_name(strategy: Strategy) -> str:
    match strategy:
        case Canary():
            return "canary"
        case BlueGreen():
            return "blue-green"
    return "rolling"


def _go_back(service: Service, rollout: Rollout, why: str) -> Service:
    back = replace(rollout, state=RolloutState.ROLLING_BACK, why=why, share=0, step=0, step_at=0.0)
    return replace(service, revision=rollout.before, rollout=back)
