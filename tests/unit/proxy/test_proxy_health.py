"""Who is left alone and for how long, and what is sent again: the pure decisions, without a clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery_proxy.health import Failure, answered_well, begin_trial, failed, release, took_connection
from rookery_proxy.resend import PER_S, SHARE, WINDOW_S, Budget, free_again, may_resend


class Seen:
    """What is kept of an endpoint."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.ejected_until = 0.0
        self.ejected_at = 0.0
        self.failures = 0
        self.ejections = 0
        self.refusing = False


def group(count: int = 4) -> list[Seen]:
    return [Seen() for _ in range(count)]


@pytest.mark.parametrize(("failure", "many"), [(Failure.REFUSED, 1), (Failure.BROKEN, 3), (Failure.GATEWAY, 5)])
def test_an_endpoint_is_ejected_after_so_many_failures_in_a_row(failure: Failure, many: int) -> None:
    seen = group()
    assert [failed(seen[0], failure, seen, 7.0) for _ in range(many)] == [False] * (many - 1) + [True]
    assert seen[0].ejected_until == 8.0


def test_a_good_answer_between_them_makes_failures_count_anew() -> None:
    seen = group()
    for _ in range(20):
        assert not failed(seen[0], Failure.BROKEN, seen, 1.0)
        assert not failed(seen[0], Failure.BROKEN, seen, 1.0)
        answered_well(seen[0], 0.5)
    assert seen[0].failures == 0


def test_gateway_errors_after_a_broken_answer_are_counted_with_it() -> None:
    seen = group()
    failures = [Failure.BROKEN, Failure.GATEWAY, Failure.GATEWAY, Failure.GATEWAY]
    assert not any(failed(seen[0], failure, seen, 0.0) for failure in failures)
    assert failed(seen[0], Failure.GATEWAY, seen, 0.0)


def test_an_endpoint_on_trial_gets_one_request_and_goes_for_longer_if_that_fails() -> None:
    seen = group()
    now = 0.0
    lengths = []
    for _ in range(3):
        failed(seen[0], Failure.BROKEN, seen, now)
    for _ in range(6):
        lengths.append(seen[0].ejected_until - now)
        now = seen[0].ejected_until
        begin_trial(seen[0], seen, now)
        assert seen[0].ejected_until > now  # the others go elsewhere meanwhile
        now += 0.1
        assert failed(seen[0], Failure.GATEWAY, seen, now)
    assert lengths == pytest.approx([1, 2, 4, 8, 10, 10])


def test_an_endpoint_is_back_at_once_when_its_trial_goes_well() -> None:
    seen = group()
    failed(seen[0], Failure.REFUSED, seen, 0.0)
    begin_trial(seen[0], seen, 1.0)
    answered_well(seen[0], 1.0)
    assert (seen[0].ejected_until, seen[0].failures, seen[0].ejections) == (0.0, 0, 0)


def test_an_answer_to_what_was_asked_before_the_ejection_proves_nothing() -> None:
    seen = group()
    failed(seen[0], Failure.REFUSED, seen, 5.0)
    answered_well(seen[0], 4.0)
    assert seen[0].ejected_until == 6.0
    answered_well(seen[0], 5.5)  # all others were tried, so it was asked all the same
    assert seen[0].ejected_until == 0.0


def test_a_connection_shows_that_one_that_refused_is_back_not_that_one_answers() -> None:
    seen = group()
    failed(seen[0], Failure.REFUSED, seen, 0.0)
    took_connection(seen[0])
    assert seen[0].ejected_until == 0.0
    for _ in range(3):
        failed(seen[0], Failure.BROKEN, seen, 0.0)
    took_connection(seen[0])
    assert seen[0].ejected_until == 1.0


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["refused", "broken", "gateway", "well", "connection", "trial"]), st.integers(0, 9), st.floats(0, 4)
    ),
    max_size=80,
)


