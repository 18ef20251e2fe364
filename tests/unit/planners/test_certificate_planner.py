"""When a certificate is ordered, proven, renewed and tried again: tables, and any life that one may have."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery.model import AcmeChallenge, AcmeOrder, ManagedCertificate
from rookery_manager.acme.settings import AcmeSettings
from rookery_manager.planners.certificate import (
    FIRST_AWAY_S,
    FIRST_REFUSED_S,
    LONGEST_AWAY_S,
    LONGEST_REFUSED_S,
    OFF,
    ORDER_S,
    SERVE_S,
    Answer,
    AskRenewal,
    Begin,
    CertificateView,
    Forget,
    GiveUp,
    Idle,
    Look,
    Step,
    advised,
    answered,
    begun,
    challenged,
    failed,
    issued,
    plan_certificate,
    trouble,
)

NOW = 1_000_000.0
DAY = 86_400.0
CA, OTHER = "https://ca.example/dir", "https://other.example/dir"
HERE = AcmeSettings(directory=CA)
CHALLENGE = AcmeChallenge(url=f"{CA}/c", token="t", key_authorization="t.k")
ORDER = AcmeOrder(directory=CA, url=f"{CA}/o", key_digest="k", began_at=NOW)
NONE = ManagedCertificate(host="shop.example.org")
VALID = replace(NONE, digest="d", directory=CA, tried=CA, issuer="CA", expires_at=NOW + 30 * DAY, renew_at=NOW + DAY)
ORDERED = replace(NONE, order=ORDER, tried=CA)
CHALLENGED = replace(ORDERED, order=replace(ORDER, challenge=CHALLENGE))
ASKED = replace(ORDERED, order=replace(ORDER, challenge=replace(CHALLENGE, asked_at=NOW)))


def view(certificate: ManagedCertificate | None = None, **fields: object) -> CertificateView:
    made = CertificateView(host="shop.example.org", certificate=certificate, services=("shop/web",), settings=HERE)
    return replace(made, **fields)  # type: ignore[arg-type]


TOLD_OTHERWISE = GiveUp(why=f"the manager was told to ask {CA} instead", failed=False)
NO_END = GiveUp(why="the authority did not come to an end with it in 24 h")
LOCKED = "this manager is locked"
NO_PROXY = "no proxy is connected"
SLOW = "proxy p1 has not acknowledged version 7"


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        # Whether anything is asked at all.
        (view(), Begin(why="ordered: there is none yet")),
        (view(settings=None), Idle(waits_for=OFF)),
        (view(locked=LOCKED), Idle(waits_for=LOCKED)),
        (view(no_proxy=NO_PROXY), Idle(waits_for=NO_PROXY)),
        (view(CHALLENGED, locked=LOCKED), Idle(waits_for=LOCKED)),
        # Renewal.
        (view(VALID), Idle(wake_at=VALID.renew_at)),
        (view(replace(VALID, renew_at=NOW)), Begin(why="ordered anew: it ends in 30 days")),
        (view(replace(VALID, renew_at=NOW, expires_at=NOW)), Begin(why="ordered anew: it has expired")),
        (view(replace(VALID, renew_at=NOW), locked=LOCKED), Idle(waits_for=LOCKED)),
        (view(replace(VALID, directory=OTHER)), Begin(why=f"ordered anew: {CA} is asked from now on")),
        (view(replace(VALID, ask_at=NOW)), AskRenewal()),
        (view(replace(VALID, ask_at=NOW + 60)), Idle(wake_at=NOW + 60)),
        (view(replace(VALID, ask_at=NOW, directory=OTHER)), Begin(why=f"ordered anew: {CA} is asked from now on")),
        (view(replace(VALID, ask_at=NOW, renew_at=NOW, retry_at=NOW + 5)), Idle(wake_at=NOW + 5)),
        # After a failure.
        (view(replace(NONE, tried=CA, retry_at=NOW + 5)), Idle(wake_at=NOW + 5)),
        (view(replace(NONE, tried=CA, retry_at=NOW)), Begin(why="ordered: there is none yet")),
        (view(replace(NONE, tried=OTHER, retry_at=NOW + 5)), Begin(why="ordered: there is none yet")),
        (view(replace(VALID, renew_at=NOW, retry_at=NOW + 5)), Idle(wake_at=NOW + 5)),
        # An order goes on where it was.
        (view(ORDERED), Look()),
        (view(ORDERED, look_at=NOW + 1), Idle(wake_at=NOW + 1)),
        (view(replace(ORDERED, retry_at=NOW + 9)), Idle(wake_at=NOW + 9)),
        (view(CHALLENGED), Answer(challenge=CHALLENGE)),
        (view(CHALLENGED, unserved=SLOW), Idle(wake_at=NOW + SERVE_S, waits_for=SLOW)),
        (view(ASKED), Look()),
        (view(ASKED, unserved=SLOW), Look()),
        (view(replace(VALID, order=ORDER)), Look()),
        # An order that leads nowhere.
        (view(replace(ORDERED, order=replace(ORDER, directory=OTHER))), TOLD_OTHERWISE),
        (view(replace(ORDERED, order=replace(ORDER, began_at=NOW - ORDER_S))), NO_END),
        # Nobody wants it.
        (view(services=()), Idle()),
        (view(VALID, services=()), Idle(wake_at=VALID.expires_at)),
        (view(ORDERED, services=()), GiveUp(why="no route asks for it any more", failed=False)),
        (view(replace(VALID, expires_at=NOW), services=()), Forget(why="no route asks for it any more")),
        (view(NONE, services=()), Forget(why="no route asks for it any more")),
        (view(VALID, services=(), settings=None), Idle(wake_at=VALID.expires_at)),
    ],
)  # fmt: skip
def test_what_is_to_be_done(seen: CertificateView, expected: Step) -> None:
    assert plan_certificate(seen, NOW) == expected


def test_proxies_that_do_not_serve_a_challenge_are_waited_for_and_named() -> None:
    stuck = view(CHALLENGED, unserved=SLOW)
    assert plan_certificate(stuck, NOW + SERVE_S) == GiveUp(why=f"the challenge could not be answered: {SLOW}")
    # A manager that was away meanwhile gives them the time anew.
    later = replace(stuck, started_at=NOW + 10 * SERVE_S)
    assert plan_certificate(later, NOW + 10 * SERVE_S) == Idle(wake_at=NOW + 11 * SERVE_S, waits_for=SLOW)


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (view(VALID), ""),
        (view(replace(VALID, order=ORDER)), ""),
        (view(), "there is none yet"),
        (view(ORDERED), "there is none yet; it is on its way"),
        (view(no_proxy=NO_PROXY), f"there is none yet; {NO_PROXY}"),
        (view(settings=None), f"there is none yet; {OFF}"),
        (view(replace(NONE, fault="no", tried=CA, retry_at=NOW + 90)), "there is none yet; no; tried again in 90 s"),
        (view(replace(VALID, fault="no", renew_at=NOW, retry_at=NOW + 600)), "not renewed: no; tried again in 10 min"),
        (view(replace(VALID, renew_at=NOW), locked=LOCKED), f"not renewed: {LOCKED}"),
        (view(VALID, locked=LOCKED), ""),
        (view(replace(VALID, expires_at=NOW - 1, renew_at=NOW - 2), locked=LOCKED), f"it has expired; {LOCKED}"),
        (view(VALID, services=()), ""),
    ],
)
def test_what_is_said_of_it(seen: CertificateView, said: str) -> None:
    assert trouble(seen, NOW) == said


def test_failures_make_the_waits_longer_and_a_certificate_stays() -> None:
    waits, known = [], replace(VALID, order=ORDER)
    for _ in range(12):
        known = failed(known, "no", NOW, directory=CA)
        waits.append(known.retry_at - NOW)
    assert waits[:4] == [FIRST_REFUSED_S * 3**n for n in range(4)]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_REFUSED_S
    assert (known.digest, known.order, known.failures) == (VALID.digest, None, 12)


def test_an_authority_that_is_away_is_asked_sooner_and_the_order_goes_on() -> None:
    known = failed(replace(VALID, order=ORDER), "away", NOW, directory=CA, away=True, over=False)
    assert (known.retry_at - NOW, known.order) == (FIRST_AWAY_S, ORDER)
    for _ in range(12):
        known = failed(known, "away", NOW, directory=CA, away=True, over=False)
    assert known.retry_at - NOW == LONGEST_AWAY_S
    assert failed(known, "no", NOW, directory=CA).retry_at - NOW == FIRST_REFUSED_S
    assert failed(known, "no", NOW, directory=OTHER).failures == 1


def test_what_an_authority_asks_for_is_waited_for() -> None:
    assert failed(NONE, "rate limited", NOW, directory=CA, wait_s=7200.0).retry_at == NOW + 7200.0
    assert failed(NONE, "rate limited", NOW, directory=CA, wait_s=1.0).retry_at == NOW + FIRST_REFUSED_S


def test_renewal_comes_after_two_thirds_of_its_life_or_when_the_authority_says_so_sooner() -> None:
    got = issued(ASKED, digest="d", issuer="CA", begins_at=NOW, expires_at=NOW + 90, ask_at=NOW, now=NOW)
    assert (got.renew_at, got.failures, got.order) == (NOW + 60, 0, None)
    assert advised(got, NOW + 10, NOW + 5).renew_at == NOW + 10
    assert advised(got, NOW + 80, NOW + 5).renew_at == NOW + 60
    assert advised(got, None, NOW + 5) == replace(got, ask_at=NOW + 5)


ANSWERS = st.sampled_from(["well", "working", "refused", "away", "limited"])


@given(
    answers=st.lists(ANSWERS, max_size=60),
    pauses=st.lists(st.floats(0.0, 40 * DAY), min_size=60, max_size=60),
    life_s=st.floats(60.0, 90 * DAY),
)
def test_any_life(answers: list[str], pauses: list[float], life_s: float) -> None:
    """Whatever an authority answers: nobody is asked in a pause, an order is one until it was refused, what is valid stays; and
    an authority that answers well again is had a certificate of."""
    known, now = NONE, NOW
    for answer, pause_s in zip(answers, pauses, strict=False):
        now += pause_s
        before, (known, asked) = known, step(known, now, answer, life_s)
        if asked:
            assert now >= before.retry_at
        if before.digest and before.expires_at > now:
            assert known.digest
            assert known.expires_at >= before.expires_at
        if before.order is not None and known.order is not None:
            assert known.order.url == before.order.url
        if asked and known.failures > before.failures:
            assert known.retry_at > now
    now = max(now, known.retry_at)
    for _ in range(12):
        now += 1.0
        known, _ = step(known, now, "well", life_s)
    assert known.digest
    assert now < known.expires_at
    assert not known.fault


def step(known: ManagedCertificate, now: float, answer: str, life_s: float) -> tuple[ManagedCertificate, bool]:
    """What becomes of it by a step that is answered so, and whether the authority was asked."""
    todo = plan_certificate(view(known), now)
    match todo:
        case Idle():
            return known, False
        case GiveUp():
            return failed(known, todo.why, now, directory=CA), False
        case _ if answer == "away":
            return failed(known, "away", now, directory=CA, away=True, over=False), True
        case _ if answer == "limited":
            return failed(known, "limited", now, directory=CA, wait_s=3600.0, over=False), True
        case _ if answer == "refused":
            return failed(known, "no", now, directory=CA), True
        case Begin():
            return begun(known, replace(ORDER, url=f"{CA}/o/{now}", began_at=now)), True
        case Answer():
            return answered(known, now), True
        case Look() if answer == "working":
            return known, True
        case Look() if known.order is not None and known.order.challenge is None:
            return challenged(known, CHALLENGE), True
        case AskRenewal():
            return advised(known, None, now + 21_600.0), True
    return issued(known, digest="d", issuer="CA", begins_at=now, expires_at=now + life_s, ask_at=now, now=now), True
