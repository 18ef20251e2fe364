"""What must hold whenever the autoscaler changes a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rookery.model import Autoscale, Service

if TYPE_CHECKING:
    from world.invariants import Facts

SILENT_S = 5.0  # by then a proxy's figures are stale (3.5 s), and what was on its way came
FORGOTTEN_S = 55.0  # a proxy that was lost is taken to be gone for good after 60 s
CLOCKS_S = 0.5  # the manager's clock goes at a rate of its own
KNOWN_S = 9.0  # by then a manager that starts knows all proxies that can reach it


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """The autoscaler changed a number."""

    before: Service
    after: Service
    policy: Autoscale

    @property
    def is_forced(self) -> bool:
        """Whether the bounds alone call for it."""
        return not self.policy.minimum <= self.before.replicas <= self.policy.maximum


def within_bounds(_facts: Facts, event: Scaled) -> str:
    after, policy = event.after, event.policy
    if policy.minimum <= after.replicas <= policy.maximum:
        return ""
    return f"{after.key} is to have {after.replicas} replicas, {policy.minimum} to {policy.maximum} are allowed ({after.why})"


def shrinks_knowingly(facts: Facts, event: Scaled) -> str:
    world, after = facts.world, event.after
    if event.is_forced or after.replicas >= event.before.replicas:
        return ""
    for name, gate in world.gates.items():
        if gate.proxy is None or not world.network.is_cut(name, "m"):
            continue
        cut_s = world.loop.now - facts.well_since[name]
        if SILENT_S < cut_s < FORGOTTEN_S and facts.manager_up_s() > cut_s + KNOWN_S:
            return f"{after.key} shrinks to {after.replicas}, while nothing was heard of proxy {name} for {cut_s:.1f} s"
    return ""


def never_flaps(facts: Facts, event: Scaled) -> str:
    now, key, window_s = facts.world.loop.now, event.after.key, event.policy.down.window_s
    if event.after.replicas > event.before.replicas:
        facts.grown_at[key] = now
        return ""
    grown_s = now - facts.grown_at.get(key, 0.0)
    if event.is_forced or grown_s >= window_s - CLOCKS_S:
        return ""
    return (
        f"{key} shrinks to {event.after.replicas} {grown_s:.1f} s after it grew, its window is {window_s:g} s ({event.after.why})"
    )
