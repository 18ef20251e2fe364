"""The ways to share out requests, on counts: pure pools, and a real proxy."""

import asyncio
import dataclasses
import math
import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxy_rig import Backend, answering, ask_once, endpoint, free_port, rig, route, wait_until
from rookery.model import BalanceMethod, Balancing, ReplicaId, Route, Split
from rookery_proxy.pool import Pool, pool_of

METHODS = list(BalanceMethod)


@dataclass(eq=False)
class End:
    replica_id: ReplicaId
    weight: int = 1
    place: str = ""
    in_flight: int = 0
    ejected_until: float = 0.0
    since: float = -1e9


def ends(*weights: int) -> list[End]:
    return [End(ReplicaId(f"r{i}"), weight) for i, weight in enumerate(weights)]


def counts(pool: Pool[End], requests: int, *, now: float = 1000.0, busy: bool = False, seed: int = 1) -> Counter[str]:
    """Who gets so many requests with different keys. `busy`: each stays in flight until all are there."""
    draw = random.Random(seed).random
    got: Counter[str] = Counter()
    for number in range(requests):
        found = pool.pick(b"client-%d" % number, draw, now)
        assert found is not None
        found.in_flight += busy
        got[found.replica_id] += 1
    return got


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("number", [1, 2, 3, 10, 100])
def test_equal_endpoints_get_equal_parts(method: BalanceMethod, number: int) -> None:
    requests = 200 * number
    got = counts(Pool(Balancing(method=method), ends(*[1] * number)), requests)
    assert len(got) == number
    # Exact by turns; by lot within five deviations; on the ring by its points, which differ by a tenth each.
    allowed = {BalanceMethod.ROUND_ROBIN: 1, BalanceMethod.HASH: 200 * 0.5}.get(method, 5 * math.sqrt(200))
    assert all(abs(count - 200) <= allowed for count in got.values()), got


@pytest.mark.parametrize("method", METHODS)
def test_weights_are_kept_to(method: BalanceMethod) -> None:
    got = counts(Pool(Balancing(method=method, weight="node.labels.w"), ends(1, 2, 5)), 8000, busy=True)
    allowed = {BalanceMethod.ROUND_ROBIN: 3, BalanceMethod.HASH: 600}.get(method, 60)
    for name, part in (("r0", 1000), ("r1", 2000), ("r2", 5000)):
        assert abs(got[name] - part) <= allowed, got


@pytest.mark.parametrize("method", [BalanceMethod.TWO_CHOICES, BalanceMethod.ROUND_ROBIN])
def test_weights_are_kept_to_while_nothing_is_in_flight_too(method: BalanceMethod) -> None:
    got = counts(Pool(Balancing(method=method), ends(1, 3)), 8000)
    assert abs(got["r1"] - 6000) < 200, got


@pytest.mark.parametrize("method", [BalanceMethod.LEAST_IN_FLIGHT, BalanceMethod.TWO_CHOICES])
def test_who_has_less_in_flight_gets_more(method: BalanceMethod) -> None:
    endpoints = ends(1, 1, 1)
    endpoints[0].in_flight = 300
    got = counts(Pool(Balancing(method=method), endpoints), 600, busy=True)
    total = [e.in_flight for e in endpoints]
    assert max(total) - min(total) <= (1 if method is BalanceMethod.LEAST_IN_FLIGHT else 30), (got, total)


@pytest.mark.parametrize("number", [2, 5, 30])
def test_by_hash_only_the_keys_of_what_is_gone_move(number: int) -> None:
    endpoints = ends(*[1] * number)
    keys = [b"key-%d" % n for n in range(2000)]
    before = Pool(Balancing(method=BalanceMethod.HASH), endpoints)
    after = Pool(Balancing(method=BalanceMethod.HASH), endpoints[1:])

    def of(pool: Pool[End], key: bytes) -> End:
        found = pool.pick(key, random.random, 0.0)
        assert found is not None
        return found

    for key in keys:
        if of(before, key) is not endpoints[0]:
            assert of(before, key) is of(after, key)
    endpoints[0].ejected_until = 10.0  # one that is left alone moves no others either
    assert all(of(before, key) is of(after, key) for key in keys)


