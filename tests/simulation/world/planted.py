"""Bugs put into the real code on purpose: the simulation has to catch each of them, or it is blind to what it is for.

A bug is a name in a module or class of the product, and what takes its place for a day.
"""

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rookery.model import NodeId, Replica, ReplicaState
from rookery_agent import lease, reconcile, session
from rookery_agent.assignments import Held
from rookery_manager import autoscaler, demand, dispatch, leases, reconcilers, routing
from rookery_manager.planners import autoscale, beside, observe, places, routes, service
from rookery_manager.planners.actions import Stop
from rookery_manager.store import Commit

from world import agent, day
from world import store as disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """`caught_by` are the invariants any of which may be the first to see it; `weather` the kind of day that brings it out."""

    what: str
    weather: str
    caught_by: tuple[str, ...]
    changes: tuple[tuple[Any, str, Any], ...]


def _stop_at_once(_view: object, replica: Replica, why: str, _now: float) -> Stop:
    return Stop(replica=replica, why=why)


def _older_set(_held: Held, generation: int, assignments: tuple[Any, ...]) -> Held:
    return Held(generation=generation, assignments={a.replica_id: a for a in assignments})


def _any_delta(held: Held, _start: int, end: int, puts: tuple[Any, ...], removes: tuple[Any, ...]) -> Held:
    kept = {key: value for key, value in held.assignments.items() if key not in removes}
    return Held(generation=end, assignments={**kept, **{a.replica_id: a for a in puts}})


def _from_receipt(self: Any, _asked_at: float, lease_s: float) -> None:
    self.until = session.clock() + lease_s


def _all_mine(original: Callable[..., None]) -> Callable[..., None]:
    def take(self: Any, held: Held, *, confirmed: bool) -> None:
        del confirmed
        original(self, held, confirmed=True)

    return take


def _nothing_held(_self: object) -> Held:
    return Held()


def _forgetful(original: Callable[..., Any]) -> Callable[..., Any]:
    async def apply(self: Any, commit: Commit) -> int:
        if commit.actor == "ann" and len(commit.writes) == 1 and self._random.random() < 0.5:  # no deploy
            return int((await self.snapshot("cluster")).revision)
        return int(await original(self, commit))

    return apply


def _blind(original: Callable[..., Any]) -> Callable[..., Any]:
    async def apply(self: Any, commit: Commit) -> int:
        return int(await original(self, dataclasses.replace(commit, conditions=())))

    return apply


def _impatient(original: Callable[..., Any]) -> Callable[..., Any]:
    def settle(view: Any, slot: Any, parts: Any, now: float) -> Any:
        good = tuple(dataclasses.replace(replica, ready=True, ready_at=1.0) for replica in parts.good)
        return original(view, slot, dataclasses.replace(parts, good=good), now)

    return settle


def _serves_until_it_stops(replica: Replica) -> bool:
    return bool(replica.endpoints) and replica.state in (ReplicaState.RUNNING, ReplicaState.DRAINING)


def _still_assigned(replica: Replica) -> bool:
    return bool(replica.node_id) and replica.state not in (ReplicaState.PENDING, ReplicaState.STOPPED, ReplicaState.FAILED)


def _whole(original: Callable[..., Any]) -> Callable[..., Any]:
    def seen(self: Any, key: Any, now: float) -> Any:
        return dataclasses.replace(original(self, key, now), missing="")

    return seen


def _until_soon(self: Any, node_id: NodeId) -> float:
    return float(self.heard_at(node_id)) + 1.0


