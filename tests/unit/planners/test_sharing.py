"""Which ready replicas get requests, as tables."""

import pytest
from rollout_views import CANARY, STARTED, old, replica, spec, view
from rookery.model import BlueGreen, Canary, Rolling, RolloutState
from rookery_manager.planners.sharing import is_shared, served, strategy_of
from rookery_manager.planners.view import ServiceView

ROLLING, PAUSED, BACK = RolloutState.ROLLING, RolloutState.PAUSED, RolloutState.ROLLING_BACK


def told(of: ServiceView) -> str:
    """The replicas that are served, and behind a bar those that have a share of their own."""
    found = served(of.service, of.specs, [r for r in of.replicas if r.ready])
    apart = found.split.replica_ids if found.split else ()
    rest = " ".join(r.id for r in found.replicas if r.id not in apart)
    return f"{rest} | {' '.join(apart)} {found.split.share} %" if found.split else rest


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0, "r1v1 r2v1"), (25, "r1v1 r2v1 | r1v2 25 %"), (100, "r1v2")],
)
def test_the_share_is_split_off(share: int, expected: str) -> None:
    assert told(view(*old(2), replica(1, 2), share=share)) == expected


def test_an_answer_goes_before_a_share() -> None:
    assert told(view(replica(1, 2), replica(2, 1, ready=False), share=25)) == "r1v2"
    assert told(view(*old(2), replica(1, 2, ready=False), share=100)) == "r1v1 r2v1"
    assert told(view(replica(1, 2), replica(2, 2), share=0)) == "r1v2 r2v2"


def test_clients_stick_as_the_strategy_says() -> None:
    specs = {1: spec("web:1"), 2: spec("web:2", Canary(sticky_cookie="side"))}
    of = view(*old(2), replica(1, 2), specs=specs, share=5)
    split = served(of.service, of.specs, of.replicas).split
    assert split is not None
    assert (split.sticky_cookie, split.sticky_header) == ("side", "")


@pytest.mark.parametrize(
    ("state", "revision", "expected"),
    [
        (PAUSED, 2, "r1v1 r2v1 | r1v2 25 %"),
        (BACK, 1, "r1v1 r2v1"),
        (RolloutState.ROLLED_BACK, 1, "r1v1 r2v1"),
        (RolloutState.DONE, 2, "r1v2"),
    ],
)
def test_what_is_left_gets_none_once_it_is_over(state: RolloutState, revision: int, expected: str) -> None:
    assert told(view(*old(2), replica(1, 2), state=state, revision=revision, share=25)) == expected


def test_on_the_way_back_what_is_neither_still_serves() -> None:
    """A restart, or a rollout that was overtaken, may have left what is no longer wanted, and is not what failed either."""
    half = (replica(1, 1), replica(2, 1, created_at=300.0), replica(1, 2))
    assert told(view(*half, state=BACK, revision=1, restarted_at=200.0)) == "r1v1 r2v1"


def test_on_the_way_back_from_the_same_content_all_serve() -> None:
    specs = {1: spec("web:1"), 2: spec("web:1"), 3: spec("web:3")}
    assert told(view(*old(2), replica(3, 3), specs=specs, state=BACK, revision=1)) == "r1v1 r2v1 r3v3"


def test_all_serve_in_what_goes_replica_by_replica() -> None:
    rolling = {1: spec("web:1"), 2: spec("web:2", Rolling())}
    assert told(view(replica(1, 1), replica(2, 2), specs=rolling)) == "r1v1 r2v2"
    returned = view(replica(1, 1), replica(2, 2), before=2, after=1, revision=1)
    assert told(returned) == "r1v1 r2v2"
    restarted = view(replica(1, 2), replica(2, 2, created_at=100.0), before=2, restarted_at=STARTED)
    assert told(restarted) == "r1v2 r2v2"


def test_what_was_there_before_the_rollout_serves_with_the_old_ones_where_it_is_alone() -> None:
    early = replica(3, 2, created_at=STARTED - 10)  # of the same content, left by a rollout that was overtaken
    assert told(view(*old(2), replica(1, 2), early, share=25)) == "r1v1 r2v1 r3v2 | r1v2 25 %"
    stranger = replica(3, 3, created_at=STARTED - 10)
    assert told(view(*old(2), stranger, share=0)) == "r1v1 r2v1 r3v3"
    beside = replica(2, 3, created_at=STARTED - 10)
    assert told(view(*old(2), beside, share=0)) == "r1v1 r2v1"
    assert told(view(*old(2), early, share=25)) == "r1v1 r2v1 r3v2"


def test_new_settings_change_the_steps_and_never_take_a_side_away() -> None:
    def strategies(began: object, now: object) -> ServiceView:
        return view(*old(1), specs={1: spec("web:1"), 2: spec("web:2", began), 3: spec("web:2", now)}, revision=3)

    other, blue_green = Canary(steps=(10, 100)), BlueGreen()
    for began, now, expected in [
        (CANARY, other, other),
        (CANARY, blue_green, blue_green),
        (CANARY, Rolling(), CANARY),
        (Rolling(), CANARY, Rolling()),
    ]:
        of = strategies(began, now)
        assert strategy_of(of.service, of.specs) == expected
        assert is_shared(of.service, of.specs) is not isinstance(expected, Rolling)


def test_there_are_two_sides_only_on_the_way_forward_between_two_contents() -> None:
    def shared(**changes: object) -> bool:
        of = view(*old(1), **changes)  # type: ignore[arg-type]
        return is_shared(of.service, of.specs)

    assert shared()
    assert shared(state=PAUSED)
    assert not shared(state=PAUSED, paused_in=BACK)
    assert not shared(state=BACK)
    assert not shared(before=2, after=1, revision=1)
    assert not shared(before=2)
    assert not shared(specs={1: spec("web:1"), 2: spec("web:1")})
    assert not shared(specs={2: spec("web:2")})
