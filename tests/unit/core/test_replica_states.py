"""The one table of legal moves."""

from rookery.model import TRANSITIONS, ReplicaState, can_move, is_ended

ORDER = list(ReplicaState)


def test_a_replica_never_goes_back() -> None:
    for before, after in TRANSITIONS:
        assert ORDER.index(after) > ORDER.index(before)


def test_nothing_follows_an_end() -> None:
    assert not [move for move in TRANSITIONS if is_ended(move[0])]


def test_every_state_is_reached_and_every_open_one_is_left() -> None:
    assert {after for _, after in TRANSITIONS} == set(ReplicaState) - {ReplicaState.PENDING}
    assert {before for before, _ in TRANSITIONS} == {state for state in ReplicaState if not is_ended(state)}


def test_every_move_has_its_reason() -> None:
    assert all(move.why and move.by in {"manager", "agent"} for move in TRANSITIONS.values())


def test_a_running_replica_that_was_routed_to_drains_before_it_stops() -> None:
    assert can_move(ReplicaState.RUNNING, ReplicaState.DRAINING)
    assert not can_move(ReplicaState.DRAINING, ReplicaState.RUNNING)
