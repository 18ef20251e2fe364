"""The route table as proxies are given it."""

import dataclasses

from rookery.model import Endpoint, Port, Replica, ReplicaId, ReplicaState, Revision, Service, ServiceSpec
from rookery_manager import records
from rookery_manager.records import Record
from rookery_manager.routing import RoutePlane
from rookery_manager.state import State
from rookery_manager.store import Entry, Snapshot


def loaded(*written: Record) -> State:
    state = State()
    puts = [records.put(record, "") for record in written]
    state.load(Snapshot(revision=7, entries={put.key: Entry(key=put.key, value=put.value, revision=7) for put in puts}))
    return state


def test_a_proxy_that_connects_at_once_is_given_the_whole_table() -> None:
    """An empty one of the same version would stay in force: what follows a version is only what is newer."""
    endpoint = Endpoint(replica_id=ReplicaId("a"), address="10.0.0.1", port=30000, target=80)
    replica = Replica(
        id=ReplicaId("a"),
        app="shop",
        service="web",
        slot=1,
        revision=1,
        state=ReplicaState.RUNNING,
        ready=True,
        endpoints=(endpoint,),
    )
    spec = ServiceSpec(name="web", ports=(Port(target=80, published=8080),))
    revision = Revision(app="shop", service="web", number=1, spec=spec)
    state = loaded(replica, revision, Service(app="shop", name="web", revision=1, replicas=1))
    plane = RoutePlane(state, lambda: 0.0, lease_s=3.0, on_progress=lambda _: None)
    before = plane.table()
    plane.refresh()
    assert plane.table() == before
    assert before.version == 7
    assert [route.endpoints for route in before.routes] == [(dataclasses.replace(endpoint, revision=1),)]
