"""The manager's sentences that incidents are read from: made by what really makes them."""

import asyncio
from dataclasses import replace

import pytest
from rookery.incidents.figures import away_s, silent_s
from rookery.model import Node, NodeId, NodeInfo, Replica, ReplicaId, ReplicaState
from rookery_manager import records
from rookery_manager.actor import Actor
from rookery_manager.alive import started
from rookery_manager.api.events import events_of
from rookery_manager.planners.actions import Action, Assign, Doubt, Drain, Lose, Move, Refuse, Stop
from rookery_manager.planners.nodes import NodeView, plan_node
from rookery_manager.planners.observe import sighting
from rookery_manager.state import State
from rookery_manager.store import Commit
from rookery_manager.store.memory import MemoryStore

R = Replica(id=ReplicaId("r1"), app="shop", service="web", slot=1, revision=1, state=ReplicaState.RUNNING)


def test_how_long_a_node_was_silent() -> None:
    node = Node(id=NodeId("n2"), info=NodeInfo(hostname="n2"))
    down, *lost = plan_node(NodeView(node=node, heard_at=100.0, lease_until=103.0, replicas=(R,)), 103.25).actions
    assert silent_s(down.why) == 3.2
    assert lost


def test_how_long_the_manager_was_away() -> None:
    assert away_s(started(12.34)) == 12.3
    assert away_s(started(None)) is None


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"state": ReplicaState.ASSIGNED}, {"state": ReplicaState.STARTING, "why": "starting"}, ""),
        (
            {"state": ReplicaState.ASSIGNED},
            {"state": ReplicaState.STARTING, "why": "can't pull web:9; trying again in 1 s"},
            "starting: can't pull web:9; trying again in 1 s",
        ),
        ({"state": ReplicaState.ASSIGNED}, {"state": ReplicaState.PREPARING, "why": "preparing web:2"}, "preparing web:2"),
        ({"state": ReplicaState.STARTING}, {"why": "running, not yet healthy"}, "running, not yet healthy"),
        ({}, {"why": "not yet healthy: refused"}, ""),
        ({}, {"ready": True, "why": "running"}, "ready"),
        ({"restarts": 1}, {"ready": True, "restarts": 1, "why": "running, restarted once"}, "ready, restarted once"),
        ({"ready": True}, {"restarts": 1, "why": "restarting in 1 s: killed"}, "restarting in 1 s: killed"),
        ({"ready": True}, {"why": "not yet healthy: refused"}, "running: not yet healthy: refused"),
        ({"state": ReplicaState.STOPPING, "why": "scaled"}, {"state": ReplicaState.STOPPED, "why": "scaled"}, "stopped"),
        ({}, {"state": ReplicaState.STOPPED, "why": "exited with status 0"}, "stopped: exited with status 0"),
        ({}, {"state": ReplicaState.FAILED, "why": "exited with status 1"}, "failed: exited with status 1"),
    ],
)
def test_what_was_seen_is_told_once(before: dict[str, object], after: dict[str, object], told: str) -> None:
    assert sighting(replace(R, **before), replace(R, **after)) == told  # type: ignore[arg-type]


def _pending() -> Replica:
    return replace(R, state=ReplicaState.PENDING)


def _draining() -> Replica:
    return replace(R, state=ReplicaState.DRAINING, why="scaled")


@pytest.mark.parametrize(
    ("replica", "action", "verb", "reason"),
    [
        (
            _pending(),
            Assign(replica=_pending(), node_id=NodeId("n1"), node_name="n1", why="n1 has room"),
            "assign",
            "n1 has room",
        ),
        (_pending(), Refuse(replica=_pending(), why="no node fits"), "hold", "no node fits"),
        (R, Drain(replica=R, deadline_at=9.0, why="scaled"), "drain", "scaled"),
        (R, Stop(replica=R, why="scaled"), "stop", "scaled"),
        (_draining(), Stop(replica=_draining(), why="scaled"), "stop", "nothing is in flight on it"),
        (R, Move(replica=R, why="node n2 has 0"), "move", "node n2 has 0"),
        (R, Doubt(replica=R, why="node n1 was lost"), "doubt", "node n1 was lost"),
        (R, Lose(replica=R, why="node n1 was lost: silent"), "lose", "node n1 was lost: silent"),
    ],
)
def test_the_verb_and_reason_of_what_is_done_with_a_replica(replica: Replica, action: Action, verb: str, reason: str) -> None:
    async def scene() -> None:
        store, state = MemoryStore(), State()
        await store.commit(Commit(writes=[records.put(replica, "")], actor="test", at=1.0))
        state.load(await store.snapshot())
        following = asyncio.create_task(_follow(store, state))
        async with asyncio.timeout(60):
            assert await Actor(store, state, lambda: 5.0).act([action])
        (event,) = await events_of(store, "")
        following.cancel()
        assert (event.verb, event.reason) == (verb, reason)
        assert event.state == state.replicas[replica.id].state

    asyncio.run(scene())


async def _follow(store: MemoryStore, state: State) -> None:
    async for changes in store.watch(after=state.revision):
        state.apply(changes)