def test_a_new_endpoint_gets_its_share_slowly() -> None:
    for method in (BalanceMethod.TWO_CHOICES, BalanceMethod.ROUND_ROBIN):
        endpoints = ends(1, 1, 1, 1)
        endpoints[0].since = 1000.0
        pool = Pool(Balancing(method=method, slow_start_s=60.0), endpoints)
        parts = [counts(pool, 4000, now=1000.0 + age)["r0"] / 4000 for age in (0.0, 15.0, 30.0, 60.0)]
        assert parts[0] < 0.06
        assert parts[0] < parts[1] < parts[2] < parts[3]
        assert abs(parts[3] - 0.25) < 0.04


def test_near_ones_go_first_while_one_of_them_can_be_had() -> None:
    endpoints = ends(1, 1, 1)
    endpoints[0].place, endpoints[1].place, endpoints[2].place = "a", "a", "b"
    pool = Pool(Balancing(prefer="node.labels.zone"), endpoints, "a")
    assert set(counts(pool, 100)) == {"r0", "r1"}
    endpoints[0].ejected_until = endpoints[1].ejected_until = 2000.0
    assert set(counts(pool, 100)) == {"r2"}
    endpoints[2].ejected_until = 2000.0
    assert len(counts(pool, 100)) >= 1  # all are left alone: somebody is asked all the same
    assert set(counts(Pool(Balancing(prefer="node.labels.zone"), ends(1, 1), "c"), 100)) == {"r0", "r1"}


def test_a_limit_is_shared_out_between_workers() -> None:
    (one,) = ends(1)
    for workers, limit in ((1, 10), (2, 5), (3, 3), (20, 1)):
        one.in_flight = 0
        pool = Pool(Balancing(max_in_flight=10), [one], share=1 / workers)
        while pool.pick(b"", random.random, 0.0) is not None:
            one.in_flight += 1
        assert (one.in_flight, pool.is_full()) == (limit, True)


def test_what_asks_for_nothing_particular_needs_no_pool() -> None:
    assert pool_of(Balancing(), ends(1, 1), "", 1.0) is None
    assert pool_of(Balancing(max_in_flight=1), ends(1, 1), "", 1.0) is not None


STATES = st.lists(
    st.tuples(st.integers(1, 5), st.integers(0, 4), st.booleans(), st.booleans(), st.sampled_from("ab")), max_size=8
)


@given(st.sampled_from(METHODS), STATES, st.integers(0, 3), st.floats(0.0, 10.0), st.sampled_from(["", "a"]), st.randoms())
def test_who_is_full_or_was_tried_is_never_chosen_and_who_is_left_alone_only_for_want_of_others(
    method: BalanceMethod,
    states: list[tuple[int, int, bool, bool, str]],
    limit: int,
    slow_s: float,
    place: str,
    lot: random.Random,
) -> None:
    endpoints = [
        End(ReplicaId(f"r{n}"), weight, where, in_flight, 99.0 if ejected else 0.0, since=lot.uniform(-10, 10))
        for n, (weight, in_flight, ejected, _, where) in enumerate(states)
    ]
    tried = [e for e, (_, _, _, was_tried, _) in zip(endpoints, states, strict=True) if was_tried]
    pool = Pool(Balancing(method=method, max_in_flight=limit, slow_start_s=slow_s, prefer="node.hostname"), endpoints, place)
    left = [e for e in endpoints if e not in tried and not (limit and e.in_flight >= limit)]
    for _ in range(5):
        found = pool.pick(b"k", lot.random, 10.0, tried)
        assert (found is None) == (not left)
        if found is not None:
            assert found in left
            assert not found.ejected_until or all(e.ejected_until for e in left)


