"""Does what the planners decided: actions become writes of one commit. It decides nothing.

A commit holds the condition that every record it was planned from is unchanged; where one is not, nothing is written and the
key is planned anew.
"""

import asyncio
import logging
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from rookery.model import Desired, Node, Replica, ReplicaId, ReplicaState, can_move

from rookery_manager import records
from rookery_manager.clock import Clock
from rookery_manager.planners.actions import (
    Action,
    Adopt,
    Assign,
    Create,
    Drain,
    Forget,
    ForgetService,
    Lose,
    Move,
    Observe,
    Refuse,
    SetNode,
    SetRollout,
    Stop,
)
from rookery_manager.planners.observe import observed
from rookery_manager.records import Record
from rookery_manager.state import State
from rookery_manager.store import Commit, Condition, Conflict, Delete, Store, StoreError, Write

log = logging.getLogger("rookery.manager")

ACTOR = "manager"
MOST_WRITES = 2_000  # a commit of more is split: it would hold up all others
RETRY_S = 1.0  # between attempts to write to a store that can't
FAILING_S = 5.0  # so long after a failed write the manager takes itself, not the nodes, for what is wrong


class Actor:
    def __init__(self, store: Store, state: State, clock: Clock) -> None:
        self._store = store
        self._state = state
        self._clock = clock
        self._failed_at = float("-inf")

    @property
    def failing(self) -> bool:
        """True while the store can't write (a full disk, say): what agents tell can't be kept, so no node is judged."""
        return self._clock() - self._failed_at < FAILING_S

    async def act(self, actions: Sequence[Action], *, read: Iterable[Record] = ()) -> bool:
        """Commits the actions; False where they were not: plan anew.

        Either something they were planned from had changed, and the state knows it now, or the store can't write; then this
        returns after a while. `read` are records that the plan relies on besides those that it changes.
        """
        if not actions:
            return True
        now = self._clock()
        relied_on = {c.key: c for c in self._state.conditions(read)}
        commits = []
        for start in range(0, len(actions), MOST_WRITES):
            draft = _Draft(conditions=dict(relied_on))
            for action in actions[start : start + MOST_WRITES]:
                self._write(action, now, draft)
            commits.append(draft)
        for draft in commits:
            if not draft.writes:
                continue
            await self._add_file_deletes(draft)
            try:
                revision = await self._store.commit(
                    Commit(writes=tuple(draft.writes.values()), conditions=tuple(draft.conditions.values()), actor=ACTOR, at=now)
                )
            except Conflict as conflict:
                log.debug("planned anew: %s", conflict)
                await self._catch_up(conflict)
                return False
            except StoreError as error:
                if not self.failing:
                    log.error("nothing can be recorded: %s", error)
                self._failed_at = self._clock()
                await asyncio.sleep(RETRY_S)
                return False
            for line in draft.told:
                log.info("%s", line)
            await self._state.reach(revision)
        return True

    async def _catch_up(self, conflict: Conflict) -> None:
        """Returns when the state holds the change that was in the way."""
        if conflict.actual:
            await self._state.reach(conflict.actual)
        else:  # it was deleted, at a revision that only the store knows
            await self._state.reach((await self._store.snapshot(conflict.key)).revision)

    def _write(self, action: Action, now: float, draft: "_Draft") -> None:
        writes, told = draft.writes, draft.told

        def put(record: Record, why: str) -> None:
            key = records.key_of(record)
            draft.conditions.setdefault(key, self._state.condition(key))
            writes[key] = records.put(record, why)

        def move(replica: Replica, state: ReplicaState, why: str, verb: str, **changes: object) -> None:
            latest = self._latest(replica, writes)
            if not can_move(latest.state, state):
                log.error("not done, for it is no legal move: %s %s, which is %s: %s", verb, latest.name, latest.state, why)
                return
            put(replace(latest, state=state, why=why, changed_at=now, **changes), f"{verb}: {why}")  # type: ignore[arg-type]
            told.append(f"{verb} {latest.name}: {why}")

        match action:
            case Create():
                replica = self._new_replica(action, now)
                put(replica, f"create: {action.why}")
                told.append(f"create {replica.name}: {action.why}")
            case Assign():
                move(
                    action.replica,
                    ReplicaState.ASSIGNED,
                    action.why,
                    f"assign to {action.node_name}",
                    node_id=action.node_id,
                    node_name=action.node_name,
                )
            case Refuse():
                put(replace(self._latest(action.replica, writes), why=action.why), f"hold: {action.why}")
                told.append(f"hold {action.replica.name}: {action.why}")
            case Drain():
                move(
                    action.replica,
                    ReplicaState.DRAINING,
                    action.why,
                    "drain",
                    ready=False,
                    ready_at=0.0,
                    drain_deadline_at=action.deadline_at,
                    desired=Desired.STOP,
                )
            case Stop():
                to = ReplicaState.STOPPED if action.replica.state is ReplicaState.PENDING else ReplicaState.STOPPING
                move(action.replica, to, action.why, "stop", ready=False, ready_at=0.0, desired=Desired.STOP)
            case Lose():
                move(action.replica, ReplicaState.LOST, action.why, "lose", ready=False, ready_at=0.0)
            case Adopt():
                put(replace(self._latest(action.replica, writes), revision=action.revision), action.why)
            case Move():
                put(replace(self._latest(action.replica, writes), move_why=action.why), f"move: {action.why}")
                told.append(f"move {action.replica.name}: {action.why}")
            case Observe():
                before = self._latest(action.replica, writes)
                after = observed(before, action.status, now)
                seen = f"{after.state}{', ready' if after.ready else ''}"
                told_apart = (before.state, before.ready, before.restarts) != (after.state, after.ready, after.restarts)
                # What a probe says in between is in the record, for `rookery ps`; as events it would hide the others.
                is_event = told_apart or after.state is ReplicaState.PREPARING
                put(after, f"{seen}: {action.why}" if is_event else "")
                if told_apart:
                    told.append(f"see {after.name} {seen}: {action.why}")
            case Forget():
                key = records.replica_key(action.replica)
                draft.conditions.setdefault(key, self._state.condition(key))
                if draft.conditions[key].revision:
                    writes[key] = Delete(key=key)
            case ForgetService():
                self._forget_service(action, draft)
            case SetRollout():
                service = action.service
                rollout = service.rollout and replace(service.rollout, state=action.state, why=action.why, changed_at=now)
                put(replace(service, revision=action.revision, rollout=rollout, why=action.why, changed_at=now), action.why)
                told.append(f"{action.state} {service.key}: {action.why}")
            case SetNode():
                node = self._node(action, now)
                put(node, f"{node.state}: {action.why}")
                told.append(f"node {node.name} {node.state}: {action.why}")

    def _latest(self, replica: Replica, writes: dict[str, Write]) -> Replica:
        """The record as earlier actions of the same commit leave it."""
        written = writes.get(records.replica_key(replica))
        if written is None or isinstance(written, Delete):
            return replica
        parsed = records.parse(written.key, written.value)
        return parsed if isinstance(parsed, Replica) else replica

    def _new_replica(self, action: Create, now: float) -> Replica:
        return Replica(
            id=ReplicaId(secrets.token_hex(8)),
            app=action.app,
            service=action.service,
            slot=action.slot,
            revision=action.revision,
            node_id=action.node_id,
            node_name=action.node_name,
            state=ReplicaState.ASSIGNED if action.node_id else ReplicaState.PENDING,
            why=action.why,
            created_at=now,
            changed_at=now,
        )

    def _node(self, action: SetNode, now: float) -> Node:
        node = action.node
        if node is None:
            if action.info is None:
                raise ValueError("a node joins with its info")
            return Node(id=action.node_id, info=action.info, state=action.state, why=action.why, joined_at=now, changed_at=now)
        return replace(
            node,
            state=action.state,
            why=action.why,
            info=action.info or node.info,
            conditions=node.conditions if action.conditions is None else action.conditions,
            changed_at=now if action.state is not node.state else node.changed_at,
        )

    async def _add_file_deletes(self, draft: "_Draft") -> None:
        """Secrets and configs go with their app; they are the only records that the state does not hold."""
        for app in draft.removed_apps:
            files = await self._store.snapshot(f"files/{app}/")
            draft.writes.update({key: Delete(key=key) for key in files.entries})

    def _forget_service(self, action: ForgetService, draft: "_Draft") -> None:
        writes, conditions = draft.writes, draft.conditions
        service = action.service
        keys = [records.service_record_key(service.app, service.name)]
        keys += [records.revision_key(service.app, service.name, n) for n in self._state.revisions.get(service.key, {})]
        keys += [records.replica_key(replica) for replica in self._state.replicas_of(service.key).values()]
        for key in keys:
            conditions.setdefault(key, self._state.condition(key))
            writes[key] = Delete(key=key, why=action.why if key == keys[0] else "")
        draft.told.append(f"forget {service.key}: {action.why}")
        app = self._state.apps.get(service.app)
        if app is None:
            return
        left = tuple(name for name in app.services if name != service.name)
        key = records.app_key(app.name)
        conditions.setdefault(key, self._state.condition(key))
        if left or not app.removing:
            writes[key] = records.put(replace(app, services=left), "")
        else:
            writes[key] = Delete(key=key, why=f"{app.name} was removed")
            draft.removed_apps.append(app.name)


@dataclass(slots=True)
class _Draft:
    """One commit in the making; `told` are its lines for the log."""

    conditions: dict[str, Condition]
    writes: dict[str, Write] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    removed_apps: list[str] = field(default_factory=list)
