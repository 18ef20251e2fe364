"""What the manager remembers of the proxies' counters: never too much, never twice, nothing of what is gone."""

from dataclasses import replace

import pytest
from rookery.model import EndpointStats, NodeId, ProxyInfo, Replica, ReplicaId, RouteId, ServiceKey
from rookery.wire import to_bytes
from rookery_manager.planners.compare import Sample
from rookery_manager.records import key_of
from rookery_manager.routing import RoutePlane
from rookery_manager.state import State
from rookery_manager.store import Change
from rookery_manager.traffic import MOST_BUCKETS, MOST_GROWN, Reported, Traffic

A, B = ReplicaId("a"), ReplicaId("b")
STEP, NEXT_STEP = 100.0, 160.0


def http(replica: ReplicaId = A, *, ok: int = 0, failed: int = 0, route: str = "web:80", **counts: object) -> EndpointStats:
    """Answers within the first bucket, 5xx in the second, and whatever else the proxy counted."""
    stats = EndpointStats(
        replica_id=replica,
        route_id=RouteId(route),
        requests=ok + failed,
        responses_2xx=ok,
        responses_5xx=failed,
        bytes_out=100 * (ok + failed),
        latency_counts=(ok, failed, 0),
    )
    return replace(stats, **counts)  # type: ignore[arg-type]


