"""The steps of a blue-green or canary rollout: when the next share of the requests goes to the new revision, when it is over, and
when the new revision answers so much worse than the old one that it has to go.

A step is prepared (its replicas get ready, and stay so), then in force (its share of the requests goes to them) for a time. How
far it is, is in the rollout's record: `step`, `step_at`, `share`.
"""

import dataclasses
import math
from dataclasses import dataclass

from rookery.model import BlueGreen, Canary, Rollout, Strategy

from rookery_manager.planners.actions import earliest
from rookery_manager.planners.compare import Outcome
from rookery_manager.planners.sharing import shares_of, strategy_of
from rookery_manager.planners.view import ServiceView

LOOK_S = 1.0  # between comparisons: proxies report so often


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """`rollout` is its record from now on, if that changes; `over` that the last step is; `worse` in which way the new revision
    is worse than the old one."""

    rollout: Rollout | None = None
    over: bool = False
    worse: str = ""
    wake_at: float | None = None
    waits_for: str = ""


def step_of(strategy: Strategy, rollout: Rollout) -> int:
    """The number of the step that is in force or being prepared, from 0. The share that was reached tells it, also where new
    settings have other steps than those it was reached by: it never falls."""
    shares = shares_of(strategy)
    least = rollout.share if rollout.step_at else rollout.share + 1
    return next((number for number, share in enumerate(shares) if share >= least), len(shares) - 1)


def places_of_step(strategy: Strategy, rollout: Rollout, wanted: int) -> int:
    """How many places of a service have a new replica beside the old one in the present step: its share of them, rounded up."""
    return math.ceil(wanted * shares_of(strategy)[step_of(strategy, rollout)] / 100)


def plan_step(view: ServiceView, rollout: Rollout, wanted: int, now: float) -> Step:
    strategy, monitor_s = strategy_of(view.service, view.specs), view.spec.update.monitor_s
    shares = shares_of(strategy)
    number = step_of(strategy, rollout)
    count = places_of_step(strategy, rollout, wanted)
    new = [r for r in view.replicas if not r.ended and view.is_current(r)]
    settled = [r for r in new if r.ready and r.ready_at + monitor_s <= now]
    here = len({r.slot or r.node_id for r in settled})
    if here < count:  # also in force: what was lost meanwhile comes first
        settles = [r.ready_at + monitor_s for r in new if r.ready and r.ready_at + monitor_s > now]
        what = f"{here} of {count} new replicas are ready" + (f" and stayed so for {monitor_s:g} s" if monitor_s else "")
        return Step(wake_at=earliest(*settles), waits_for=f"{what} ({_told(strategy, shares[number])})")
    if not rollout.step_at or rollout.share != shares[number]:
        why = _takes(view, strategy, shares[number])
        begun = dataclasses.replace(rollout, step=number, step_at=now, share=shares[number], changed_at=now, why=why)
        return Step(rollout=begun)
    compared = view.comparison if shares[number] < 100 else None
    if compared is not None and compared.outcome is Outcome.WORSE:
        return Step(worse=compared.why)
    due_at = rollout.step_at + (strategy.keep_s if isinstance(strategy, BlueGreen) else _interval_s(strategy))
    if now < due_at:
        left = f"{_told(strategy, shares[number])} for {due_at - now:.0f} s more"
        look_at = due_at if compared is None else min(due_at, now + LOOK_S)
        return Step(wake_at=look_at, waits_for=left if compared is None else f"{left}; {compared.why}")
    if number == len(shares) - 1:
        return Step(over=True)
    if compared is None or compared.outcome is Outcome.TOO_FEW:
        why = compared.why if compared is not None else "no proxy has reported yet"
        return Step(wake_at=now + LOOK_S, waits_for=f"{_told(strategy, shares[number])}; held: {why}")
    why = f"as good at {shares[number]} %: {compared.why}"
    return Step(rollout=dataclasses.replace(rollout, step=number + 1, step_at=0.0, changed_at=now, why=why))


def strategy_name(strategy: Strategy) -> str:
    match strategy:
        case BlueGreen():
            return "blue-green"
        case Canary():
            return "canary"
    return "rolling"


def _interval_s(strategy: Strategy) -> float:
    return strategy.interval_s if isinstance(strategy, Canary) else 0.0


def _told(strategy: Strategy, share: int) -> str:
    return f"canary at {share} %" if isinstance(strategy, Canary) else "blue-green"


def _takes(view: ServiceView, strategy: Strategy, share: int) -> str:
    service, rollout = view.service, view.service.rollout
    assert rollout is not None
    if isinstance(strategy, Canary):
        return f"canary: {share} % of the requests go to revision {service.revision}"
    return f"blue-green: all requests go to revision {service.revision}; {rollout.before} is kept for {_keep_s(strategy):g} s"


def _keep_s(strategy: Strategy) -> float:
    return strategy.keep_s if isinstance(strategy, BlueGreen) else 0.0
