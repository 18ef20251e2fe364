"""What must hold at every step: one list, each with its name, what it means and the check. docs/simulation.md has the same list.

A check looks at one event and answers with what is wrong, or with nothing. Where a promise is made only to parts that can hear
each other, `Facts` knows since when they can.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rookery.model import (
    Desired,
    Node,
    NodeState,
    OnDisconnect,
    Replica,
    ReplicaId,
    ReplicaState,
    Route,
    RouteId,
    Service,
    ServiceKey,
    UpdateOrder,
    can_move,
)
from rookery_agent.assignments import Held
from rookery_manager.planners.assignments import marks
from rookery_manager.planners.stop import is_routed

from world.engine import Box, Engine
from world.proxy import Workers
from world.scaling import Scaled, never_flaps, shrinks_knowingly, within_bounds

if TYPE_CHECKING:
    from world.world import World

MOST_IN_A_PLACE = 5  # one, its replacement, a failing one, and what still stops
LEASE_S = 3.0
HEARD_AGAIN_S = 6.0  # after which agent and manager that reach each other have spoken: a lease, the longest back-off, a second
AGENTLESS_S = 30.0  # for so long after its agent was away a node may run what it would have stopped
FOLLOWED_AGAIN_S = 9.0  # the same of a proxy and the manager


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaChanged:
    before: Replica | None
    after: Replica | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeChanged:
    before: Node | None
    after: Node | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A container runs from now on."""

    engine: Engine
    box: Box


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedToStop:
    """An agent has its engine stop or remove a container that runs."""

    engine: Engine
    box: Box


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An agent goes by this set from now on."""

    node: str
    held: Held
    generation_before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """All workers of a proxy serve this table from now on."""

    proxy: str
    workers: Workers
    version_before: int


Event = Scaled | ReplicaChanged | NodeChanged | Started | AskedToStop | Kept | Applied


@dataclass(slots=True)
class Facts:
    """What the checks need to know of the past."""

    world: World
    well_since: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # by machine: it runs and its way is open
    died_at: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # when a node's agent last ended or began
    manager_changed_at: float = 0.0
    marks_at: dict[str, list[tuple[int, Mapping[ReplicaId, Any]]]] = field(default_factory=lambda: defaultdict(list))
    ready_at: dict[ReplicaId, list[tuple[int, bool]]] = field(default_factory=lambda: defaultdict(list))
    tables: dict[int, Mapping[RouteId, Route]] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    generations: dict[str, int] = field(default_factory=dict)
    grown_at: dict[ServiceKey, float] = field(default_factory=dict)  # by the autoscaler

    def well_for_s(self, name: str) -> float:
        """How long a machine's part and the manager's machine could have spoken to each other; 0: they can't."""
        network, now = self.world.network, self.world.loop.now
        part = self.world.hosts.get(name) or self.world.gates.get(name)
        if part is not None and part.process is None:
            return 0.0
        if network.is_cut(name, "m") or network.is_cut("m", name) or network.chaos or network.loss:
            return 0.0
        return now - max(self.well_since[name], self.well_since["m"])

    def manager_up_s(self) -> float:
        return self.world.loop.now - self.manager_changed_at if self.world.manager is not None else 0.0


# ---- the checks


def _legal_move(_facts: Facts, event: ReplicaChanged) -> str:
    before, after = event.before, event.after
    if before is None:
        return ""
    if after is None:
        return "" if before.ended else f"the record of {before.name}, which is {before.state}, was deleted"
    if before.state is not after.state and not can_move(before.state, after.state):
        return f"{after.name} went from {before.state} to {after.state}"
    if after.ready and after.state is not ReplicaState.RUNNING:
        return f"{after.name} is {after.state} and ready"
    return ""


def _few_in_a_place(facts: Facts, event: ReplicaChanged) -> str:
    after = event.after
    if after is None or event.before is not None:
        return ""
    siblings = facts.world.truth.replicas_of(after.key).values()
    there = [r for r in siblings if not r.ended and (r.slot == after.slot if after.slot else r.node_id == after.node_id)]
    return f"{len(there)} replicas in the place of {after.name}" if len(there) > MOST_IN_A_PLACE else ""