class Proxy:
    """One stream of a proxy."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self.reported: Reported | None = None

    def report(self, *stats: EndpointStats) -> None:
        self.reported = self._traffic.take(self.reported, stats)


@pytest.fixture
def known() -> set[ReplicaId]:
    return {A, B}


@pytest.fixture
def traffic(known: set[ReplicaId]) -> Traffic:
    traffic = Traffic(known)
    assert traffic.since(STEP, [A, B]) == Sample()
    return traffic


@pytest.fixture
def proxy(traffic: Traffic) -> Proxy:
    """One that has reported before, without any endpoint."""
    proxy = Proxy(traffic)
    proxy.report()
    return proxy


def seen(traffic: Traffic, *replicas: ReplicaId, mark: float = STEP) -> tuple[int, int]:
    sample = traffic.since(mark, replicas or (A, B))
    return sample.requests, sample.errors


def test_the_first_report_of_a_stream_counts_nothing(traffic: Traffic) -> None:
    for stream in (Proxy(traffic), Proxy(traffic)):
        stream.report(http(ok=500, failed=20))
        assert seen(traffic) == (0, 0)
    stream.report(http(ok=503, failed=21))
    assert seen(traffic) == (4, 1)


def test_an_endpoint_that_comes_later_counts_from_zero(traffic: Traffic, proxy: Proxy) -> None:
    proxy.report(http(ok=7, failed=1))
    assert traffic.since(STEP, [A]) == Sample(requests=8, errors=1, latency_counts=(7, 1, 0))


def test_proxies_and_routes_are_added_up(traffic: Traffic, proxy: Proxy) -> None:
    other = Proxy(traffic)
    other.report()
    proxy.report(http(ok=1), http(ok=2, route="web:81"), http(B, ok=10))
    other.report(http(ok=4))
    assert (seen(traffic, A), seen(traffic, B), seen(traffic, A, B)) == ((7, 0), (10, 0), (17, 0))


def test_counters_that_went_back_are_a_new_proxys(traffic: Traffic, proxy: Proxy) -> None:
    proxy.report(http(ok=100, failed=3))
    proxy.report(http(ok=5, failed=1))
    assert seen(traffic) == (109, 4)


def test_a_request_that_is_taken_back_to_be_tried_elsewhere_is_no_restart(traffic: Traffic, proxy: Proxy) -> None:
    proxy.report(http(ok=100, requests=101, in_flight=1))
    proxy.report(http(ok=100, requests=100, errors_connect=1))
    assert seen(traffic) == (101, 1)


def test_workers_that_are_replaced_take_their_counts_with_them_and_bring_them_back(traffic: Traffic, proxy: Proxy) -> None:
    proxy.report(http(ok=100))
    proxy.report()
    proxy.report(http(ok=101))
    assert seen(traffic) == (101, 0)


def test_what_is_in_flight_is_not_over(traffic: Traffic, proxy: Proxy) -> None:
    proxy.report(http(ok=3, requests=9, in_flight=6))
    assert seen(traffic) == (3, 0)


@pytest.mark.parametrize(
    ("stats", "expected"),
    [
        pytest.param(http(errors_connect=4), (4, 4), id="no connection: in no other counter"),
        pytest.param(http(requests=4, errors_upstream=4), (4, 4), id="no answer"),
        pytest.param(http(ok=4, errors_upstream=4), (8, 4), id="answers that break off: counted twice"),
        pytest.param(http(requests=4, bytes_out=9, latency_counts=(4, 0, 0)), (4, 0), id="upgrades: in the latencies alone"),
        pytest.param(http(ok=4, latency_counts=()), (4, 0), id="a proxy without latencies"),
        pytest.param(http(requests=9, in_flight=4, bytes_out=70, errors_connect=2), (9, 2), id="TCP"),
        pytest.param(http(bytes_out=70, errors_connect=2), (2, 2), id="TCP, each connect failed at once"),
        pytest.param(http(requests=9, in_flight=4), (0, 0), id="nine that got nothing yet, or whose clients gave up"),
        pytest.param(http(requests=-5, errors_connect=-5, latency_counts=(-5,)), (0, 0), id="nonsense"),
        pytest.param(http(responses_5xx=5, errors_connect=-5), (0, 0), id="more nonsense"),
    ],
)
def test_what_counts_as_a_request_and_as_an_error(
    traffic: Traffic, proxy: Proxy, stats: EndpointStats, expected: tuple[int, int]
) -> None:
    proxy.report(stats)
    assert seen(traffic) == expected


def test_a_mark_counts_from_when_it_is_first_asked_for(traffic: Traffic, proxy: Proxy) -> None:
    proxy.report(http(ok=10))
    assert seen(traffic, mark=NEXT_STEP) == (0, 0)
    proxy.report(http(ok=12))
    assert traffic.since(NEXT_STEP, [A]) == Sample(requests=2, errors=0, latency_counts=(2, 0, 0))
    assert traffic.since(NEXT_STEP, [A]) == Sample(requests=2, errors=0, latency_counts=(2, 0, 0))


def test_a_replica_counts_from_when_it_is_named(proxy: Proxy, traffic: Traffic, known: set[ReplicaId]) -> None:
    known.add(ReplicaId("c"))
    proxy.report(http(ReplicaId("c"), ok=10))
    assert seen(traffic, A, ReplicaId("c")) == (0, 0)
    proxy.report(http(ReplicaId("c"), ok=11))
    assert seen(traffic, A, ReplicaId("c")) == (1, 0)


def test_nothing_is_kept_of_replicas_that_are_gone(traffic: Traffic, proxy: Proxy, known: set[ReplicaId]) -> None:
    proxy.report(http(ok=10), http(B, ok=10))
    known.remove(A)
    traffic.forget(A)
    proxy.report(http(ok=11), http(B, ok=11))
    assert seen(traffic) == (11, 0)
    proxy.report(http(B, ok=11))
    assert proxy.reported is not None
    assert [replica_id for replica_id, _ in proxy.reported] == [B]


def test_the_route_plane_keeps_the_figures_of_the_replicas_that_have_records() -> None:
    state = State()
    plane = RoutePlane(state, lambda: 0.0, lease_s=3.0, on_progress=lambda _: None)
    replica = Replica(id=A, app="shop", service="web", slot=1, revision=1, node_id=NodeId("n"))
    change = Change(revision=1, at=0.0, actor="", key=key_of(replica), value=to_bytes(replica), why="")
    state.apply((change,))
    follower = plane.connect(ProxyInfo(id="p"))
    assert seen(plane.traffic) == (0, 0)
    for ok in (10, 12):
        plane.report(follower, 1, (http(ok=ok), http(B, ok=ok)), ())
    assert seen(plane.traffic) == (2, 0)
    state.apply((replace(change, revision=2, value=None),))
    assert seen(plane.traffic) == (0, 0)
    state.apply((replace(change, revision=3),))
    assert seen(plane.traffic) == (0, 0)
    plane.report(follower, 1, (http(ok=15), http(B, ok=15)), ())
    assert seen(plane.traffic) == (3, 0)


def test_what_no_endpoint_can_have_answered_is_not_added_up(traffic: Traffic, proxy: Proxy) -> None:
    most = 2**63 - 1
    proxy.report(http(ok=most, failed=most, errors_connect=most, latency_counts=(most,) * 10_000))
    seen = traffic.since(STEP, [A])
    assert (seen.requests, seen.errors) == (MOST_GROWN, MOST_GROWN)
    assert seen.latency_counts == (MOST_GROWN,) * MOST_BUCKETS
    proxy.report(http(ok=most, failed=most, errors_connect=most, latency_counts=(most,) * 10_000))
    assert traffic.since(STEP, [A]) == seen


def test_changes_are_what_whole_reports_would_have_been() -> None:
    """Each of two proxies tells the same, one of them only what is new."""
    state = State()
    planes = [RoutePlane(state, lambda: 0.0, lease_s=3.0, on_progress=lambda _: None) for _ in range(2)]
    for number, replica_id in enumerate((A, B), 1):
        replica = Replica(id=replica_id, app="shop", service="web", slot=number, revision=1, node_id=NodeId("n"))
        state.apply((Change(revision=number, at=0.0, actor="", key=key_of(replica), value=to_bytes(replica), why=""),))
    whole, changes = ((plane, plane.connect(ProxyInfo(id="p"))) for plane in planes)
    story = ((http(ok=1), http(B, ok=5)), (http(ok=3, in_flight=2), http(B, ok=5)), (http(ok=5), http(B, ok=5)))
    before: tuple[EndpointStats, ...] = ()
    for plane in planes:
        plane.demand.watched.add(ServiceKey("shop/web"))
        assert plane.traffic.since(STEP, [A, B]) == Sample()
    for told in story:
        whole[0].report(whole[1], 1, told, ())
        changes[0].report(changes[1], 1, tuple(s for s in told if s not in before), (), changes=bool(before))
        before = told
        for plane in planes:
            assert plane.traffic.since(STEP, [A, B]) == whole[0].traffic.since(STEP, [A, B])
        assert [changes[1].flights.of(r) for r in (A, B)] == [whole[1].flights.of(r) for r in (A, B)]
        assert sorted(changes[1].flights.all()) == sorted(whole[1].flights.all())
    assert seen(planes[1].traffic) == (4, 0)
    state.apply((Change(revision=9, at=0.0, actor="", key=key_of(replica), value=None, why=""),))
    assert changes[1].flights.of(B) == 0
    assert changes[1].reported is not None
    assert {replica_id for replica_id, _ in changes[1].reported} == {A}
