"""What agents saw of their replicas, on its way into the records: many statuses of many agents in one commit.

Only the latest status of a replica waits, and none of a replica that is not the agent's, so what waits is bounded by the number
of replicas.
"""

import asyncio
import logging
from collections.abc import Iterable

from rookery.model import NodeId, Replica, ReplicaId, ReplicaStatus
from rookery.refusals import Refusals, Refused

from rookery_manager.actor import Actor
from rookery_manager.agent_messages import check_status, goes_back
from rookery_manager.planners.observe import plan_status
from rookery_manager.state import State

log = logging.getLogger("rookery.manager")


class Statuses:
    def __init__(self, state: State, actor: Actor, refusals: Refusals) -> None:
        self._state = state
        self._actor = actor
        self._refusals = refusals
        self._waiting: dict[ReplicaId, tuple[NodeId, ReplicaStatus]] = {}
        self._changed = asyncio.Event()

    def put(self, node_id: NodeId, statuses: Iterable[ReplicaStatus]) -> None:
        for status in statuses:
            replica = self._state.replicas.get(status.replica_id)
            if replica is None or replica.ended:
                continue  # an agent may not know yet
            try:
                self._check(node_id, replica, status)
            except Refused as error:
                self._refusals.note(error.kind, f"node {node_id}: {error}")
                continue
            self._waiting.pop(status.replica_id, None)
            self._waiting[status.replica_id] = (node_id, status)
        self._changed.set()

    def _check(self, node_id: NodeId, replica: Replica, status: ReplicaStatus) -> None:
        """Raises Refused."""
        if replica.node_id != node_id:
            raise Refused("replica-of-another-node", f"it tells of {replica.name}, which is on {replica.node_id or 'no node'}")
        check_status(status)
        if goes_back(replica.state, status.state):
            raise Refused("status-backward", f"{replica.name} was {replica.state} and is said to be {status.state}")

    async def run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            batch, self._waiting = self._waiting, {}
            while not await self._take(batch):
                log.debug("a replica had changed meanwhile: its status is looked at anew")

    async def _take(self, batch: dict[ReplicaId, tuple[NodeId, ReplicaStatus]]) -> bool:
        steps = [
            plan_status(self._state.replicas.get(replica_id), status, node_id) for replica_id, (node_id, status) in batch.items()
        ]
        return await self._actor.act([step for step in steps if step is not None])