BUGS: Mapping[str, Bug] = {
    "acknowledgement-skipped": Bug(
        what="a draining replica is taken for drained without asking the proxies",
        weather="calm",
        caught_by=("acknowledged-stop",),
        changes=((routing.RoutePlane, "undrained", lambda _self, _replica: None),),
    ),
    "stop-without-drain": Bug(
        what="what is retired stops at once",
        weather="calm",
        caught_by=("acknowledged-stop",),
        changes=((places, "retire", _stop_at_once), (service, "retire", _stop_at_once), (beside, "retire", _stop_at_once)),
    ),
    "older-generation": Bug(
        what="an agent takes sets and changes of any generation",
        weather="chaos",
        caught_by=("generation-forward", "generation-content"),
        changes=((session, "take_set", _older_set), (session, "take_delta", _any_delta)),
    ),
    "lease-from-receipt": Bug(
        what="an agent counts its lease from when the answer came, not from when it asked",
        weather="late leases",
        caught_by=("runs-once",),
        changes=((lease.Lease, "renew", _from_receipt),),
    ),
    "nothing-adopted": Bug(
        what="an agent that starts again takes what runs for nobody's",
        weather="storm",
        caught_by=("wanted-stays",),
        changes=((agent.Home, "held", _nothing_held), (reconcile.Reconciler, "take", _all_mine(reconcile.Reconciler.take))),
    ),
    "write-lost": Bug(
        what="some commands are acknowledged and not written",
        weather="calm",
        caught_by=("acknowledged-write",),
        changes=((disk.StoreView, "apply", _forgetful(disk.StoreView.apply)),),
    ),
    "blind-commits": Bug(
        what="a commit does not look whether what it was planned from still holds",
        weather="storm",
        caught_by=("legal-moves", "acknowledged-write", "few-in-a-place", "convergence", "wanted-stays", "generation-content"),
        changes=((disk.StoreView, "apply", _blind(disk.StoreView.apply)),),
    ),
    "retired-before-ready": Bug(
        what="the old replica goes as soon as the new one is there, ready or not",
        weather="calm",
        caught_by=("start-first",),
        changes=((places, "_settle", _impatient(places._settle)),),
    ),
    "draining-routed": Bug(
        what="the route table keeps what drains",
        weather="calm",
        caught_by=("routes-ready", "acknowledged-stop"),
        changes=((routes, "_serves", _serves_until_it_stops),),
    ),
    "status-backwards": Bug(
        what="a status moves a replica to any state",
        weather="calm",
        caught_by=("legal-moves",),
        changes=((observe, "can_move", lambda _before, _after: True),),
    ),
    "lost-kept": Bug(
        what="a node that is back is still assigned what was lost with it",
        weather="partitions",
        caught_by=("generation-content", "convergence"),
        changes=((dispatch, "is_assigned", _still_assigned),),
    ),
    "orphans-kept": Bug(
        what="an agent does not stop what it is no longer assigned",
        weather="partitions",
        caught_by=("convergence", "runs-once"),
        changes=((reconcile.Reconciler, "_orphans", lambda _self: set()),),
    ),
    "runs-twice": Bug(
        what="what must not run twice is lost at once with its node",
        weather="partitions",
        caught_by=("runs-once",),
        changes=((reconcilers, "fence_s", lambda _spec: 0.0),),
    ),
    "figures-taken-for-whole": Bug(
        what="what the other proxies tell is taken for all",
        weather="tides",
        caught_by=("shrinks-knowingly",),
        changes=((demand.Demand, "seen", _whole(demand.Demand.seen)),),
    ),
    "window-forgotten": Bug(
        what="the number falls as soon as fewer are called for",
        weather="tides",
        caught_by=("never-flaps",),
        changes=((autoscale, "_within", lambda _past, _window_s, _now: []),),
    ),
    "bounds-ignored": Bug(
        what="the number is what is called for, whatever is allowed",
        weather="tides",
        caught_by=("within-bounds",),
        changes=((autoscaler, "bounds_at", lambda _policy, _now: autoscale.Bounds(least=0, most=1000)),),
    ),
    "judged-in-haste": Bug(
        what="a node is judged down after a second of silence",
        weather="calm",
        caught_by=("judged-fairly",),
        changes=((leases.Leases, "until", _until_soon),),
    ),
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    changes = BUGS[name].changes
    before = [(where, what, inspect.getattr_static(where, what)) for where, what, _ in changes]
    for where, what, instead in changes:
        setattr(where, what, instead)
    try:
        yield
    finally:
        for where, what, original in before:
            setattr(where, what, original)


def live_with(name: str, seed: int, weather: str = "") -> day.Outcome:
    """A day with the bug in the code; without a weather, the kind of day that brings it out."""
    with planted(name):
        return day.live(seed, weather or BUGS[name].weather)
