"""The pure parts: the table, the choice of an endpoint, and figures."""

import dataclasses
import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxy_rig import endpoint, route
from rookery.model import EndpointStats, ListenProtocol, ReplicaId, RouteId, RouteStats, RouteTable
from rookery_proxy.health import ejection_s, may_eject
from rookery_proxy.pick import pick
from rookery_proxy.stats import Figures, Retained, merge, retain
from rookery_proxy.table import Gap, Table, advance, build


class Load:
    def __init__(self, name: str = "", in_flight: int = 0, ejected_until: float = 0.0) -> None:
        self.name = name
        self.in_flight = in_flight
        self.ejected_until = ejected_until


@pytest.mark.parametrize("count", [2, 3, 10, 100])
def test_picks_stay_within_a_few_of_the_average(count: int) -> None:
    """Requests that never end: each goes to the emptier of two."""
    rng = random.Random(count)
    endpoints = [Load() for _ in range(count)]
    for _ in range(100 * count):
        picked = pick(endpoints, rng.random(), rng.random(), 0.0)
        assert picked is not None
        picked.in_flight += 1
    loads = [e.in_flight for e in endpoints]
    assert min(loads) >= 90
    assert max(loads) <= 110


def test_idle_endpoints_are_picked_alike() -> None:
    rng = random.Random(7)
    endpoints = [Load(str(n)) for n in range(3)]
    counts = {e.name: 0 for e in endpoints}
    for _ in range(3000):
        picked = pick(endpoints, rng.random(), rng.random(), 0.0)
        assert picked is not None
        counts[picked.name] += 1
    assert all(900 <= count <= 1100 for count in counts.values()), counts


def test_ejected_and_tried_endpoints_are_passed_over() -> None:
    ejected, full = Load("ejected", ejected_until=5.0), Load("full", in_flight=9)
    for seed in range(50):
        rng = random.Random(seed)
        assert pick([ejected, full], rng.random(), rng.random(), 4.9) is full
        assert pick([ejected, full], rng.random(), rng.random(), 5.0) is ejected
        assert pick([ejected, full], rng.random(), rng.random(), 4.9, [full]) is ejected
        assert pick([ejected, full], rng.random(), rng.random(), 9.0, [full, ejected]) is None
    assert pick([], 0.5, 0.5, 0.0) is None
    assert pick([full], 0.99, 0.99, 0.0) is full


def test_ejections_grow_and_never_reach_more_than_half() -> None:
    assert [ejection_s(n) for n in (1, 2, 3, 4, 5, 60)] == [1, 2, 4, 8, 10, 10]
    assert not may_eject([Load()], 0.0)
    assert may_eject([Load(), Load()], 0.0)
    assert not may_eject([Load(ejected_until=1.0), Load(), Load()], 0.0)
    assert may_eject([Load(ejected_until=1.0), Load(), Load(), Load()], 0.0)


@pytest.mark.parametrize(
    ("path", "prefix", "wanted"),
    [
        ("/", "", True), ("/x", "", True), ("/x", "/", True), ("*", "", True), ("/api", "/api", True), ("/api", "/api/", True),
        ("/api/", "/api", True), ("/api/x", "/api", True), ("/apis", "/api", False),
        ("/ap", "/api", False), ("/API", "/api", False),
    ],
)  # fmt: skip
def test_under(path: str, prefix: str, wanted: bool) -> None:
    assert under(path, prefix) is wanted
    table = build(RouteTable(version=1, routes=(route(80, path=prefix),)))
    assert (table.listeners[80].find("", path) is not None) is wanted


def under(path: str, prefix: str) -> bool:
    """Whether a path is a prefix itself or below it."""
    prefix = prefix.rstrip("/")
    return path.startswith(prefix) and (len(path) == len(prefix) or not prefix or path[len(prefix)] == "/")


PATHS = st.lists(st.sampled_from(["a", "b", "ab", "", "%"]), max_size=5).map(lambda parts: "/" + "/".join(parts))


@given(st.lists(PATHS, max_size=8, unique_by=lambda path: path.rstrip("/")), PATHS)
def test_the_longest_path_that_a_request_is_under_wins(prefixes: list[str], path: str) -> None:
    table = build(
        RouteTable(version=1, routes=tuple(route(80, path=prefix, name=f"a/s{n}") for n, prefix in enumerate(prefixes)))
    )
    found = table.listeners[80].find("", path) if prefixes else None
    fits = [prefix for prefix in prefixes if under(path, prefix)]
    assert (found.path if found else None) == (max(fits, key=lambda prefix: len(prefix.rstrip("/"))) if fits else None)


def test_a_path_of_nothing_but_slashes_costs_no_more_than_another() -> None:
    table = build(RouteTable(version=1, routes=(route(80, path="/a/b/c"),)))
    find = table.listeners[80].find
    began = time.process_time()
    for _ in range(100):
        assert find("", "/" * 30_000) is None
    assert time.process_time() - began < 1.0


def test_find_prefers_the_exact_host_then_the_longest_path() -> None:
    exact = route(80, host="a.b.test", name="x/exact")
    deep = route(80, host="a.b.test", path="/p/q", name="x/deep")
    wild = route(80, host="*.b.test", name="x/wild")
    any_host = route(80, path="/p", name="x/any")
    listener = build(RouteTable(version=1, routes=(any_host, exact, deep, wild))).listeners[80]
    assert listener.find("A.b.test", "/") is exact
    assert listener.find("a.b.test", "/p/q/r") is deep
    assert listener.find("c.b.test", "/p") is wild
    assert listener.find("d.c.b.test", "/") is wild
    assert listener.find("b.test", "/p/x") is any_host
    assert listener.find("b.test", "/") is None
    assert listener.only is None
    assert listener.protocol is ListenProtocol.HTTP


