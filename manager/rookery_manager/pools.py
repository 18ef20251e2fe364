"""The loop of the node pools: plans each when something changed, and asks the providers for what the records say.

Invariant: a provider is asked only for what is recorded, by at most one call a node, and first for its list, whenever this
manager does not know what an earlier call (its own, or of a manager before it) has done.
"""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Protocol

from rookery.model import (
    POOL_LABEL,
    MemberState,
    Node,
    NodeId,
    Pool,
    PoolMember,
    Replica,
    ReplicaState,
    ReplicatedJob,
    VolumeMount,
)

from rookery_manager import scheduler
from rookery_manager.actor import Actor
from rookery_manager.clock import Clock
from rookery_manager.loops import DirtyKeys
from rookery_manager.planners import pool_calls
from rookery_manager.planners.actions import Action, earliest
from rookery_manager.planners.pool import COMING, is_coming, plan_pool
from rookery_manager.planners.pool_calls import LIST_EVERY_S, Listed
from rookery_manager.planners.pool_room import Load, PoolView, imagined
from rookery_manager.providers.contract import Failed
from rookery_manager.records import Record
from rookery_manager.scheduler import Request
from rookery_manager.state import State
from rookery_manager.views import NodeViews

log = logging.getLogger("rookery.pools")

SETTLE_S = 0.5  # after a change, so that many changes are looked at once
CALLS_AT_ONCE = 8  # of a pool


class Provider(Protocol):
    async def create(self, pool: Pool, member: PoolMember) -> str: ...
    async def delete(self, pool: Pool, member: PoolMember) -> None: ...
    async def list(self, pool: Pool) -> tuple[Listed, ...]: ...


