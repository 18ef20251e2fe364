"""The pure parts of a split: which side a request goes to, and what ties a client's requests together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxy_rig import endpoint, route, split
from rookery.model import RouteTable
from rookery.wire import decode, encode, from_bytes, to_bytes
from rookery_proxy.balance import Balance
from rookery_proxy.live_route import LiveRoute
from rookery_proxy.pick import pick
from rookery_proxy.split import Sides, divide, pick_side, point_of, step
from rookery_proxy.sticky import set_cookie, sticky_of, value_in
from rookery_proxy.table import build

POINTS = st.floats(0, 1, exclude_max=True)


class Load:
    def __init__(self, name: str, ejected_until: float = 0.0, in_flight: int = 0) -> None:
        self.name = name
        self.in_flight = in_flight
        self.ejected_until = ejected_until


LOADS = st.lists(
    st.builds(Load, st.just("e"), ejected_until=st.sampled_from([0.0, 5.0]), in_flight=st.integers(0, 3)), min_size=1, max_size=4
)


@given(start=POINTS, share=st.integers(1, 99))
def test_a_share_is_exact_to_within_a_few_in_every_row_of_requests(start: float, share: int) -> None:
    """The difference between the most and the least that the count was ever off is the worst of all rows within these 3,000."""
    point, off, least, most = start, 0.0, 0.0, 0.0
    for _ in range(3000):
        point = step(point)
        assert 0.0 <= point < 1.0
        off += (point < share / 100) - share / 100
        least, most = min(least, off), max(most, off)
    assert most - least < 5.0


@given(new=LOADS, old=LOADS, point=POINTS, share=st.integers(-5, 120), first=POINTS, second=POINTS, data=st.data())
def test_a_request_stays_on_its_side_while_that_can_take_it(
    new: list[Load], old: list[Load], point: float, share: int, first: float, second: float, data: st.DataObject
) -> None:
    tried = data.draw(st.lists(st.sampled_from(new + old), max_size=5, unique_by=id))
    chosen = pick_side(Sides(part=share / 100, new=new, old=old), point, first, second, 1.0, tried)
    fresh = [e for e in new + old if e not in tried]
    usable = [e for e in fresh if e.ejected_until <= 1.0]
    own = new if point * 100 < share else old
    if chosen is None:
        assert not fresh
        return
    assert chosen not in tried
    assert chosen in usable or not usable
    if len(tried) < 3 and any(e in own for e in usable):
        assert chosen in own
    if len(tried) >= 3 and any(e not in own for e in usable):
        assert chosen not in own


@given(value=st.binary(min_size=1), less=st.integers(0, 100), more=st.integers(0, 100))
def test_a_sticky_client_on_the_new_side_stays_there_while_the_share_rises(value: bytes, less: int, more: int) -> None:
    less, more = sorted((less, more))
    point = point_of(value, b"salt")
    assert 0.0 <= point < 1.0
    assert point == point_of(value, b"salt")
    if point < less / 100:
        assert point < more / 100


def test_points_of_sticky_values_are_the_same_everywhere_and_spread() -> None:
    """The first is fixed: proxies of two versions beside each other must agree."""
    web, api = (
        served(route(80, endpoint("a", 1), endpoint("b", 2), name=f"shop/{s}", split=split(5, "a"))) for s in ("web", "api")
    )
    assert web.sides is not None
    assert api.sides is not None
    assert point_of(b"user-1", web.sides.salt) == pytest.approx(0.42202962)
    points = [point_of(b"user-%d" % n, web.sides.salt) for n in range(10_000)]
    for share in (1, 5, 25, 50):
        assert abs(sum(point < share / 100 for point in points) - share * 100) < 150
    others = [point_of(b"user-%d" % n, api.sides.salt) for n in range(10_000)]
    assert 350 < sum(a < 0.2 and b < 0.2 for a, b in zip(points, others, strict=True)) < 450  # not the same ones again


@pytest.mark.parametrize(
    ("endpoints", "wanted"),
    [
        (("a", "b", "c"), (["a"], ["b", "c"])),
        (("b", "c"), None),  # no endpoint is of the new revision
        (("a",), None),  # all are
        ((), None),
    ],
)
def test_sides_are_what_the_endpoints_are(endpoints: tuple[str, ...], wanted: tuple[list[str], list[str]] | None) -> None:
    sides = divide(route(80, split=split(5, "a", "gone", "a")), [endpoint(name, 1) for name in endpoints])
    assert wanted == (sides and ([e.replica_id for e in sides.new], [e.replica_id for e in sides.old]))
    assert divide(route(80), [endpoint(name, 1) for name in endpoints]) is None


@pytest.mark.parametrize(("share", "wanted"), [(-2147483648, "old"), (0, "old"), (100, "new"), (2147483647, "new")])
def test_a_share_beyond_its_bounds_is_none_or_all(share: int, wanted: str) -> None:
    live = served(route(80, endpoint("old", 1), endpoint("new", 2), split=split(share, "new")))
    assert {chosen.replica_id for _ in range(200) if (chosen := live.choose_at(live.draw(), 0.0))} == {wanted}


def test_a_side_that_is_ejected_or_tried_gives_its_requests_to_the_other() -> None:
    live = served(route(80, endpoint("old", 1), endpoint("new", 2), split=split(50, "new")))
    old, new = live.endpoints
    live.connect_failed(new, 0.0)
    assert live.choose_at(0.1, 0.5) is old
    assert live.choose_at(0.1, 1.0) is new
    assert live.choose_at(0.1, 1.0, [new]) is old
    assert live.choose_at(0.9, 1.0, [old]) is new
    assert live.choose_at(0.9, 1.0, [old, new]) is None


def test_a_large_side_that_is_gone_does_not_use_up_all_tries() -> None:
    """Twenty that refuse, and never more than half are ejected: the fourth try goes to the other side."""
    new = [endpoint(f"n{n}", 100 + n) for n in range(20)]
    live = served(route(80, endpoint("old", 1), *new, split=split(99, *(f"n{n}" for n in range(20)))))
    for _ in range(100):
        tried = []
        while (chosen := live.choose_at(0.5, 0.0, tried)) and chosen.replica_id != "old":
            live.connect_failed(chosen, 0.0)
            tried.append(chosen)
        assert len(tried) == (3 if len(tried) else 0)


def test_a_table_update_moves_the_sides_and_keeps_what_is_in_flight() -> None:
    balance = Balance()
    old, new = endpoint("old", 1), endpoint("new", 2)
    balance.apply(build(RouteTable(version=1, routes=(route(80, old, new, split=split(5, "new")),))))
    (live,) = balance.routes.values()
    busy = live.choose_at(0.01, 0.0)
    assert busy is not None
    assert busy.replica_id == "new"
    busy.in_flight += 1
    drawn = live.draw()
    for version, share in ((2, 25), (3, 50)):
        balance.apply(build(RouteTable(version=version, routes=(route(80, old, new, split=split(share, "new")),))))
        assert live.sides is not None
        assert (live.sides.part, list(live.sides.new)) == (share / 100, [busy])
    assert live.point == drawn  # the sequence goes on
    balance.apply(build(RouteTable(version=4, routes=(route(80, old, new),))))
    assert live.sides is None
    assert {chosen.replica_id for _ in range(100) if (chosen := live.choose_at(0.01, 0.0))} == {"old"}  # the emptier
    balance.apply(build(RouteTable(version=5, routes=(route(80, old, split=split(50, "new")),))))
    assert live.sides is None
    assert busy.gone
    assert [(s.replica_id, s.in_flight) for s in balance.figures().endpoints] == [("new", 1)]  # the other one was never asked


def test_a_route_without_a_split_is_picked_from_as_ever() -> None:
    live = served(route(80, endpoint("a", 1), endpoint("b", 2), endpoint("c", 3)))
    for first, second in ((0.1, 0.9), (0.5, 0.5), (0.99, 0.0)):
        for choose in (lambda: live.choose(0.0), lambda: live.choose_at(0.5, 0.0)):
            numbers = iter([first, second])
            live.random = lambda numbers=numbers: next(numbers)  # type: ignore[misc]
            assert choose() is pick(live.endpoints, first, second, 0.0)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        (b"Host: x\r\n", b""),
        (b"X-User: ann\r\nHost: x\r\n", b"ann"),
        (b"Host: x\r\nx-user:\t ann b \r\n", b"ann b"),
        (b"X-User: ann\r\nX-User: bob\r\n", b"ann"),
        (b"X-User:\r\nCookie: side=c\r\n", b"c"),
        (b"X-User: ann\r\nCookie: side=c\r\n", b"ann"),
        (b"X-Users: ann\r\nNot-X-User: bob\r\nA: x-user:carl\r\n", b""),
        (b"Cookie: side=c1\r\n", b"c1"),
        (b"cookie:side=c1\r\n", b"c1"),
        (b"Cookie: a=b; side=c1; c=d\r\n", b"c1"),
        (b"Cookie: a=b;side=c1;c=d\r\n", b"c1"),
        (b'Cookie: side="c1"\r\n', b"c1"),
        (b"Cookie: side=c=1==\r\n", b"c=1=="),
        (b"Cookie: a=b\r\nCookie: side=c1\r\n", b"c1"),
        (b"Cookie: side=first; side=second\r\n", b"first"),
        (b"Cookie: side=; side=c1\r\n", b"c1"),
        (b"Cookie: side\r\n", b""),
        (b"Cookie: SIDE=c1; xside=c2; side2=c3\r\n", b""),
        (b"Cookie: a=side=c1\r\n", b""),
        (b'Cookie: side="c1\r\n', b""),
        (b"Cookie: side=c 1\r\n", b""),
        (b"Cookie: side=c\xff1\r\n", b""),
        (b"Cookie: side = c1\r\n", b""),
        (b"Cookie2: side=c1\r\nSet-Cookie: side=c1\r\n", b""),
    ],
)
def test_the_sticky_value_of_a_request(fields: bytes, wanted: bytes) -> None:
    sticky = sticky_of(split(5, header="X-User", cookie="side"))
    assert sticky is not None
    assert value_in(sticky, fields + b"\r\n") == wanted


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nX-Evil: 1", "a;b", "a=b", "ä", "\ud800", "a,b", "a\n"])
def test_a_name_that_is_no_token_is_passed_over(name: str) -> None:
    assert sticky_of(split(5, header=name, cookie=name)) is None
    kept = sticky_of(split(5, header=name, cookie="good"))
    assert kept is not None
    assert (kept.header, kept.cookie) == (None, b"good")


@pytest.mark.parametrize(
    ("lines", "given"),
    [
        (b"\r\n", True),
        (b"\r\nSet-Cookie: other=1\r\n", True),
        (b"\r\nSet-Cookie: a.side=1\r\nX: side=2\r\n", True),
        (b"\r\nSet-Cookie: side=1\r\n", False),
        (b"\r\nA: b\r\nset-cookie:side=; Max-Age=0\r\n", False),
    ],
)
def test_a_cookie_is_not_given_where_the_endpoint_gives_it(lines: bytes, given: bool) -> None:
    wanted = b"Set-Cookie: side=abc; Path=/; HttpOnly; SameSite=Lax\r\n" if given else b""
    assert set_cookie(b"side=abc", lines) == wanted


def test_a_split_survives_the_wire() -> None:
    held = route(80, endpoint("a", 1), split=split(25, "a", "b", cookie="side", header="X-User"))
    assert decode(type(held), encode(held)) == held
    table = RouteTable(version=3, routes=(held, route(81)))
    assert from_bytes(RouteTable, to_bytes(table)) == table


def served(held: object) -> LiveRoute:
    balance = Balance()
    balance.apply(build(RouteTable(version=1, routes=(held,))))  # type: ignore[arg-type]
    (live,) = balance.routes.values()
    return live
