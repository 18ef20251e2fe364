"""What makes a manager look at what an agent is to be told, and what does not."""

from dataclasses import replace

from rookery.model import Node, NodeId, NodeInfo, Replica, ReplicaId, ReplicaState
from rookery.v1 import dispatch_pb2
from rookery_manager import records
from rookery_manager.leases import Leases
from rookery_manager.records import Record
from rookery_manager.sessions import Session, Sessions
from rookery_manager.state import State
from rookery_manager.store import Change

N1, N2 = NodeId("id-n1"), NodeId("id-n2")
INFO = NodeInfo(hostname="n1", address="10.0.0.1")
WEB = Replica(id=ReplicaId("r1"), app="shop", service="web", slot=1, revision=1, node_id=N1, state=ReplicaState.RUNNING)


class World:
    def __init__(self) -> None:
        self.state = State()
        self.sessions = Sessions(self.state, Leases(lambda: 0.0, lease_s=3.0))
        self.write(Node(id=N1, info=INFO), WEB)
        self.open = {node_id: self.sessions.open(node_id, INFO) for node_id in (N1, N2)}
        for session in self.open.values():
            session.stale = False

    def write(self, *written: Record) -> None:
        at = self.state.revision + 1
        puts = [records.put(record, "") for record in written]
        self.state.apply(tuple(Change(key=p.key, value=p.value, revision=at, at=0.0, actor="", why="") for p in puts))

    def looks(self) -> set[NodeId]:
        woken = {node_id for node_id, session in self.open.items() if session.stale}
        assert all(self.open[node_id].wake.is_set() for node_id in woken), "nobody would look"
        return woken


def test_a_new_session_is_looked_at() -> None:
    assert Session(node_id=N1, info=INFO).stale


def test_an_answer_to_a_heartbeat_is_sent_and_has_nothing_looked_at() -> None:
    world = World()
    world.open[N1].send(dispatch_pb2.ManagerMessage(lease=dispatch_pb2.Lease(lease_s=3.0)))
    assert world.open[N1].wake.is_set()
    assert not world.looks()


def test_a_changed_replica_has_its_node_looked_at_and_no_other() -> None:
    world = World()
    world.write(replace(WEB, state=ReplicaState.STOPPING))
    assert world.looks() == {N1}


def test_a_replica_that_moves_has_both_nodes_looked_at() -> None:
    world = World()
    world.write(replace(WEB, node_id=N2))
    assert world.looks() == {N1, N2}


def test_a_changed_node_is_looked_at() -> None:
    world = World()
    world.write(Node(id=N1, info=replace(INFO, address="10.0.0.9")))
    assert world.looks() == {N1}


def test_what_concerns_all_has_all_looked_at() -> None:
    for change in (Sessions.wake_all, Sessions.send_files_anew):
        world = World()
        change(world.sessions)
        assert world.looks() == {N1, N2}