def _start_first(facts: Facts, event: ReplicaChanged) -> str:
    before, after = event.before, event.after
    if before is None or after is None or not before.ready or after.state not in (ReplicaState.DRAINING, ReplicaState.STOPPING):
        return ""
    state = facts.world.truth
    service = state.services.get(after.key)
    revision = state.revision_of(after.key, service.revision) if service is not None else None
    if service is None or revision is None or service.removing:
        return ""
    spec = revision.spec
    if UpdateOrder.STOP_FIRST in (spec.update.order, spec.rollback.order):
        return ""
    words = ("is replaced by", "is restarted", "is drained", "it failed", "has 0 of", "has 1 of", "has 2 of")
    if not any(word in after.why for word in words) or "no node has room" in after.why or "does not run on" in after.why:
        return ""
    siblings = state.replicas_of(after.key).values()
    others = [r for r in siblings if r.ready and (r.slot == after.slot if after.slot else r.node_id == after.node_id)]
    return "" if others else f"{after.name} was ready and goes ({after.why}), and no other one is ready in its place"


def _judged_fairly(facts: Facts, event: NodeChanged) -> str:
    before, after = event.before, event.after
    if before is None or after is None or before.state is not NodeState.READY or after.state is not NodeState.DOWN:
        return ""
    well_s = facts.well_for_s(after.name)
    if well_s < HEARD_AGAIN_S:
        return ""
    return f"{after.name} is judged down ({after.why}) although its agent has run and reached the manager for {well_s:.1f} s"


def _assigned(facts: Facts, event: Started) -> str:
    assignment, name = event.box.assignment, event.engine.machine.name
    replica = facts.world.truth.replicas.get(assignment.replica_id)
    if replica is not None and replica.node_id != f"id-{name}":
        return f"{name} runs {assignment.name}, which was given to {replica.node_name or 'nobody'}"
    return ""


def _runs_once(facts: Facts, event: Started) -> str:
    mine = event.box.assignment
    if mine.spec.on_disconnect is not OnDisconnect.STOP:
        return ""
    for host in facts.world.hosts.values():
        for box in host.engine.boxes.values():
            other = box.assignment
            if box is event.box or not box.runs or (other.app, other.service, other.slot) != (mine.app, mine.service, mine.slot):
                continue
            name = host.machine.name
            if host.process is None or host.engine.away or facts.world.loop.now - facts.died_at[name] < AGENTLESS_S:
                continue  # nobody was there to stop it: the promise is the agent's
            return f"{mine.name} runs on {event.engine.machine.name} while {other.name} still does on {name}"
    return ""


def _wanted_stays(facts: Facts, event: AskedToStop) -> str:
    assignment, name = event.box.assignment, event.engine.machine.name
    replica = facts.world.truth.replicas.get(assignment.replica_id)
    if replica is None or replica.ended or replica.state is ReplicaState.STOPPING or replica.node_id != f"id-{name}":
        return ""
    if event.box.healthy_at > facts.world.loop.now:
        return ""  # its health check failed, and was right
    silenced = facts.well_for_s(name) < HEARD_AGAIN_S or facts.manager_up_s() < HEARD_AGAIN_S
    if assignment.spec.on_disconnect is OnDisconnect.STOP and silenced:
        return ""
    return f"{name} stops {replica.name}, which is {replica.state} and to stay"


def _acknowledged(facts: Facts, event: AskedToStop) -> str:
    world = facts.world
    replica = world.truth.replicas.get(event.box.assignment.replica_id)
    if replica is None or replica.state is not ReplicaState.STOPPING or not is_routed(event.box.assignment.spec):
        return ""
    if 0.0 < replica.drain_deadline_at <= replica.changed_at:  # by the manager's own clock, which setting does not move
        return ""
    for name, gate in world.gates.items():
        if gate.proxy is None or facts.well_for_s(name) < FOLLOWED_AGAIN_S:
            continue
        if gate.proxy.serves(replica.id):
            return f"{replica.name} is stopped while proxy {name} still sends it requests"
        flying = gate.proxy.flying_on(replica.id)
        if flying:
            return f"{replica.name} is stopped with {flying} requests in flight at proxy {name}, before its drain timeout"
    return ""


def _generation_forward(_facts: Facts, event: Kept) -> str:
    if event.held.generation < event.generation_before:
        return f"{event.node} went from generation {event.generation_before} back to {event.held.generation}"
    return ""


