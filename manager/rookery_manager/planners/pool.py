"""How many nodes a pool wants, and why: it grows at once, shrinks one node at a time, and never leaves min to max.

Invariant: what a plan wants of the provider is a member's state, which is recorded before the provider is asked for it; so a
manager that ends in between finds in the records what to go on with.
"""

from dataclasses import replace

from rookery.model import POOL_LABEL, Availability, MemberState, Node, NodeState, Pool, PoolMember

from rookery_manager.planners.actions import Action, ForgetPool, Plan, SetAvailability, SetPool, earliest
from rookery_manager.planners.pool_calls import failed
from rookery_manager.planners.pool_room import Load, Need, PoolView, imagined, need, removable

DRAIN_TIMEOUT_S = 600.0
"""A drain that takes longer is taken back: some replica can't leave."""

MOST_TRIED = 5
"""Of so many nodes it is asked whether they could be spared, those with the least on them: each costs a look at the cluster."""

MOST_REGRETS = 6
"""Each drain that was taken back doubles the time until the next one, up to 64 times."""

COMING = frozenset({MemberState.CREATING, MemberState.JOINING})
COUNTED = COMING | {MemberState.JOINED}


def plan_pool(view: PoolView, now: float) -> Plan:
    """The pool's next record, and what becomes of its nodes; it is planned anew when anything in the cluster changes."""
    return _Planning(view, now).plan()


def nodes_of(view: PoolView, member: PoolMember) -> list[Node]:
    """The nodes of the member's name; more than one where a machine was replaced by one of another id."""
    return [
        v.node for v in view.nodes.values() if v.node.name == member.name and v.node.info.labels.get(POOL_LABEL) == view.pool.name
    ]


