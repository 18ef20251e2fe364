"""After which changes the pools are looked at."""

import dataclasses

import pytest
from rookery.model import (
    App,
    Availability,
    Node,
    NodeId,
    NodeInfo,
    Pool,
    PoolSpec,
    ProviderKind,
    Replica,
    ReplicaId,
    ReplicaState,
    Service,
)
from rookery_manager.actor import Actor
from rookery_manager.pools import Pools
from rookery_manager.providers import Providers
from rookery_manager.records import Record, key_of, put
from rookery_manager.scheduler import NO_NODE
from rookery_manager.state import State
from rookery_manager.store import Change, MemoryStore
from rookery_manager.views import NodeViews

NODE = Node(id=NodeId("n1"), info=NodeInfo(hostname="n1"))
REPLICA = Replica(
    id=ReplicaId("r1"), app="shop", service="web", slot=1, revision=1, node_id=NODE.id, node_name="n1", state=ReplicaState.RUNNING
)
WAITING = dataclasses.replace(REPLICA, node_id=NodeId(""), node_name="", state=ReplicaState.PENDING)


class Marks:
    """A manager's pools, one there is, and the pools that are to be looked at since."""

    def __init__(self, *records: Record) -> None:
        self._state = State()
        for record in (Pool(name="small", spec=PoolSpec(provider=ProviderKind.COMMAND)), *records):
            self._apply(record)
        actor = Actor(MemoryStore(), self._state, lambda: 1.0)
        providers: Providers = None  # type: ignore[assignment]
        self.pools = Pools(self._state, actor, lambda: 1.0, NodeViews(self._state), providers)
        self.asked: list[str] = []
        self.pools.keys.mark_at = lambda name, _: self.asked.append(name)  # type: ignore[method-assign]

    def after(self, record: Record, *, deleted: bool = False) -> bool:
        self.asked.clear()
        self._apply(record, deleted=deleted)
        return bool(self.asked)

    def _apply(self, record: Record, *, deleted: bool = False) -> None:
        value = None if deleted else put(record, "").value
        change = Change(revision=self._state.revision + 1, at=0.0, actor="", key=key_of(record), value=value, why="")
        self._state.apply((change,))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (WAITING, dataclasses.replace(WAITING, why=f"{NO_NODE}: 1 has too little memory")),
        (WAITING, dataclasses.replace(REPLICA, state=ReplicaState.ASSIGNED)),
        (REPLICA, dataclasses.replace(REPLICA, state=ReplicaState.DRAINING)),
        (REPLICA, dataclasses.replace(REPLICA, state=ReplicaState.FAILED)),
        (REPLICA, dataclasses.replace(REPLICA, revision=2)),
        (NODE, dataclasses.replace(NODE, availability=Availability.DRAINED)),
    ],
)
def test_what_changes_what_fits_or_waits(before: Record, after: Record) -> None:
    assert Marks(before).after(after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (REPLICA, dataclasses.replace(REPLICA, ready=True, ready_at=4.0)),
        (REPLICA, dataclasses.replace(REPLICA, restarts=3, why="it crashed")),
        (dataclasses.replace(REPLICA, state=ReplicaState.ASSIGNED), REPLICA),
        (WAITING, dataclasses.replace(WAITING, why="it waits for shop/db")),
        (Service(app="shop", name="web", revision=1), Service(app="shop", name="web", revision=1, replicas=9)),
        (App(name="shop"), App(name="shop", removing=True)),
    ],
)
def test_what_does_not(before: Record, after: Record) -> None:
    assert not Marks(before).after(after)


def test_what_comes_and_goes() -> None:
    assert Marks().after(REPLICA)
    assert Marks(REPLICA).after(REPLICA, deleted=True)
    ended = dataclasses.replace(REPLICA, state=ReplicaState.STOPPED)
    assert not Marks(ended).after(ended, deleted=True)
    assert Marks().after(NODE)