def _generation_content(facts: Facts, event: Kept) -> str:
    """What a node holds at a generation is what the records said at that revision."""
    wanted: Mapping[ReplicaId, Any] = {}
    for revision, then in facts.marks_at[event.node]:
        if revision > event.held.generation:
            break
        wanted = then
    held = {
        a.replica_id: (a.revision, a.desired is Desired.STOP, a.desired is Desired.PREPARE)
        for a in event.held.assignments.values()
    }
    if held == wanted:
        return ""
    differing = [replica_id for replica_id in {**held, **wanted} if held.get(replica_id) != wanted.get(replica_id)]
    told = "; ".join(f"{replica_id[:8]} as {held.get(replica_id)} for {wanted.get(replica_id)}" for replica_id in differing)
    return f"{event.node} holds another set than generation {event.held.generation} is: {told}"


def _version_forward(_facts: Facts, event: Applied) -> str:
    version = event.workers.balance.table.version
    if version < event.version_before:
        return f"proxy {event.proxy} went from version {event.version_before} of the routes back to {version}"
    return ""


def _version_content(facts: Facts, event: Applied) -> str:
    table = event.workers.balance.table
    known = facts.tables.setdefault(table.version, dict(table.routes))
    if known == table.routes:
        return ""
    differing = [route_id for route_id in {**known, **table.routes} if known.get(route_id) != table.routes.get(route_id)]
    told = "; ".join(f"{known.get(route_id)} and {table.routes.get(route_id)}" for route_id in differing)
    return f"proxy {event.proxy} has another table under version {table.version} than was seen before: {told}"


def _routes_ready(facts: Facts, event: Applied) -> str:
    table = event.workers.balance.table
    for route in table.routes.values():
        for endpoint in route.endpoints:
            ready = False
            for revision, then in facts.ready_at[endpoint.replica_id]:
                if revision > table.version:
                    break
                ready = then
            if not ready:
                return (
                    f"version {table.version} of the routes sends requests to {endpoint.replica_id[:8]}, which was not ready then"
                )
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invariant:
    name: str
    meaning: str
    event: type[Any]
    check: Callable[[Facts, Any], str]


INVARIANTS: tuple[Invariant, ...] = (
    Invariant(
        name="legal-moves",
        meaning="A replica's state moves only as the table of moves allows; what ended stays so, and only that is forgotten.",
        event=ReplicaChanged,
        check=_legal_move,
    ),
    Invariant(
        name="few-in-a-place",
        meaning="A place of a service never has more than a handful of replicas, whatever fails over and over.",
        event=ReplicaChanged,
        check=_few_in_a_place,
    ),
    Invariant(
        name="start-first",
        meaning="With start-first order no update, drain or move takes a ready replica away before another is ready there.",
        event=ReplicaChanged,
        check=_start_first,
    ),
    Invariant(
        name="judged-fairly",
        meaning="No node is judged down whose agent ran and could reach the manager for longer than a lease and a reconnect.",
        event=NodeChanged,
        check=_judged_fairly,
    ),
    Invariant(
        name="assigned",
        meaning="A node runs only what it was given.",
        event=Started,
        check=_assigned,
    ),
    Invariant(
        name="runs-once",
        meaning="Of a service with `on_disconnect: stop` a place runs once at most, wherever agents are alive to see to it.",
        event=Started,
        check=_runs_once,
    ),
    Invariant(
        name="wanted-stays",
        meaning="No agent stops what the manager wants to stay, after a restart of either least of all.",
        event=AskedToStop,
        check=_wanted_stays,
    ),
    Invariant(
        name="acknowledged-stop",
        meaning="Nothing gets its stop signal while a proxy that can hear the manager sends it requests or has some in flight, "
        "but after the drain timeout.",
        event=AskedToStop,
        check=_acknowledged,
    ),
    Invariant(
        name="generation-forward",
        meaning="A node never goes back to an older set of assignments.",
        event=Kept,
        check=_generation_forward,
    ),
    Invariant(
        name="generation-content",
        meaning="What a node holds at a generation is exactly what the records said at that revision.",
        event=Kept,
        check=_generation_content,
    ),
    Invariant(
        name="version-forward",
        meaning="A proxy never goes back to an older route table.",
        event=Applied,
        check=_version_forward,
    ),
    Invariant(
        name="version-content",
        meaning="A version of the route table is one content, at every proxy and over restarts of the manager.",
        event=Applied,
        check=_version_content,
    ),
    Invariant(
        name="routes-ready",
        meaning="A route table names only replicas that were ready at its version: none that drains, stops or was lost.",
        event=Applied,
        check=_routes_ready,
    ),
    Invariant(
        name="within-bounds",
        meaning="The autoscaler never goes outside of the policy's min and max.",
        event=Scaled,
        check=within_bounds,
    ),
    Invariant(
        name="shrinks-knowingly",
        meaning="The autoscaler takes nothing away while a proxy that it knew a moment ago is out of its hearing.",
        event=Scaled,
        check=shrinks_knowingly,
    ),
    Invariant(
        name="never-flaps",
        meaning="The autoscaler takes nothing away within the down window after it grew, over restarts of the manager too.",
        event=Scaled,
        check=never_flaps,
    ),
)

