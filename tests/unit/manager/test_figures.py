"""What the manager adds up of proxies' figures: by service, revision and replica, never less than before."""

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from rookery.model import EndpointStats, ProxyInfo, Replica, ReplicaId, ReplicaState, RouteId, RouteStats, Service, ServiceTraffic
from rookery_manager.figures import MOST_REVISIONS
from rookery_manager.routing import RoutePlane
from rookery_manager.state import State

WEB = Service(app="shop", name="web", revision=1, replicas=2)
ROUTE = RouteId("shop/web:80")


class World:
    """A manager's plane with one service and the replicas that a test names."""

    def __init__(self, **revisions: int) -> None:
        self.state = State()
        self.state.services[WEB.key] = WEB
        for name, revision in revisions.items():
            self.add(name, revision)
        self.plane = RoutePlane(self.state, lambda: 0.0, lease_s=3.0, on_progress=lambda _: None)

    def add(self, name: str, revision: int) -> None:
        replica = Replica(
            id=ReplicaId(name), app="shop", service="web", slot=len(self.state.replicas) + 1, revision=revision,
            state=ReplicaState.RUNNING, ready=True,
        )  # fmt: skip
        self.state._add(replica)

    def traffic(self) -> ServiceTraffic:
        return self.plane.traffic_of([WEB])[0]


class Proxy:
    def __init__(self, plane: RoutePlane, name: str = "p") -> None:
        self._plane = plane
        self.follower = plane.connect(ProxyInfo(id=name))

    def report(self, *endpoints: EndpointStats, routes: Iterable[RouteStats] = ()) -> None:
        self._plane.report(self.follower, 0, endpoints, tuple(routes))


def stats(replica: str, answers: int, *, failed: int = 0, **counts: object) -> EndpointStats:
    made = EndpointStats(
        replica_id=ReplicaId(replica), route_id=ROUTE, requests=answers, responses_2xx=answers - failed, responses_5xx=failed,
        bytes_in=10 * answers, bytes_out=100 * answers, latency_counts=(answers, 0), latency_sum_s=0.5 * answers,
    )  # fmt: skip
    return replace(made, **counts)  # type: ignore[arg-type]


def test_replicas_revisions_and_the_service_are_added_up_over_proxies() -> None:
    world = World(a=1, b=2)
    one, two = Proxy(world.plane), Proxy(world.plane, "q")
    for proxy in (one, two):
        proxy.report()
    one.report(stats("a", 10, in_flight=2), stats("b", 5, failed=1))
    two.report(stats("a", 3, in_flight=1))
    found = world.traffic()
    assert (found.total.requests, found.total.responses_2xx, found.total.responses_5xx, found.total.in_flight) == (18, 17, 1, 3)
    assert [(r.revision, r.figures.requests, r.figures.in_flight) for r in found.revisions] == [(2, 5, 0), (1, 13, 3)]
    assert [(r.name, r.figures.requests) for r in found.replicas] == [("shop/web.1", 13), ("shop/web.2", 5)]
    assert (found.total.bytes_in, found.total.bytes_out, found.total.latency_counts) == (180, 1800, (18, 0))
    assert found.total.latency_sum_s == 9.0
    assert world.plane.reporting() == 2


def test_routes_count_what_was_refused_and_sent_again() -> None:
    world = World(a=1)
    proxy = Proxy(world.plane)
    proxy.report(routes=[RouteStats(route_id=ROUTE, refused=100)])
    proxy.report(routes=[RouteStats(route_id=ROUTE, refused=103, resends=2, resends_denied=1, connections=4)])
    total = world.traffic().total
    assert (total.refused, total.resends, total.resends_denied, total.connections) == (3, 2, 1, 4)
    proxy.report()  # its workers are replaced: they take their counts away for a moment
    assert world.traffic().total.connections == 0
    proxy.report(routes=[RouteStats(route_id=ROUTE, refused=104, resends=2, resends_denied=1)])
    assert world.traffic().total.refused == 4
    proxy.report(routes=[RouteStats(route_id=ROUTE, refused=1)])  # the proxy began anew
    assert world.traffic().total.refused == 5
    proxy.report(routes=[RouteStats(route_id=RouteId("other/x:1"), refused=9)])
    assert world.traffic().total.refused == 5


def test_what_a_replica_that_is_gone_had_counted_stays_in_the_services_sums() -> None:
    world = World(a=1, b=1)
    proxy = Proxy(world.plane)
    proxy.report()
    proxy.report(stats("a", 10), stats("b", 1))
    replica = world.state.replicas.pop(ReplicaId("a"))
    world.state._by_service[WEB.key].pop(replica.id)
    for listener in world.state._listeners:
        listener(replica, None)
    proxy.report(stats("b", 2))
    found = world.traffic()
    assert (found.total.requests, found.revisions[0].figures.requests) == (12, 12)
    assert [r.replica_id for r in found.replicas] == ["b"]


def test_only_the_newest_revisions_are_told_apart() -> None:
    world = World(**{f"r{number}": number for number in range(1, 31)})
    proxy = Proxy(world.plane)
    proxy.report()
    proxy.report(*(stats(f"r{number}", 1) for number in range(1, 31)))
    found = world.traffic()
    assert [r.revision for r in found.revisions] == list(range(30, 30 - MOST_REVISIONS, -1))
    assert found.total.requests == 30


def test_a_service_that_is_removed_is_forgotten() -> None:
    world = World(a=1)
    proxy = Proxy(world.plane)
    proxy.report()
    proxy.report(stats("a", 10))
    for listener in world.state._listeners:
        listener(WEB, None)
    assert world.traffic().total.requests == 0


counts = st.integers(-(2**62), 2**62)


@given(st.lists(st.tuples(counts, counts, counts, st.lists(counts, max_size=80), st.floats()), max_size=8))
def test_no_count_ever_goes_down_whatever_a_proxy_says(reports: list[tuple[int, int, int, list[int], float]]) -> None:
    world = World(a=1)
    proxy = Proxy(world.plane)
    proxy.report()
    before = world.traffic().total
    for requests, answers, sent, latencies, seconds in reports:
        said = stats(
            "a",
            0,
            requests=requests,
            responses_2xx=answers,
            bytes_out=sent,
            latency_counts=tuple(latencies),
            latency_sum_s=seconds,
        )
        proxy.report(said, routes=[RouteStats(route_id=ROUTE, refused=answers)])
        after = world.traffic().total
        for name in ("requests", "responses_2xx", "bytes_out", "latency_sum_s", "refused"):
            assert getattr(after, name) >= getattr(before, name)
        assert all(a >= b for a, b in zip(after.latency_counts, before.latency_counts, strict=False))
        assert after.bytes_out <= before.bytes_out + 10**12
        before = after
