"""A cluster around the planner of a pool, without a manager: nodes that join after a while, replicas that the scheduler places.

Each `turn` is what the manager does when it looks once: replicas of drained nodes move, pending ones are placed, the pool is
planned, the provider does what it is asked.
"""

from dataclasses import replace

from rookery.model import (
    POOL_LABEL,
    Availability,
    ContainerSpec,
    MemberState,
    Node,
    NodeId,
    NodeInfo,
    Pool,
    PoolSpec,
    ReplicaId,
    Resources,
    RuntimeKind,
    ServiceKey,
    ServiceSpec,
)
from rookery_manager.planners import pool_calls
from rookery_manager.planners.actions import Action, ForgetNode, ForgetPool, SetAvailability, SetPool
from rookery_manager.planners.pool import COUNTED, plan_pool
from rookery_manager.planners.pool_room import Load, PoolView
from rookery_manager.scheduler import NodeView, Placed, Request, charge, place

JOIN_S = 20.0
STEP_S = 5.0


class PoolWorld:
    """Nodes have `cpus` each; `whys` are the pool's events so far, `drained` the nodes that were ever emptied."""

    def __init__(self, spec: PoolSpec, *, cpus: float = 4.0) -> None:
        self.pool: Pool | None = Pool(name="small", spec=spec)
        self.now = 1_000.0
        self.nodes: dict[NodeId, Node] = {}
        self.at: dict[ReplicaId, NodeId | None] = {}
        self.requests: dict[ReplicaId, Request] = {}
        self.whys: list[str] = []
        self.drained: list[str] = []
        self._cpus = cpus
        self._number = 0

    def run(self, *cpus: float) -> None:
        for each in cpus:
            self._number += 1
            id_ = ReplicaId(f"r{self._number}")
            spec = ServiceSpec(name="web", container=ContainerSpec(image="i"), reservations=Resources(cpus=each))
            self.requests[id_] = Request(replica_id=id_, key=ServiceKey(f"shop/s{each}"), slot=self._number, spec=spec)
            self.at[id_] = None

    def end(self, count: int) -> None:
        for id_ in list(self.at)[:count]:
            del self.at[id_], self.requests[id_]

    def view(self) -> PoolView:
        assert self.pool is not None
        views = self._views()
        loads = {
            n: Load(residents=tuple(self.requests[r] for r, at in self.at.items() if at == n), left=self._left(n)) for n in views
        }
        pending = tuple(self.requests[r] for r, at in self.at.items() if at is None)
        return PoolView(pool=self.pool, nodes=views, loads=loads, pending=pending)

    def turn(self) -> None:
        self._place()
        self.act(plan_pool(self.view(), self.now).actions)
        if self.pool is not None:
            self._provide()
        self.now += STEP_S

    def turns(self, count: int) -> None:
        """So many turns, or fewer where the pool is gone."""
        for _ in range(count):
            if self.pool is not None:
                self.turn()

    @property
    def counted(self) -> int:
        """Nodes that there are or will be, and that are not on their way out."""
        return sum(1 for m in self.pool.members if m.state in COUNTED) if self.pool is not None else 0

    @property
    def pending(self) -> int:
        return sum(1 for at in self.at.values() if at is None)

    def act(self, actions: tuple[Action, ...] | list[Action]) -> None:
        for action in actions:
            match action:
                case SetPool():
                    self.pool = action.pool
                    self.whys += [action.why] if action.why else []
                case ForgetPool():
                    self.pool = None
                case SetAvailability():
                    self.nodes[action.node.id] = replace(action.node, availability=action.availability)
                    if action.availability is Availability.DRAINED:
                        self.drained.append(action.node.name)
                case ForgetNode():
                    del self.nodes[action.node.id]
                case _:
                    raise AssertionError(action)

    def _views(self, without: ReplicaId | None = None) -> dict[NodeId, NodeView]:
        views = {node_id: NodeView(node=node) for node_id, node in self.nodes.items()}
        for id_, at in self.at.items():
            if at is not None and id_ != without:
                views[at] = charge(views[at], self.requests[id_])
        return views

    def _left(self, node_id: NodeId) -> int:
        return sum(1 for at in self.at.values() if at == node_id)

    def _place(self) -> None:
        for id_, at in self.at.items():
            moves = at is not None and self.nodes[at].availability is Availability.DRAINED
            if at is None or moves:
                (answer,) = place([self.requests[id_]], self._views(without=id_))
                self.at[id_] = answer.node_id if isinstance(answer, Placed) else at

    def _provide(self) -> None:
        assert self.pool is not None
        for member in pool_calls.due(self.pool, self.now):
            assert self.pool is not None
            if member.state is MemberState.CREATING:
                self.act(pool_calls.created(self.pool, member.name, f"i-{member.name}", self.now))
            else:
                self.act(pool_calls.deleted(self.view(), member.name, self.now))
        for member in self.pool.members:
            if member.state is MemberState.JOINING and self.now >= member.changed_at + JOIN_S:
                self.join(member.name)

    def join(self, name: str) -> None:
        info = NodeInfo(
            hostname=name,
            arch="amd64",
            capacity=Resources(cpus=self._cpus),
            runtimes=(RuntimeKind.DOCKER,),
            labels={POOL_LABEL: "small"},
        )
        self.nodes.setdefault(NodeId(name), Node(id=NodeId(name), info=info, joined_at=self.now, changed_at=self.now))
