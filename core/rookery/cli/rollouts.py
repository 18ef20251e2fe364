"""What a rollout means for who waits for it: whether it is the one that was asked for, how far it is, how it ended. Pure."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from rookery.cli.look import Line, Outcome
from rookery.cli.text import one_line
from rookery.model import OPEN, BlueGreen, Canary, Rollout, RolloutState, ServiceStatus, Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """The rollout that a service is waited for; with `back`, its way back is what is wanted."""

    number: int
    back: bool = False


def awaited(service: ServiceStatus, number_before: int) -> Awaited | None:
    """The rollout to wait for, if there is one: that which began after the one of `number_before`, or goes on since then."""
    rollout = service.service.rollout
    if rollout is None:
        return None
    if rollout.number > number_before:
        return Awaited(number=rollout.number)
    if rollout.state in OPEN:
        state = rollout.paused_in if rollout.state is RolloutState.PAUSED else rollout.state
        return Awaited(number=rollout.number, back=state is RolloutState.ROLLING_BACK)
    return None


def rollout_line(status: ServiceStatus, wanted: Awaited) -> Line | None:
    """How the rollout that is waited for went wrong; None where nothing is wrong with it."""
    rollout, key = status.service.rollout, status.service.key
    if rollout is None or rollout.number < wanted.number:
        return None
    why = one_line(rollout.why)
    if rollout.number > wanted.number:
        other = "a restart" if rollout.is_restart else f"the move to revision {rollout.after}"
        by = f" (by {one_line(rollout.actor)})" if rollout.actor else ""
        return Line(key, f"overtaken: {other} began{by}", Outcome.FAILED)
    match rollout.state:
        case RolloutState.ROLLING_BACK if not wanted.back:
            return Line(key, "rolling back", waits=why)
        case RolloutState.ROLLED_BACK if not wanted.back:
            return Line(key, why or f"rolled back to revision {rollout.before}", Outcome.FAILED)
        case RolloutState.PAUSED:
            return Line(key, why or f"the rollout of revision {rollout.after} is paused", Outcome.FAILED)
        case RolloutState.OVERTAKEN:
            return Line(key, why or "overtaken by another rollout", Outcome.FAILED)
    return None


def takes_steps(rollout: Rollout | None) -> bool:
    """Whether it is one that shifts requests, a canary or blue-green, and has begun to."""
    return (
        rollout is not None and rollout.state is RolloutState.ROLLING and bool(rollout.share or rollout.step or rollout.step_at)
    )


def step_words(rollout: Rollout | None, strategy: Strategy | None) -> str:
    """`canary 25 %`; nothing for a rollout that takes no steps."""
    if rollout is None or not takes_steps(rollout):
        return ""
    match strategy:
        case Canary():
            return f"canary {rollout.share} %"
        case BlueGreen():
            return f"blue-green {rollout.share} %"
    return f"{rollout.share} % of the requests"


def stage(services: Iterable[ServiceStatus]) -> Hashable:
    """At which steps those of the rollouts are that take any; another one is progress. None where there are none."""
    steps = frozenset(
        (status.service.key, rollout.number, rollout.step, rollout.step_at)
        for status in services
        if (rollout := status.service.rollout) is not None and takes_steps(rollout)
    )
    return steps or None


def stage_s(services: Iterable[ServiceStatus], strategies: Mapping[str, Strategy]) -> float:
    """How long the longest of the steps takes that are in force, at the least."""
    under_way = [status.service.key for status in services if takes_steps(status.service.rollout)]
    return max((_step_s(strategies.get(key)) for key in under_way), default=0.0)


def _step_s(strategy: Strategy | None) -> float:
    match strategy:
        case Canary(interval_s=interval_s):
            return interval_s
        case BlueGreen(keep_s=keep_s):
            return keep_s
    return 0.0
