"""Figures that are told by changes: the sum over workers is what it would be if all were told each time."""

from dataclasses import replace

from rookery.model import EndpointStats, ReplicaId, RouteId, RouteStats
from rookery_proxy.stats import Figures
from rookery_proxy.tally import Tally

X = RouteId("shop/web:80")


def stats(replica: str, requests: int, in_flight: int = 0) -> EndpointStats:
    return EndpointStats(
        replica_id=ReplicaId(replica), route_id=X, requests=requests, in_flight=in_flight, latency_counts=(requests, 0)
    )


def told(*endpoints: EndpointStats, requests: int | None = None, **fields: object) -> Figures:
    routes = (RouteStats(route_id=X, requests=requests, connections=1),) if requests is not None else ()
    return Figures(version=1, endpoints=endpoints, routes=routes, changes=True, **fields)  # type: ignore[arg-type]


def found(figures: Figures) -> dict[str, tuple[int, int]]:
    return {s.replica_id: (s.requests, s.in_flight) for s in figures.endpoints}


def test_only_what_changed_is_told_and_as_the_sum_of_all_workers() -> None:
    tally = Tally()
    tally.take(1, told(stats("a", 5, 1), stats("b", 1), requests=6))
    tally.take(2, told(stats("a", 3), requests=3))
    first = tally.changes()
    assert found(first) == {"a": (8, 1), "b": (1, 0)}
    assert [(route.requests, route.connections) for route in first.routes] == [(9, 2)]
    assert found(tally.changes()) == {}
    tally.take(2, told(stats("a", 4, 1)))
    assert found(tally.changes()) == {"a": (9, 2)}
    assert found(tally.all()) == {"a": (9, 2), "b": (1, 0)}
    assert found(tally.changes()) == {}


def test_a_worker_that_dies_takes_nothing_away_but_what_was_in_flight() -> None:
    tally = Tally()
    tally.take(1, told(stats("a", 5, 2), requests=5))
    tally.take(2, told(stats("a", 3, 1), stats("b", 2), requests=5))
    tally.changes()
    tally.bury(1)
    after = tally.changes()
    assert found(after) == {"a": (8, 1)}
    assert [(route.requests, route.connections) for route in after.routes] == [(10, 1)]
    tally.bury(2)
    assert found(tally.changes()) == {"a": (8, 0), "b": (2, 0)}
    tally.take(3, told(stats("a", 1, 1)))
    assert found(tally.changes()) == {"a": (9, 1)}


def test_an_endpoint_that_left_is_kept_until_all_workers_are_done_with_it() -> None:
    tally = Tally()
    key = (X, ReplicaId("a"))
    tally.take(1, told(stats("a", 5)))
    tally.take(2, told(stats("a", 3, 1)))
    tally.changes()
    tally.take(1, told(stats("a", 6), gone=(key,), past=(replace(stats("", 6)),)))
    assert found(tally.changes()) == {"a": (9, 1)}
    tally.take(2, told(stats("a", 4), gone=(key,)))
    assert found(tally.changes()) == {"a": (10, 0)}
    assert found(tally.all()) == {}
    tally.bury(1)
    assert sum(s.requests for s in tally.retained.past) == 6  # and not once more as an endpoint's
    assert not tally.retained.endpoints


def test_routes_that_left_are_forgotten() -> None:
    tally = Tally()
    tally.take(1, told(stats("a", 5), requests=5))
    tally.bury(1)
    tally.take(2, told(stats("a", 5), requests=5))
    tally.forget([X])
    assert not tally.retained.endpoints
    assert not tally.retained.routes
    assert (tally.all().endpoints, tally.all().routes) == ((), ())
