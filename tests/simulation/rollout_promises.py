"""What every rollout keeps, whatever happens: checked of each plan, each change of a record, and each table of routes.

`Watch` wraps a World. It asserts; its messages say what was promised and what there is.
"""

from collections import Counter

from rollout_world import KEY, MONITOR_S, ProxyModel, World
from rookery.model import (
    OPEN,
    Mode,
    NodeId,
    Replica,
    ReplicaId,
    ReplicaState,
    Rollout,
    RolloutState,
    Route,
    Service,
)
from rookery_manager.planners.actions import Action, Adopt, Create, Drain, Forget, Plan, SetRollout, Stop
from rookery_manager.planners.beside import keeps_both
from rookery_manager.planners.places import MOVE_AFTER_RESTARTS
from rookery_manager.planners.sharing import shares_of, strategy_of
from rookery_manager.planners.view import ServiceView, is_current
from rookery_manager.records import Record

EDGES = frozenset(
    {
        (RolloutState.ROLLING, RolloutState.DONE),
        (RolloutState.ROLLING, RolloutState.PAUSED),
        (RolloutState.ROLLING, RolloutState.ROLLING_BACK),
        (RolloutState.PAUSED, RolloutState.ROLLING),
        (RolloutState.PAUSED, RolloutState.ROLLING_BACK),
        (RolloutState.ROLLING_BACK, RolloutState.ROLLED_BACK),
        (RolloutState.ROLLING_BACK, RolloutState.PAUSED),
    }
)
"""The moves that a rollout's state may make. OVERTAKEN is in past records alone, and comes after any of OPEN."""