class Pools:
    def __init__(self, state: State, actor: Actor, clock: Clock, views: NodeViews, provider: Provider) -> None:
        self._state = state
        self._actor = actor
        self._clock = clock
        self._views = views
        self._provider = provider
        self._calls: dict[tuple[str, str], asyncio.Task[None]] = {}  # by pool and node; the list's has no node
        self._listed_at: dict[str, float] = {}
        self._waiting = {r.id for r in state.replicas.values() if r.state is ReplicaState.PENDING}
        self.keys: DirtyKeys[str] = DirtyKeys(clock)
        for name in state.pools:
            self.keys.mark(name)
        state.listen(self._on_record)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                name = await self.keys.take()
                try:
                    again_at = await self._step(name, group)
                finally:
                    self.keys.done(name)
                if again_at is not None:
                    self.keys.mark_at(name, again_at)

    async def _step(self, name: str, group: asyncio.TaskGroup) -> float | None:
        pool = self._state.pools.get(name)
        if pool is None:
            self._listed_at.pop(name, None)
            return None
        now = self._clock()
        plan = plan_pool(self._view(pool), now)
        if not await self._actor.act(plan.actions, read=[pool]):
            self.keys.mark(name)
            return None
        pool = self._state.pools.get(name)
        return earliest(plan.wake_at, self._ask(pool, now, group)) if pool is not None else None

    def _ask(self, pool: Pool, now: float, group: asyncio.TaskGroup) -> float | None:
        """Begins the calls that are due; when to look again."""
        busy = {node for name, node in self._calls if name == pool.name}
        if "" in busy:
            return None  # its end marks the pool
        due = [m for m in pool.members if m in pool_calls.due(pool, now) and m.name not in busy]
        held_off = pool.failures > 0 and now < pool.retry_at
        known_at = self._listed_at.get(pool.name)
        unsure = known_at is None and any(m.state is MemberState.CREATING for m in due)
        if not busy and not held_off and (unsure or now >= (known_at or 0.0) + LIST_EVERY_S):
            self._begin(group, pool.name, "", self._list(pool))
            return None
        for member in due[: max(0, CALLS_AT_ONCE - len(busy))]:
            if member.state is MemberState.DELETING:
                self._begin(group, pool.name, member.name, self._delete(pool, member))
            elif not unsure:
                self._begin(group, pool.name, member.name, self._create(pool, member))
        next_list_at = max((known_at or now) + LIST_EVERY_S, pool.retry_at)
        return earliest(pool_calls.next_due_at(pool, now), next_list_at if next_list_at > now else None)

    def _begin(self, group: asyncio.TaskGroup, pool: str, node: str, call: Coroutine[None, None, None]) -> None:
        task = group.create_task(call, name=f"pool {pool} {node}")
        self._calls[pool, node] = task

        def ended(_: asyncio.Task[None]) -> None:
            self._calls.pop((pool, node), None)
            self.keys.mark(pool)

        task.add_done_callback(ended)

    # ---- calls

    async def _create(self, pool: Pool, member: PoolMember) -> None:
        try:
            provider_id = await self._provider.create(pool, member)
        except Failed as error:
            why = str(error)
            self._listed_at.pop(pool.name, None)  # who knows what it did
            await self._record(pool.name, lambda p: pool_calls.create_failed(p, member.name, why, self._clock()))
        else:
            await self._record(pool.name, lambda p: pool_calls.created(p, member.name, provider_id, self._clock()))

    async def _delete(self, pool: Pool, member: PoolMember) -> None:
        try:
            await self._provider.delete(pool, member)
        except Failed as error:
            why = str(error)
            await self._record(pool.name, lambda p: pool_calls.delete_failed(p, member.name, why, self._clock()))
        else:
            await self._record(pool.name, lambda p: pool_calls.deleted(self._view(p), member.name, self._clock()))

    async def _list(self, pool: Pool) -> None:
        try:
            found = await self._provider.list(pool)
        except Failed as error:
            why = str(error)
            await self._record(pool.name, lambda p: pool_calls.list_failed(p, why, self._clock()))
        else:
            await self._record(pool.name, lambda p: pool_calls.listed(p, found, self._clock()))
            self._listed_at[pool.name] = self._clock()

    async def _record(self, name: str, plan: "_Plan") -> None:
        """Writes down what a call came to, planned anew for as long as others change the same."""
        while (pool := self._state.pools.get(name)) is not None:
            if await self._actor.act(plan(pool), read=[pool]):
                return

    # ---- what a plan sees

    def _view(self, pool: Pool) -> PoolView:
        nodes = self._views.all()
        mine = [node_id for node_id, v in nodes.items() if v.node.info.labels.get(POOL_LABEL) == pool.name]
        others = [p for p in self._state.pools.values() if p.name != pool.name and is_coming(p)]
        coming = tuple(imagined(p, m.name) for p in others for m in p.members if m.state in COMING)
        return PoolView(
            pool=pool,
            nodes=nodes,
            loads={node_id: self._load(node_id) for node_id in mine},
            pending=tuple(self._pending()),
            coming=coming,
        )

    def _pending(self) -> list[Request]:
        """Replicas that no node took, in the order in which they would be placed."""
        waiting = [r for id_ in self._waiting if (r := self._state.replicas[id_]).why.startswith(scheduler.NO_NODE)]
        found = (self._request(r) for r in sorted(waiting, key=lambda r: (r.created_at, r.id)))
        return [request for request in found if request is not None]

    def _load(self, node_id: NodeId) -> Load:
        alive = [r for r in self._state.replicas_on(node_id).values() if not r.ended]
        residents = [(r, request) for r in alive if not r.leaving and (request := self._request(r)) is not None]
        staying = next((why for r, request in residents if (why := _holds(r, request))), "")
        return Load(residents=tuple(request for _, request in residents), staying=staying, left=len(alive))

    def _request(self, replica: Replica) -> Request | None:
        """What it asks of a node; None for one that runs on every node, which no other node has to take."""
        revision = self._state.revision_of(replica.key, replica.revision)
        if revision is None or not replica.slot:
            return None
        return Request(replica_id=replica.id, key=replica.key, slot=replica.slot, spec=revision.spec)

    def _on_record(self, record: Record, after: Record | None) -> None:
        match record:
            case Pool():
                self.keys.mark(record.name)
            case Replica():
                if isinstance(after, Replica) and after.state is ReplicaState.PENDING:
                    self._waiting.add(after.id)
                else:
                    self._waiting.discard(record.id)
                if record is not after and _bearing(record) == _bearing(after):
                    return
            case Node():
                pass
            case _:
                return
        at = self._clock() + SETTLE_S
        for name in self._state.pools:
            self.keys.mark_at(name, at)


class _Plan(Protocol):
    def __call__(self, pool: Pool, /) -> Sequence[Action]: ...


def _bearing(replica: Record | None) -> tuple[object, ...] | None:
    """What of a replica a pool depends on: not whether it is ready, nor how far its start has come; nothing once it ended."""
    if not isinstance(replica, Replica) or replica.ended:
        return None
    waits = replica.state is ReplicaState.PENDING and replica.why.startswith(scheduler.NO_NODE)
    return replica.node_id, replica.revision, waits, replica.leaving, replica.desired


def _holds(replica: Replica, request: Request) -> str:
    """Why a replica must not be moved for the sake of a smaller pool."""
    spec = request.spec
    if any(isinstance(mount, VolumeMount) and mount.volume for mount in spec.container.mounts):
        return f"{replica.name} has data on it"
    if isinstance(spec.mode, ReplicatedJob):
        return f"{replica.name} is a job that runs on it"
    return ""
