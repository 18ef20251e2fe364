"""What is asked of a service, added up over proxies, and when it is not known."""

import pytest
from rookery.model import EndpointStats, ReplicaId, RouteId, RouteStats, ServiceKey
from rookery_manager.demand import Demand, Seen, quantile_s, service_of

WEB = ServiceKey("shop/web")
ROUTE, OTHER = RouteId("shop/web:80"), RouteId("shop/web:443x.example/a:b")


def demand() -> Demand:
    made = Demand()
    made.watched.add(WEB)
    return made


def tell(
    d: Demand, now: float, *, proxy: str = "p1", in_flight: int = 0, requests: int = 0, held: int = 0,
    counts: tuple[int, ...] = (), route: RouteId = ROUTE,
) -> None:  # fmt: skip
    endpoint = EndpointStats(replica_id=ReplicaId("r1"), route_id=route, in_flight=in_flight, latency_counts=counts)
    d.take(proxy, now, [endpoint], [RouteStats(route_id=route, requests=requests, held=held)])


def test_several_proxies_add_up() -> None:
    d = demand()
    for proxy, requests in (("p1", 10), ("p2", 40)):
        for second in range(4):
            tell(d, 100.0 + second, proxy=proxy, in_flight=7, requests=1000 + requests * second, held=second)
    seen = d.seen(WEB, 103.0)
    assert (seen.rps, seen.held, seen.missing, seen.busy_at) == (50.0, 6, "", 103.0)
    assert seen.concurrency == 2 * (7 + 2.5)  # of those that are held too, the mean over two seconds


def test_counters_before_the_first_report_and_of_a_proxy_that_began_anew_are_no_traffic() -> None:
    d = demand()
    tell(d, 100.0, requests=1_000_000)
    assert d.seen(WEB, 100.0) == Seen()
    tell(d, 101.0, requests=3)  # another process under the same id
    assert d.seen(WEB, 101.0).rps == 3.0


def test_a_proxy_that_is_silent_may_have_traffic() -> None:
    d = demand()
    tell(d, 100.0, proxy="p1")
    tell(d, 100.0, proxy="p2")
    assert not d.seen(WEB, 103.0).missing
    tell(d, 104.0, proxy="p1")
    assert d.seen(WEB, 104.0).missing == "proxy p2 has not reported of it for 4 s"


def test_a_proxy_that_is_lost_may_have_traffic_for_a_minute() -> None:
    d = demand()
    tell(d, 100.0, proxy="p1")
    tell(d, 100.0, proxy="p2")
    d.lose("p2", 101.0)
    tell(d, 160.0, proxy="p1")
    assert d.seen(WEB, 160.0).missing.startswith("proxy p2 is away since 59 s")
    tell(d, 162.0, proxy="p1")
    assert not d.seen(WEB, 162.0).missing


def test_a_proxy_that_does_not_have_the_route_yet_is_missing() -> None:
    d = demand()
    assert d.seen(WEB, 100.0).missing == "no proxy is connected"
    d.take("p1", 100.0, [], [])
    assert d.seen(WEB, 100.0).missing == "proxy p1 has not reported of it yet"


def test_what_is_not_watched_costs_nothing_and_is_not_known() -> None:
    d = Demand()
    tell(d, 100.0, in_flight=4)
    assert d.seen(WEB, 100.0).missing


def test_all_routes_of_a_service_count() -> None:
    d = demand()
    told: list[ServiceKey] = []
    d.listen(told.append)
    endpoints = [EndpointStats(replica_id=ReplicaId("r1"), route_id=route, in_flight=3) for route in (ROUTE, OTHER)]
    routes = [RouteStats(route_id=route) for route in (ROUTE, OTHER)]
    d.take("p1", 100.0, endpoints, routes)
    assert d.seen(WEB, 100.0).concurrency == 6.0
    assert told == [WEB]
    assert service_of(OTHER) == WEB


def test_answers_count_for_five_seconds() -> None:
    d = demand()
    tell(d, 100.0, counts=(500, 500))  # before
    tell(d, 101.0, counts=(510, 500))
    tell(d, 102.0, counts=(510, 503))
    assert d.seen(WEB, 102.0).latency_counts == (10, 3)
    tell(d, 106.5, counts=(510, 503))
    assert d.seen(WEB, 106.5).latency_counts == (0, 3)


@pytest.mark.parametrize(
    ("counts", "wanted"),
    [
        ((), 0.0),
        ((0, 0, 0), 0.0),
        ((100, 0, 0), 0.095),
        ((95, 5, 0), 0.1),
        ((90, 10, 0), 0.55),
        ((0, 0, 7), 1.0),  # slower than all bounds
    ],
)
def test_quantile(counts: tuple[int, ...], wanted: float) -> None:
    assert quantile_s(counts, (0.1, 1.0), 0.95) == pytest.approx(wanted)


def test_nonsense_stays_within_what_can_be_told() -> None:
    d = demand()
    for second in range(3):
        tell(d, 100.0 + second, in_flight=2**63 - 1, held=2**63 - 1, requests=2**62 * second)
    seen = d.seen(WEB, 102.0)
    assert seen.held <= 10**9
    assert seen.concurrency <= 10**9
    assert seen.rps <= 10**9
    tell(d, 103.0, in_flight=-5, held=-5, requests=-5)
    assert d.seen(WEB, 103.0).held == 0