def balanced(port: int, *endpoints: Any, split: Split | None = None, **how: Any) -> Route:
    return dataclasses.replace(route(port, *endpoints, split=split), balancing=Balancing(**how))


def test_a_client_stays_with_its_replica_by_header_cookie_and_address() -> None:
    async def main() -> None:
        by_header, by_cookie, by_address = free_port(), free_port(), free_port()
        async with (
            rig(workers=2) as r,
            Backend(answering(b"a")) as a,
            Backend(answering(b"b")) as b,
            Backend(answering(b"c")) as c,
        ):
            all_ = [endpoint(name, backend.port) for name, backend in (("a", a), ("b", b), ("c", c))]
            way = BalanceMethod.HASH
            await r.serve(
                balanced(by_header, *all_, method=way, hash_header="X-User"),
                balanced(by_cookie, *all_, method=way, hash_cookie="user"),
                balanced(by_address, *all_, method=way),
            )
            seen = set()
            for user in range(12):
                for port, field in ((by_header, f"X-User: u{user}"), (by_cookie, f"Cookie: x=y; user=u{user}")):
                    bodies = {(await ask_once(port, headers=f"{field}\r\n"))[2] for _ in range(4)}
                    assert len(bodies) == 1
                    seen |= bodies
            assert seen == {b"a", b"b", b"c"}
            assert len({(await ask_once(by_address))[2] for _ in range(6)}) == 1

    asyncio.run(main())


def test_a_proxy_prefers_what_is_near_it() -> None:
    async def main() -> None:
        port = free_port()
        async with (
            rig("--label", "zone=a", "--node", "n1") as r,
            Backend(answering(b"near")) as near,
            Backend(answering(b"far")) as far,
        ):

            def at(name: str, backend: Backend, place: str) -> Any:
                return dataclasses.replace(endpoint(name, backend.port), place=place)

            for prefer, place in (("node.labels.zone", "a"), ("node.hostname", "n1")):
                await r.serve(balanced(port, at("a", near, place), at("b", far, "x"), prefer=prefer))
                assert {(await ask_once(port))[2] for _ in range(20)} == {b"near"}
            await near.stop()
            assert {(await ask_once(port))[2] for _ in range(5)} == {b"far"}

    asyncio.run(main())


def test_more_than_a_replica_may_have_in_flight_is_refused_at_once_and_said() -> None:
    release = asyncio.Event()

    async def held(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await answering()(reader, writer)

    async def main() -> None:
        port = free_port()
        async with rig() as r, Backend(held) as backend:
            await r.serve(balanced(port, endpoint("a", backend.port), max_in_flight=2))
            slow = [asyncio.create_task(ask_once(port)) for _ in range(2)]
            await wait_until(lambda: sum(b"GET" in c for c in backend.received) == 2, "both are in flight")
            status, headers, body = await ask_once(port)
            assert (status, headers["retry-after"]) == (503, "1")
            assert b"each of its 1 replicas has as many requests as it may (max_in_flight)" in body
            release.set()
            assert [(await task)[0] for task in slow] == [200, 200]
            assert (await ask_once(port))[0] == 200

    asyncio.run(main())


def test_a_share_of_a_canary_is_kept_whatever_the_method() -> None:
    async def main() -> None:
        port = free_port()
        async with rig() as r, Backend(answering(b"old")) as old, Backend(answering(b"new")) as new:
            ends = (endpoint("a", old.port), endpoint("b", old.port), endpoint("c", new.port))
            share = Split(share=20, replica_ids=(ReplicaId("c"),))
            for method in METHODS:
                await r.serve(balanced(port, *ends, split=share, method=method))
                got = Counter([(await ask_once(port))[2] for _ in range(50)])
                assert abs(got[b"new"] - 10) <= 2, (method, got)

    asyncio.run(main())