class Watch(World):
    """`disturbed` while something other than rollouts and drains took replicas away; what is promised then is only the end."""

    disturbed = True
    promised = 0
    tight = False  # no node has room for an old replica and its new one

    def __init__(self, seed: int, *, mode: Mode | None = None, eager: bool = False) -> None:
        super().__init__(seed, mode=mode, eager=eager)
        self.faults: list[str] = []  # found where nobody hears of an exception

    async def start_manager(self) -> None:
        await super().start_manager()
        self.state.listen(self.on_record)

    async def tick(self) -> None:
        await super().tick()
        assert not self.faults, self.faults
        self.check_routes()
        self.check_places()

    # ---- of each plan

    def on_plan(self, view: ServiceView, plan: Plan) -> None:
        made = [(a.slot or a.node_id, a.revision) for a in plan.actions if isinstance(a, Create)]
        assert len(made) == len(set(made)), f"two new replicas for one place in one plan: {made}"
        touched = [a.replica.id for a in plan.actions if isinstance(a, Drain | Stop)]
        assert len(touched) == len(set(touched)), "one replica is retired twice in one plan"
        self._check_pace(view, plan)
        for action in plan.actions:
            self._check_action(action)
            if isinstance(action, SetRollout):
                self._check_rollout(view, action.rollout)

    def _check_pace(self, view: ServiceView, plan: Plan) -> None:
        """A paused rollout begins no replacement; one that goes replica by replica starts no more than its parallelism at a
        time, has no more in hand than that before one is proven, and than twice that or a quarter of the service later."""
        rollout = view.service.rollout
        if rollout is None or self.disturbed or self.moved or keeps_both(view):
            return
        staying = [r for r in view.replicas if not r.ended and not r.leaving]
        old = {r.slot or r.node_id for r in staying if r.ready and not view.is_current(r)}
        new = {r.slot or r.node_id for r in staying if view.is_current(r)}
        ready = {r.slot or r.node_id for r in staying if view.is_current(r) and r.ready}
        settled = {r.slot or r.node_id for r in staying if view.is_current(r) and r.ready and r.ready_at + MONITOR_S <= self.now}
        begun = {a.slot or a.node_id for a in plan.actions if isinstance(a, Create)} & old - new
        if rollout.state is RolloutState.PAUSED:
            assert not begun, f"it is paused, and places {begun} begin a replacement"
        elif begun and self.parallelism:
            starting, doubled = len(begun | (new - ready)), len(begun | (new & old - settled))
            most = max(2 * self.parallelism, -(-len(old | new) // 4)) if settled else self.parallelism
            assert starting <= self.parallelism, f"{starting} places start a replacement, not {self.parallelism}"
            assert doubled <= most, f"{doubled} places are in the middle of a replacement, not {most}"

    def _check_action(self, action: Action) -> None:
        match action:
            case Drain(replica=replica) | Adopt(replica=replica):
                assert not replica.ended, f"{replica.name} has ended"
                assert isinstance(action, Adopt) or replica.state is ReplicaState.RUNNING, f"{replica.name} is {replica.state}"
            case Stop(replica=replica):
                assert not replica.ended, f"{replica.name} has ended"
                assert replica.state is not ReplicaState.STOPPING, f"{replica.name} stops already"
                if replica.state is ReplicaState.DRAINING:
                    self._check_stop(replica)
            case Forget(replica=replica):
                assert replica.ended, f"{replica.name} is forgotten while it is {replica.state}"

    def _check_stop(self, replica: Replica) -> None:
        if replica.drain_deadline_at <= self.now:
            return
        for proxy in self.proxies:
            assert replica.id not in _routed(proxy), f"{proxy.info.id} still sends requests to {replica.name}, which is stopped"
            assert not proxy.in_flight[replica.id], f"a request is in flight on {replica.name}, which is stopped"

    def _check_rollout(self, view: ServiceView, after: Rollout) -> None:
        before = view.service.rollout
        assert before is not None
        assert after.number == before.number
        if after.state is not RolloutState.ROLLING:
            return
        steps = shares_of(strategy_of(view.service, view.specs))
        assert after.share >= before.share, f"the share falls from {before.share} to {after.share}"
        assert after.share in (before.share, *steps), f"{after.share} % is none of the steps {steps}"
        if after.share > before.share:
            new = {r.slot or r.node_id for r in view.replicas if r.ready and view.is_current(r)}
            needed = -(-after.share * self.places() // 100)
            assert len(new) >= needed, f"{after.share} % begin with {len(new)} of {needed} new replicas"

    # ---- of each change of a record

    def on_record(self, record: Record, after: Record | None) -> None:
        if not isinstance(record, Service) or not isinstance(after, Service) or record is after:
            return
        old, new = record.rollout, after.rollout
        if new is None or new == old:
            return
        if old is not None and new.number == old.number:
            if new.state is not old.state and (old.state, new.state) not in EDGES:
                self.faults.append(f"a rollout goes from {old.state} to {new.state}")
        elif new.number != (old.number if old is not None else 0) + 1 or new.state is not RolloutState.ROLLING:
            self.faults.append(f"after {old} begins {new}")

    def check_past(self) -> None:
        """Each rollout but the latest has its record, and one that was not done is overtaken there."""
        latest = self.service.rollout
        past = self.state.rollouts.get(KEY, {})
        if latest is None:
            return
        assert sorted(n for n in past if n < latest.number) == list(range(1, latest.number)), (
            f"records of {sorted(past)} are there"
        )
        for number, rollout in past.items():
            if number < latest.number:
                assert rollout.state not in OPEN, f"number {number} is recorded as {rollout.state}"

    # ---- of the routes

    def check_routes(self) -> None:
        """As many serving endpoints as promised, in the manager's table and in what each proxy serves by."""
        wanted = self.places()
        tables = [list(proxy.held.values()) for proxy in self.proxies if proxy.version]
        self.plane.refresh()
        tables.append(list(self.plane.table().routes))
        for routes in tables:
            for route in routes:
                self._check_split(route)
        serving = [self._serving(route) for routes in tables for route in routes]
        least = min(map(len, serving), default=0)
        if not self.disturbed:
            assert least >= min(self.promised, wanted), (
                f"{least} replicas serve, {min(self.promised, wanted)} were promised\n{self.told()}"
            )
        # What will not last is no promise.
        lasting = [{p for p, r in found.items() if self.kind_of(r.revision) != "late"} for found in serving]
        if min(map(len, lasting), default=0) >= wanted and not self.silent:
            self.disturbed = False
            self.promised = wanted
        self.promised = min(self.promised, wanted)

    def _serving(self, route: Route) -> dict[int | NodeId, Replica]:
        """The places in which a replica answers the requests that are not apart for a canary."""
        apart = route.split.replica_ids if route.split else ()
        ids = [endpoint.replica_id for endpoint in route.endpoints if endpoint.replica_id not in apart]
        found = sorted((self.state.replicas[i] for i in ids if i in self.state.replicas), key=lambda r: -r.created_at)
        return {replica.slot or replica.node_id: replica for replica in found if self.serves(replica)}  # the oldest of each

    def _check_split(self, route: Route) -> None:
        service, split = self.service, route.split
        if split is None:
            return
        ids = {endpoint.replica_id for endpoint in route.endpoints}
        assert set(split.replica_ids) <= ids, "the split names replicas that the route does not have"
        assert 0 < split.share < 100
        assert split.replica_ids, "a share goes to nobody"
        specs = self.state.specs_in_use(service)
        for replica_id in split.replica_ids if route.id in {r.id for r in self.plane.table().routes if r.split == split} else ():
            replica = self.state.replicas[replica_id]
            assert is_current(service, specs, replica), f"the split names {replica.name} of revision {replica.revision}"

    # ---- of the places

    def check_places(self) -> None:
        alive = [r for r in self.state.replicas.values() if not r.ended and not r.leaving and r.restarts < MOVE_AFTER_RESTARTS]
        here = Counter((r.slot or r.node_id, r.node_id in self.silent) for r in alive)
        most = max(here.values(), default=0)
        rollout = self.service.rollout
        # Where the old revision fails, a new one is tried beside what still serves.
        calm = not self.disturbed and not self.moved and (rollout is None or self.kind_of(rollout.before) in ("good", "worse"))
        bound = 2 if calm else 4
        assert most <= bound, f"{most} replicas in one place\n{self.told()}"

    moved = False  # a node was drained or lost: replicas move

    # ---- at the end

    def is_rest(self) -> bool:
        """All rollouts over, or held with a reason, and nothing on its way."""
        service = self.service
        if service.rollout is not None and service.rollout.state in OPEN - {RolloutState.PAUSED}:
            return False
        alive = [r for r in self.state.replicas.values() if not r.ended]
        if service.rollout is not None and service.rollout.state is RolloutState.PAUSED:
            return not self.plan.actions and all(r.state is ReplicaState.RUNNING for r in alive)
        view = self.view()
        assert view is not None
        return all(view.is_current(r) and r.ready for r in alive) and len(alive) == self.places()

    def told(self) -> str:
        alive = sorted((r for r in self.state.replicas.values() if not r.ended), key=lambda r: (r.slot, r.node_id, r.created_at))
        lines = [f"{r.name} {self.kind_of(r.revision)} {r.revision} {r.state} {r.ready} {r.node_id}: {r.why}" for r in alive]
        return "\n".join(
            [f"{self.service.revision} x {self.service.replicas}: {self.service.rollout}", self.plan.waits_for, *lines]
        )


def _routed(proxy: ProxyModel) -> set[ReplicaId]:
    return {endpoint.replica_id for route in proxy.held.values() for endpoint in route.endpoints}