def test_a_delta_must_begin_at_the_version_in_hand() -> None:
    table = build(RouteTable(version=5, routes=(route(80),)))
    for before, after in ((4, 6), (6, 7), (5, 4)):
        with pytest.raises(Gap):
            advance(table, before, after, (), ())


def test_a_broken_route_is_named_and_the_others_are_served() -> None:
    bad = [route(0, name="x/port"), route(53, protocol=ListenProtocol.UDP, name="x/udp"), route(80, path="api", name="x/path")]
    table = build(RouteTable(version=1, routes=(*bad, route(80, name="x/good"))))
    assert set(table.listeners) == {80}
    assert [r.service for r in table.listeners[80].routes] == ["good"]
    assert sorted(table.faults.values()) == [
        "x/path:80api: the path 'api' does not begin with /",
        "x/port:0: 0 is no port; it must be from 1 to 65535",
        "x/udp:53: UDP is not balanced yet; use mode: host",
    ]
    assert advance(table, 1, 2, (), [r.id for r in bad]).faults == {}


ROUTES = st.builds(
    lambda n, port, host, path, replicas: route(
        port, *(endpoint(f"r{i}", 1000 + i) for i in range(replicas)), name=f"a/s{n}", host=host, path=path
    ),
    st.integers(0, 3), st.sampled_from([80, 81, 0]), st.sampled_from(["", "h", "*.h"]), st.sampled_from(["", "/p", "bad"]),
    st.integers(0, 2),
)  # fmt: skip


@given(st.lists(st.tuples(st.lists(ROUTES, max_size=4), st.lists(st.integers(0, 20), max_size=3)), max_size=8))
def test_deltas_lead_to_the_same_table_as_the_whole(changes: list[tuple[list[object], list[int]]]) -> None:
    table = Table()
    held: dict[RouteId, object] = {}
    for version, (puts, removed) in enumerate(changes, start=1):
        ids = list(held)
        removes = [ids[n % len(ids)] for n in removed] if ids else []
        table = advance(table, version - 1, version, puts, removes)  # type: ignore[arg-type]
        for route_id in removes:
            held.pop(route_id, None)
        held.update({r.id: r for r in puts})  # type: ignore[attr-defined]
        assert table == build(RouteTable(version=version, routes=tuple(held.values())))  # type: ignore[arg-type]


def stats(replica: str, requests: int, in_flight: int = 0) -> EndpointStats:
    return EndpointStats(
        replica_id=ReplicaId(replica), route_id=RouteId("x"), requests=requests, in_flight=in_flight, latency_counts=(requests, 0)
    )


@pytest.mark.parametrize(
    ("kind", "ids"), [(EndpointStats, {"replica_id": "r", "route_id": "x", "revision": 3}), (RouteStats, {"route_id": "x"})]
)
def test_no_count_is_left_out_of_the_sum(kind: Any, ids: dict[str, Any]) -> None:
    counts = {f.name: n for n, f in enumerate(dataclasses.fields(kind), 1) if f.name not in ids and f.name != "latency_counts"}
    one = kind(**ids, **counts)
    part = "endpoints" if kind is EndpointStats else "routes"
    (both,) = getattr(merge(Retained(), [Figures(**{part: (one,)}), Figures(**{part: (one,)})]), part)
    assert both == kind(**ids, **{name: 2 * n for name, n in counts.items()})


def test_figures_of_workers_add_up_also_after_one_died() -> None:
    a = Figures(
        version=7,
        endpoints=(stats("r1", 5, 1), stats("r2", 1)),
        routes=(RouteStats(route_id=RouteId("x"), requests=6, connections=2),),
    )
    b = Figures(version=8, endpoints=(stats("r1", 3, 2),), routes=(RouteStats(route_id=RouteId("x"), requests=3),))
    both = merge(Retained(), [a, b])
    assert both.version == 7
    assert both.endpoints == (stats("r1", 8, 3), stats("r2", 1))
    assert both.routes[0].requests == 9
    after = merge(retain(Retained(), a), [b])
    assert after.version == 8
    assert after.endpoints == (stats("r1", 8, 2),)  # r2 is in no live worker's table any more
    assert after.routes[0].connections == 0


def latencies(figures: Figures) -> int:
    return sum(sum(s.latency_counts) for s in (*figures.endpoints, *figures.past))


def test_what_endpoints_that_are_gone_had_counted_stays_in_the_sum_when_workers_die_too() -> None:
    gone = dataclasses.replace(stats("r2", 4), replica_id=ReplicaId(""))
    a = Figures(endpoints=(stats("r1", 5),), past=(gone,))
    b = Figures(endpoints=(stats("r1", 3),), past=(gone,))
    assert latencies(merge(Retained(), [a, b])) == 16
    retained = retain(Retained(), a)
    assert latencies(merge(retained, [b])) == 16
    assert latencies(merge(retained, [dataclasses.replace(b, endpoints=(stats("r3", 3),))])) == 16  # r1 left
    assert latencies(merge(retain(retained, b), [])) == 16