@given(st.integers(1, 9), STEPS)
def test_never_more_than_half_are_ejected(count: int, steps: list[tuple[str, int, float]]) -> None:
    seen = group(count)
    now = 0.0
    for what, n, delay_s in steps:
        now += delay_s
        endpoint = seen[n % count]
        before = endpoint.ejected_until
        if what == "well":
            answered_well(endpoint, now)
        elif what == "connection":
            took_connection(endpoint)
        elif what == "trial":
            begin_trial(endpoint, seen, now)
        else:
            failed(endpoint, Failure[what.upper()], seen, now)
        assert 2 * sum(e.ejected_until > now for e in seen) <= count
        assert endpoint.ejected_until <= max(before, now + 10.0)


@pytest.mark.parametrize(
    ("resends", "fresh_breaks", "wanted"), [(0, 0, True), (1, 1, True), (2, 1, True), (3, 0, False), (2, 2, False)]
)
def test_a_request_is_not_handed_round_for_ever(resends: int, fresh_breaks: int, wanted: bool) -> None:
    assert may_resend(resends, fresh_breaks) == wanted


@pytest.mark.parametrize(
    ("tried", "broke", "wanted"),
    [
        ("a", "a", ("", "")),  # the only one: again
        ("ab", "ab", ("b", "b")),  # not the latest
        ("ab", "b", ("a", "")),  # the other refused
        ("rab", "ab", ("rb", "b")),
        ("rb", "b", ("r", "")),
    ],
)
def test_the_latest_that_broke_is_the_last_to_be_asked_again(tried: str, broke: str, wanted: tuple[str, str]) -> None:
    assert free_again(tuple(tried), tuple(broke)) == tuple(map(list, wanted))


def test_a_quiet_route_may_send_again_what_breaks_at_once() -> None:
    budget = Budget()
    granted = [budget.spend(0.0, 40) for _ in range(60)]
    assert sum(granted) == int(SHARE * 40 + PER_S * WINDOW_S)
    assert not budget.spend(WINDOW_S - 0.1, 40)
    assert budget.spend(WINDOW_S, 40)


def test_a_busy_route_may_send_a_fifth_of_its_requests_again() -> None:
    budget = Budget()
    requests = resent = 0
    for tick in range(600):  # a minute; 100 requests a tenth of a second, each of which breaks
        now = tick / 10
        requests += 100
        budget.mark(now, requests)
        resent += sum(budget.spend(now, requests) for _ in range(100))
    assert resent / requests == pytest.approx(SHARE, abs=0.03)


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 50), st.integers(0, 50)), max_size=60))
def test_in_no_window_is_more_resent_than_the_budget_holds(ticks: list[tuple[float, int, int]]) -> None:
    budget = Budget()
    now, requests = 0.0, 0
    arrivals: list[tuple[float, int]] = []
    spent: list[float] = []
    for delay_s, asked, broken in ticks:
        now += delay_s
        requests += asked
        arrivals.append((now, asked))
        budget.mark(now, requests)
        granted = [now for _ in range(broken) if budget.spend(now, requests)]
        spent += granted
        # The window of the requests is longer than that of the resends, by the time between two marks at most.
        asked_lately = sum(n for at, n in arrivals if at > now - WINDOW_S - 4.0)
        assert not granted or sum(at > now - WINDOW_S for at in spent) <= SHARE * asked_lately + PER_S * WINDOW_S


@given(st.lists(st.floats(0.0, 20.0), max_size=10), st.floats(0.0, 20.0))
def test_when_others_leave_no_more_than_half_stay_ejected(until: list[float], now: float) -> None:
    seen = group(len(until))
    for endpoint, ejected_until in zip(seen, until, strict=True):
        endpoint.ejected_until = ejected_until
    before = [endpoint for endpoint in seen if endpoint.ejected_until > now]
    release(seen, now)
    after = [endpoint for endpoint in seen if endpoint.ejected_until > now]
    assert len(after) == min(len(before), len(seen) // 2)
    assert all(endpoint.ejected_until == ejected for endpoint, ejected in zip(seen, until, strict=True) if endpoint in after)