ELSEWHERE: Mapping[str, str] = {
    "no-own-end": "No part ends by itself, nor reports an error (world.py).",
    "acknowledged-write": "What was acknowledged to an operator is in the store until another command changes it (operator.py).",
    "convergence": "When all is quiet, what is wanted is ready, nothing else runs, routes are exact, rollouts over (rest.py).",
    "peace": "Once it is so, nothing is started or stopped any more (rest.py).",
}
"""What is checked at other times than events."""


class Invariants:
    """Keeps the facts, and checks each event against all that is on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.facts = Facts(world)
        self._by_event: dict[type[Any], list[Invariant]] = defaultdict(list)
        for invariant in INVARIANTS:
            self._by_event[invariant.event].append(invariant)

    def _see(self, event: Event) -> None:
        for invariant in self._by_event[type(event)]:
            why = invariant.check(self.facts, event)
            if why:
                self._world.fail(f"{invariant.name}: {why}")

    # ---- what the world tells

    def way_changed(self, source: str, target: str) -> None:
        for name in (source, target):
            self.facts.well_since[name] = self._world.loop.now

    def manager_changed(self) -> None:
        self.facts.manager_changed_at = self._world.loop.now
        if not self._world.manager_machine.is_on:
            self.facts.well_since["m"] = self._world.loop.now

    def agent_changed(self, name: str) -> None:
        self.facts.well_since[name] = self.facts.died_at[name] = self._world.loop.now

    def proxy_changed(self, name: str) -> None:
        self.facts.well_since[name] = self._world.loop.now
        self.facts.versions.pop(name, None)

    def all_ways_changed(self) -> None:
        self.facts.well_since["m"] = self._world.loop.now

    def committed(self, before: Mapping[str, object]) -> None:
        state = self._world.truth
        touched: dict[str, None] = {}
        for key, old in before.items():
            new = self._world.record(key)
            match old, new:
                case (Replica(), _) | (_, Replica()):
                    for replica in (old, new):
                        if isinstance(replica, Replica) and replica.node_id:
                            touched[replica.node_id] = None
                    if isinstance(new, Replica) and (not isinstance(old, Replica) or old.ready is not new.ready):
                        self.facts.ready_at[new.id].append((state.revision, new.ready))
        for node_id in touched:
            self.facts.marks_at[node_id.removeprefix("id-")].append(
                (state.revision, marks(state.replicas_on(node_id).values()))  # type: ignore[arg-type]
            )
        for key, old in before.items():
            new = self._world.record(key)
            match old, new:
                case (Replica() | None, Replica() | None) if old is not None or new is not None:
                    self._see(ReplicaChanged(before=old, after=new))
                case (Service(), Service()) if new.scaled != old.scaled and new.scaled is not None:
                    revision = state.revision_of(new.key, new.revision)
                    policy = new.autoscale(revision.spec) if revision is not None else None
                    if policy is not None:
                        self._world.count("scalings up" if new.replicas > old.replicas else "scalings down")
                        self._see(Scaled(before=old, after=new, policy=policy))
                case (Node() | None, Node() | None) if old is not None or new is not None:
                    self._see(NodeChanged(before=old, after=new))

    def container_started(self, engine: Engine, box: Box) -> None:
        self._see(Started(engine=engine, box=box))

    def asked_to_stop(self, engine: Engine, box: Box) -> None:
        self._see(AskedToStop(engine=engine, box=box))

    def kept(self, node: str, held: Held) -> None:
        before = self.facts.generations.get(node, 0)
        self.facts.generations[node] = held.generation
        self._see(Kept(node=node, held=held, generation_before=before))

    def applied(self, proxy: str, workers: Workers) -> None:
        version = workers.balance.table.version
        before = self.facts.versions.get(proxy, 0)
        self.facts.versions[proxy] = version
        self._see(Applied(proxy=proxy, workers=workers, version_before=before))
