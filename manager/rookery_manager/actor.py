"""Does what the planners decided: actions become writes of one commit. It decides nothing.

A commit holds the condition that every record it was planned from is unchanged; where one is not, nothing is written and the
key is planned anew.
"""

import asyncio
import logging
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from rookery.model import Desired, Node, Pool, Replica, ReplicaId, ReplicaState, RolloutState, SealedFile, can_move

from rookery_manager import records
from rookery_manager.clock import Clock
from rookery_manager.planners.actions import (
    Action,
    Adopt,
    Assign,
    Create,
    Doubt,
    Drain,
    Forget,
    ForgetCertificate,
    ForgetNode,
    ForgetPool,
    ForgetService,
    Launch,
    Lose,
    Move,
    Observe,
    Refuse,
    SetAccount,
    SetAvailability,
    SetCertificate,
    SetNode,
    SetPool,
    SetReplicas,
    SetRollout,
    Stop,
)
from rookery_manager.planners.begin import past
from rookery_manager.planners.observe import observed, sighting
from rookery_manager.records import Record, came_with_app
from rookery_manager.rollout_history import keep_rollout
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

        def move(replica: Replica, state: ReplicaState, why: str, verb: str, *, event: str = "", **changes: object) -> None:
            latest = self._latest(replica, writes)
            if not can_move(latest.state, state):
                log.error("not done, for it is no legal move: %s %s, which is %s: %s", verb, latest.name, latest.state, why)
                return
            put(replace(latest, state=state, why=why, changed_at=now, **changes), f"{verb}: {event or why}")  # type: ignore[arg-type]
            told.append(f"{verb} {latest.name}: {event or why}")

        match action:
            case Create():
                replica = self._new_replica(action, now)
                put(replica, f"create: {action.why}")
                told.append(f"create {replica.name}: {action.why}")
            case Launch():
                put(replace(self._latest(action.replica, writes), desired=Desired.RUN), f"launch: {action.why}")
                told.append(f"launch {action.replica.name}: {action.why}")
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
                is_drained = action.replica.state is ReplicaState.DRAINING and action.why == action.replica.why
                event = "nothing is in flight on it" if is_drained else ""
                move(action.replica, to, action.why, "stop", event=event, ready=False, ready_at=0.0, desired=Desired.STOP)
            case Lose():
                move(action.replica, ReplicaState.LOST, action.why, "lose", ready=False, ready_at=0.0)
            case Doubt():
                put(
                    replace(self._latest(action.replica, writes), ready=False, ready_at=0.0, why=action.why),
                    f"doubt: {action.why}",
                )
                told.append(f"doubt {action.replica.name}: {action.why}")
            case Adopt():
                put(replace(self._latest(action.replica, writes), revision=action.revision), action.why)
            case Move():
                put(replace(self._latest(action.replica, writes), move_why=action.why), f"move: {action.why}")
                told.append(f"move {action.replica.name}: {action.why}")
            case Observe():
                before = self._latest(action.replica, writes)
                after = observed(before, action.status, now)
                seen = sighting(before, after)
                put(after, seen)
                if seen and (before.state, before.ready, before.restarts) != (after.state, after.ready, after.restarts):
                    told.append(f"see {after.name} {seen}")
            case Forget():
                key = records.replica_key(action.replica)
                draft.conditions.setdefault(key, self._state.condition(key))
                if draft.conditions[key].revision:
                    writes[key] = Delete(key=key)
            case ForgetService():
                self._forget_service(action, draft)
            case SetRollout():
                self._set_rollout(action, now, draft)
            case SetReplicas():
                scaled = action.decision
                put(
                    replace(action.service, replicas=scaled.after, scaled=scaled, changed_at=now, why=action.why),
                    f"scale: {action.why}",
                )
                told.append(f"scale {action.service.key}: {action.why}")
            case SetNode():
                node = self._node(action, now)
                put(node, f"{node.state}: {action.why}")
                told.append(f"node {node.name} {node.state}: {action.why}")
            case SetAvailability():
                put(replace(action.node, availability=action.availability), action.why)
                told.append(f"node {action.node.name} is to be {action.availability}: {action.why}")
            case SetPool():
                put(action.pool, action.why)
                if action.why:
                    told.append(f"pool {action.pool.name} {action.why}")
            case SetCertificate():
                put(action.certificate, action.why)
                self._keep_sealed(action.sealed, action.dropped, draft)
                if action.why:
                    told.append(f"certificate of {action.certificate.host} {action.why}")
            case SetAccount():
                put(action.account, action.why)
                self._keep_sealed(action.sealed, (), draft)
                told.append(f"account at {action.account.directory}: {action.why}")
            case ForgetCertificate():
                key = records.key_of(action.certificate)
                draft.conditions.setdefault(key, self._state.condition(key))
                writes[key] = Delete(key=key, why=action.why)
                self._keep_sealed((), action.dropped, draft)
                told.append(f"forget the certificate of {action.certificate.host}: {action.why}")
            case ForgetNode() | ForgetPool():
                record: Node | Pool = action.node if isinstance(action, ForgetNode) else action.pool
                key = records.key_of(record)
                draft.conditions.setdefault(key, self._state.condition(key))
                writes[key] = Delete(key=key, why=action.why)
                told.append(f"forget {record.name}: {action.why}")

    @staticmethod
    def _keep_sealed(sealed: Iterable[SealedFile], dropped: Iterable[str], draft: "_Draft") -> None:
        draft.writes.update({key: Delete(key=key) for key in dropped})
        draft.writes.update({write.key: write for write in (records.put(file, "") for file in sealed)})

    def _set_rollout(self, action: SetRollout, now: float, draft: "_Draft") -> None:
        service, rollout = action.service, action.rollout
        restarted_at = service.restarted_at if action.restarted_at is None else action.restarted_at
        after = replace(
            service,
            revision=action.revision,
            rollout=rollout,
            restarted_at=restarted_at,
            why=action.why,
            changed_at=now,
        )
        key = records.key_of(after)
        draft.conditions.setdefault(key, self._state.condition(key))
        told = action.why
        if rollout.state is RolloutState.ROLLED_BACK and service.rollout is not None:  # why was told when that began
            told = f"revision {action.revision} is back after {now - service.rollout.changed_at:.1f} s"
        draft.writes[key] = records.put(after, f"{rollout.state}: {told}")
        draft.told.append(f"{rollout.state} {service.key}: {told}")
        if rollout.state in (RolloutState.DONE, RolloutState.ROLLED_BACK):
            draft.writes.update({write.key: write for write in keep_rollout(self._state, past(service, rollout))})

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
            desired=action.desired,
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
            downs=node.downs if action.downs is None else action.downs,
            held_off=node.held_off if action.held_off is None else action.held_off,
            changed_at=now if action.state is not node.state else node.changed_at,
        )

    async def _add_file_deletes(self, draft: "_Draft") -> None:
        """Contents that came with an app go with it, those of StoredFiles stay; the state does not hold either."""
        for app in draft.removed_apps:
            files = await self._store.snapshot(f"sealed/{app}/")
            draft.writes.update({key: Delete(key=key) for key in came_with_app(files.entries)})

    def _forget_service(self, action: ForgetService, draft: "_Draft") -> None:
        writes, conditions = draft.writes, draft.conditions
        service = action.service
        keys = [records.service_record_key(service.app, service.name)]
        keys += [records.revision_key(service.app, service.name, n) for n in self._state.revisions.get(service.key, {})]
        keys += [records.rollout_key(service.app, service.name, n) for n in self._state.rollouts.get(service.key, {})]
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
            numbers = self._state.app_revisions.get(app.name, {})
            writes.update({k: Delete(key=k) for k in (records.app_revision_key(app.name, n) for n in numbers)})
            draft.removed_apps.append(app.name)


@dataclass(slots=True)
class _Draft:
    """One commit in the making; `told` are its lines for the log."""

    conditions: dict[str, Condition]
    writes: dict[str, Write] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    removed_apps: list[str] = field(default_factory=list)