class _Planning:
    """One plan in the making."""

    def __init__(self, view: PoolView, now: float) -> None:
        self._view = view
        self._now = now
        self._pool = view.pool
        self._members = {m.name: m for m in view.pool.members}
        self._nodes = {m.name: next(iter(sorted(nodes_of(view, m), key=_best)), None) for m in view.pool.members}
        self._actions: list[Action] = []
        self._wake: list[float] = []
        self._whys: list[str] = []

    def plan(self) -> Plan:
        for member in self._view.pool.members:
            self._live(member)
        if self._pool.removing:
            self._remove_all()
        else:
            self._count()
        after = replace(self._pool, members=tuple(self._members.values()))
        if after.removing and not after.members:
            return Plan(actions=(ForgetPool(pool=self._view.pool, why="it was removed, and has no node left"),))
        why = "; ".join(self._whys)
        if after != self._view.pool:
            said = {"why": why, "changed_at": self._now} if why else {}
            self._actions.insert(0, SetPool(pool=replace(after, **said), why=why))  # type: ignore[arg-type]
        return Plan(actions=tuple(self._actions), wake_at=earliest(*self._wake))

    # ---- the life of a member

    def _live(self, member: PoolMember) -> None:
        node = self._nodes[member.name]
        match member.state:
            case MemberState.JOINING:
                self._join(member, node)
            case MemberState.JOINED:
                self._stay(member, node)
            case MemberState.DRAINING:
                self._empty(member, node)
            case MemberState.CREATING | MemberState.DELETING:
                return  # the provider's answer moves it on

    def _join(self, member: PoolMember, node: Node | None) -> None:
        timeout_s = self._pool.spec.join_timeout_s
        if node is not None and node.state is NodeState.READY:
            self._pool = replace(self._pool, failures=0, retry_at=0.0, trouble="", seen=node.info)
            self._set(member, MemberState.JOINED, "joined the cluster")
        elif self._now >= member.changed_at + timeout_s:
            why = f"{member.name} did not join within {timeout_s:g} s"
            self._pool = failed(self._pool, why, self._now)
            self._set(member, MemberState.DELETING, why)
            self._whys.append(f"gives {member.name} up: it did not join within {timeout_s:g} s")
        else:
            self._wake.append(member.changed_at + timeout_s)

    def _stay(self, member: PoolMember, node: Node | None) -> None:
        if node is None:
            self._give_up(member, "its node was removed from the cluster")
        elif node.state is not NodeState.READY:
            until = node.changed_at + self._pool.spec.join_timeout_s
            if self._now >= until:
                self._give_up(member, f"its node is {node.state} for {self._now - node.changed_at:.0f} s")
            else:
                self._wake.append(until)

    def _give_up(self, member: PoolMember, why: str) -> None:
        self._set(member, MemberState.DELETING, why)
        self._whys.append(f"removes {member.name}: {why}")

    def _empty(self, member: PoolMember, node: Node | None) -> None:
        """A drain ends with an empty node, with a node that is gone, or is taken back."""
        if node is None or node.state is not NodeState.READY or not self._load(node).left:
            self._set(member, MemberState.DELETING, "it is empty")
            self._pool = replace(self._pool, regrets=0)
        elif node.availability is Availability.ACTIVE:
            self._set(member, MemberState.JOINED, "it was made active again")
        elif self._now >= member.changed_at + DRAIN_TIMEOUT_S and not self._pool.removing:
            self._take_back(member, node, f"it was not empty after {DRAIN_TIMEOUT_S:g} s")
        else:
            self._wake.append(member.changed_at + DRAIN_TIMEOUT_S)

    def _take_back(self, member: PoolMember, node: Node, why: str) -> None:
        self._set(member, MemberState.JOINED, why)
        self._pool = replace(self._pool, regrets=self._pool.regrets + 1, superfluous_since=0.0)
        self._actions.append(SetAvailability(node=node, availability=Availability.ACTIVE, why=f"stays after all: {why}"))
        self._whys.append(f"keeps {member.name} after all: {why}")

    def _drain(self, member: PoolMember, node: Node, why: str) -> None:
        self._set(member, MemberState.DRAINING, why)
        self._actions.append(
            SetAvailability(node=node, availability=Availability.DRAINED, why=f"pool {self._pool.name} empties it: {why}")
        )

    def _set(self, member: PoolMember, state: MemberState, why: str) -> None:
        self._members[member.name] = replace(member, state=state, why=why, changed_at=self._now, attempts=0, retry_at=0.0)

    def _in(self, *states: MemberState) -> list[PoolMember]:
        return [m for m in self._members.values() if m.state in states]

    # ---- how many

    def _remove_all(self) -> None:
        for member in self._in(*COUNTED):
            node = self._nodes[member.name]
            if member.state is MemberState.JOINED and node is not None and node.state is NodeState.READY:
                self._drain(member, node, "the pool is removed")
            else:
                self._set(member, MemberState.DELETING, "the pool is removed")

    def _count(self) -> None:
        spec = self._pool.spec
        counted = len(self._in(*COUNTED))
        lacks = need(self._view, [imagined(self._pool, m.name) for m in self._in(*COMING)])
        lacks = self._reuse(lacks)
        counted = len(self._in(*COUNTED))
        wanted = max(spec.min, min(spec.max, counted + lacks.nodes))
        if wanted > counted:
            self._grow(counted, wanted, lacks)
        elif counted > spec.max:
            self._shrink(counted, f"max is {spec.max}", forced=True)
        elif lacks.nodes:
            self._pool = replace(self._pool, superfluous_since=0.0)
            self._remark(f"stays at {counted}, which is its max, while replicas wait for room or for a spare")
        elif not self._cancel(counted):
            self._spare_a_node(counted)

    def _reuse(self, lacks: Need) -> Need:
        """A node that is being emptied is the quickest new one."""
        for member in self._in(MemberState.DRAINING):
            node = self._nodes[member.name]
            if lacks.nodes and node is not None and len(self._in(*COUNTED)) < self._pool.spec.max:
                self._take_back(member, node, lacks.why)
                lacks = replace(lacks, nodes=lacks.nodes - 1)
        return lacks

    def _grow(self, counted: int, wanted: int, lacks: Need) -> None:
        if self._now < self._pool.retry_at:
            self._wake.append(self._pool.retry_at)
            return
        taken = {v.node.name for v in self._view.nodes.values()}
        made = self._pool.made
        for _ in range(wanted - counted):
            made += 1
            while f"{self._pool.name}-{made}" in taken:
                made += 1
            name = f"{self._pool.name}-{made}"
            self._members[name] = PoolMember(name=name, created_at=self._now, changed_at=self._now, why="wanted")
        self._pool = replace(self._pool, made=made, superfluous_since=0.0)
        why = lacks.why or f"min is {self._pool.spec.min}"
        self._whys.append(f"{counted} -> {wanted}: {why}")

    def _cancel(self, counted: int) -> bool:
        """Nodes that the provider failed to make, and that nobody waits for any more, are not tried again."""
        creating = self._in(MemberState.CREATING) if self._pool.failures else []
        if not creating:
            return False
        without = need(self._view, [imagined(self._pool, m.name) for m in self._in(MemberState.JOINING)])
        excess = min(len(creating) - without.nodes, counted - self._pool.spec.min)
        for member in creating[: max(0, excess)]:
            self._set(member, MemberState.DELETING, "it is no longer needed")
        if excess > 0:
            self._whys.append(f"{counted} -> {counted - excess}: no replica waits for room any more")
        return excess > 0

    def _spare_a_node(self, counted: int) -> None:
        """Drains a node once one could have been spared for long enough; the next one follows when that is gone."""
        if self._in(MemberState.DRAINING, MemberState.DELETING, *COMING):
            return
        pool = self._pool
        found = self._superfluous() if counted > pool.spec.min else None
        if found is None:
            if pool.superfluous_since:
                self._pool = replace(pool, superfluous_since=0.0)
            return
        since = pool.superfluous_since or self._now
        self._pool = replace(pool, superfluous_since=since)
        due = since + pool.spec.shrink_after_s * 2 ** min(pool.regrets, MOST_REGRETS)
        if self._now < due:
            self._wake.append(due)
            return
        self._shrink(counted, f"its replicas fit elsewhere, for {self._now - since:.0f} s now", forced=False)

    def _shrink(self, counted: int, why: str, *, forced: bool) -> None:
        coming = self._in(MemberState.CREATING) if forced else []
        member = coming[0] if coming else self._superfluous() or (self._emptiest() if forced else None)
        if member is None or self._in(MemberState.DRAINING):
            return
        node = self._nodes[member.name]
        if node is None or member.state is not MemberState.JOINED:
            self._set(member, MemberState.DELETING, why)
        else:
            self._drain(member, node, why)
        self._whys.append(f"{counted} -> {counted - 1}: {member.name} is removed: {why}")

    def _superfluous(self) -> PoolMember | None:
        """The node with the least on it of those that the rest of the cluster could do without."""
        free = [(m, n) for m in self._by_load() if (n := self._nodes[m.name]) and not self._load(n).staying]
        return next((member for member, node in free[:MOST_TRIED] if removable(self._view, node.id)), None)

    def _load(self, node: Node) -> Load:
        return self._view.loads.get(node.id, Load())

    def _emptiest(self) -> PoolMember | None:
        return next(iter([*self._by_load(), *self._in(MemberState.JOINING)]), None)

    def _by_load(self) -> list[PoolMember]:
        def load(member: PoolMember) -> tuple[int, float, str]:
            node = self._nodes[member.name]
            return (self._load(node).left if node else 0, -member.created_at, member.name)

        ready = [m for m in self._in(MemberState.JOINED) if (n := self._nodes[m.name]) and n.state is NodeState.READY]
        return sorted(ready, key=load)

    def _remark(self, why: str) -> None:
        if self._pool.why != why:
            self._whys.append(why)


def _best(node: Node) -> tuple[bool, float, str]:
    return node.state is not NodeState.READY, -node.changed_at, node.id


def is_coming(pool: Pool) -> bool:
    """True where the nodes that the pool is making may be relied on."""
    return not pool.failures and not pool.removing
