"""Which replicas the requests go to while two revisions of a service are there side by side (blue-green, canary).

Invariant: a replica of the new revision gets a request only in the rollout's share, one of the old revision none once the share
is 100; but where one side has no ready replica, the other one serves: an answer goes before a share.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rookery.model import BlueGreen, Canary, Replica, Rollout, RolloutState, Service, ServiceSpec, Split, Strategy

from rookery_manager.planners.template import same_template
from rookery_manager.planners.view import is_current


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The replicas that a route has endpoints of, and how the requests are split among them."""

    replicas: tuple[Replica, ...]
    split: Split | None = None


def shares_of(strategy: Strategy) -> tuple[int, ...]:
    """The steps of a strategy, in percent of the requests; none where old replicas are replaced one by one."""
    match strategy:
        case BlueGreen():
            return (100,)
        case Canary():
            return strategy.steps
    return ()


def strategy_of(service: Service, specs: Mapping[int, ServiceSpec]) -> Strategy:
    """That of the latest rollout. New settings in its middle change its steps, but not whether it keeps two sides: where some old
    replicas have gone for new ones already, shares would take from what serves."""
    wanted = specs[service.revision].strategy
    began = specs.get(service.rollout.after) if service.rollout is not None else None
    if began is None or bool(shares_of(began.strategy)) == bool(shares_of(wanted)):
        return wanted
    return began.strategy


def is_shared(service: Service, specs: Mapping[int, ServiceSpec]) -> bool:
    """True while a rollout is on its way forward that keeps all old replicas until the new ones have taken over.

    A restart, and a return by hand, go replica by replica whatever the strategy; and where the new revision's replicas are those
    of the old one, as after an update that was taken back before it was done, there are no two sides.
    """
    rollout = service.rollout
    if rollout is None or not has_two_sides(service, specs) or not shares_of(strategy_of(service, specs)):
        return False
    return is_forward(rollout) and rollout.after > rollout.before


def is_forward(rollout: Rollout) -> bool:
    """True while it is on its way to its new revision, or paused on that way."""
    state = rollout.paused_in if rollout.state is RolloutState.PAUSED else rollout.state
    return state is RolloutState.ROLLING


def has_two_sides(service: Service, specs: Mapping[int, ServiceSpec]) -> bool:
    """True where the revision that the latest rollout came from is known, and asks for other containers than the wanted one."""
    before = specs.get(service.rollout.before) if service.rollout is not None else None
    return before is not None and not same_template(before, specs[service.revision])


def as_before(service: Service, rollout: Rollout) -> Service:
    """The service as it was wanted before the rollout: what its old replicas are of."""
    return dataclasses.replace(service, revision=rollout.before, rollout=None, restarted_at=0.0)


def served(service: Service, specs: Mapping[int, ServiceSpec], ready: Sequence[Replica]) -> Served:
    """Of the ready replicas of a service, those that get requests."""
    rollout = service.rollout
    if rollout is None or service.revision not in specs or len({r.revision for r in ready}) < 2:
        return Served(replicas=tuple(ready))
    if not is_shared(service, specs):
        return Served(replicas=_of_one_side(service, specs, ready, rollout) or tuple(ready))
    new = tuple(replica for replica in ready if is_current(service, specs, replica))
    old = _old_side(service, specs, ready, rollout)
    brought = tuple(replica for replica in new if replica not in old)
    if rollout.share <= 0 or not new:
        return Served(replicas=old or new or tuple(ready))
    if rollout.share >= 100 or not old:
        return Served(replicas=new)
    if not brought:
        return Served(replicas=old)
    strategy = strategy_of(service, specs)
    sticky_cookie, sticky_header = (strategy.sticky_cookie, strategy.sticky_header) if isinstance(strategy, Canary) else ("", "")
    replica_ids = tuple(sorted(replica.id for replica in brought))
    split = Split(share=rollout.share, replica_ids=replica_ids, sticky_cookie=sticky_cookie, sticky_header=sticky_header)
    return Served(replicas=(*old, *brought), split=split)


def _old_side(
    service: Service, specs: Mapping[int, ServiceSpec], ready: Sequence[Replica], rollout: Rollout
) -> tuple[Replica, ...]:
    """Those of the old revision. In places that have none: what was there before the rollout, left by one that was overtaken."""
    before = as_before(service, rollout)
    old = [replica for replica in ready if is_current(before, specs, replica)]
    taken = {replica.slot or replica.node_id for replica in old}
    left = [r for r in ready if r not in old and r.created_at < rollout.started_at and (r.slot or r.node_id) not in taken]
    return (*old, *left)


def _of_one_side(
    service: Service, specs: Mapping[int, ServiceSpec], ready: Sequence[Replica], rollout: Rollout
) -> tuple[Replica, ...]:
    """After two sides were kept: what is rolled out, or what is not of the revision that is left; else all."""
    tried = specs.get(rollout.after)
    if tried is None or not shares_of(tried.strategy) or rollout.after <= rollout.before or is_forward(rollout):
        return tuple(ready)
    if rollout.state is RolloutState.DONE:
        return tuple(replica for replica in ready if is_current(service, specs, replica))
    if same_template(tried, specs[service.revision]):
        return tuple(ready)
    return tuple(r for r in ready if r.revision not in specs or not same_template(specs[r.revision], tried))
