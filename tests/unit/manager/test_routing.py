"""The route table as proxies are given it."""

import dataclasses

import pytest
from rookery.model import (
    AcmeChallenge,
    AcmeOrder,
    Endpoint,
    ListenerError,
    ManagedCertificate,
    Port,
    ProxyInfo,
    Replica,
    ReplicaId,
    ReplicaState,
    Revision,
    Service,
    ServiceSpec,
)
from rookery_manager import records
from rookery_manager.records import Record
from rookery_manager.routing import RoutePlane
from rookery_manager.state import State
from rookery_manager.store import Change, Entry, Snapshot


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


HOST = "shop.example.org"
CHALLENGE = AcmeChallenge(url="https://ca/c", token="t0ken", key_authorization="t0ken.key")
ORDER = AcmeOrder(directory="https://ca", url="https://ca/o", key_digest="k", began_at=0.0, challenge=CHALLENGE)
PROVEN = ManagedCertificate(host=HOST, order=ORDER)


def challenged(*others: Record, lease_s: float = 0.0) -> RoutePlane:
    return RoutePlane(loaded(PROVEN, *others), lambda: 1.0, lease_s=lease_s, on_progress=lambda _: None, challenge_port=80)


def test_a_challenge_is_a_route_that_proxies_answer_themselves() -> None:
    (found,) = challenged().table().routes
    assert (found.port, found.host, found.path, found.answer, found.endpoints) == (
        80, HOST, "/.well-known/acme-challenge/t0ken", "t0ken.key", (),
    )  # fmt: skip
    state = loaded(dataclasses.replace(PROVEN, order=dataclasses.replace(ORDER, challenge=None)))
    assert RoutePlane(state, lambda: 0.0, lease_s=3.0, on_progress=lambda _: None).table().routes == ()


def test_a_challenge_is_answered_once_every_proxy_serves_it() -> None:
    plane = challenged()
    assert "no proxy is connected" in plane.unanswered(HOST)
    assert plane.unanswered("other.example.org") == "the route table does not have the challenge yet"
    told: list[str] = []
    plane.on_news = lambda: told.append(plane.unanswered(HOST))
    one, two = (plane.connect(ProxyInfo(id=name)) for name in ("p1", "p2"))
    plane.acknowledge(one, plane.version, ())
    assert told[-1] == f"proxy p2 has not acknowledged version {plane.version} of the routes"
    plane.acknowledge(two, plane.version, (ListenerError(port=80, why="can't listen on 0.0.0.0:80"),))
    assert told[-1] == ""  # one that has the port is enough
    plane.acknowledge(one, plane.version, (ListenerError(port=80, why="can't listen on 0.0.0.0:80"),))
    assert told[-1] == "proxy p1: can't listen on 0.0.0.0:80"
    plane.disconnect(two)
    plane.acknowledge(one, plane.version, ())
    assert told[-1] == ""


def test_a_manager_that_has_just_started_gives_its_proxies_a_lease() -> None:
    plane = challenged(lease_s=3.0)
    plane.acknowledge(plane.connect(ProxyInfo(id="p1")), plane.version, ())
    assert plane.unanswered(HOST) == "the manager has just started, and its proxies are still to connect"


@pytest.mark.parametrize("protocol", ["tcp", "http2"])
def test_a_port_that_speaks_something_else_is_not_taken_from_its_service(protocol: str) -> None:
    spec = ServiceSpec(name="web", ports=(Port(target=1, published=80, app_protocol=protocol),))
    revision = Revision(app="shop", service="web", number=1, spec=spec)
    service = Service(app="shop", name="web", revision=1, replicas=1)
    state = loaded(PROVEN, revision, service)
    plane = RoutePlane(state, lambda: 1.0, lease_s=0.0, on_progress=lambda _: None)
    assert plane.unanswered(HOST) == f"shop/web has port 80 of the proxies for {protocol}, where HTTP/1 is needed"
    assert [route.service for route in plane.table().routes] == ["web"]
    key = records.key_of(service)
    state.apply((Change(revision=8, key=key, value=None, at=0.0, actor="", why=""),))
    plane.refresh()
    assert [route.service for route in plane.table().routes] == [HOST]
    state.apply((Change(revision=9, key=key, value=records.put(service, "").value, at=0.0, actor="", why=""),))
    plane.refresh()
    assert [route.service for route in plane.table().routes] == ["web"]
