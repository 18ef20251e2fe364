"""Two revisions side by side, as tables: a view in, actions with their whys out."""

from dataclasses import replace

import pytest
from rollout_views import NOW, old, planned, replica, spec, view
from rookery.model import Availability, BlueGreen, Desired, NodeId, ReplicaId, ReplicaState, Rolling, RolloutState, UpdateConfig
from rookery_manager.planners.service import plan_service
from rookery_manager.planners.view import NodeBrief

TRIED = "revision 2 of shop/web is tried beside 1"
IN_FORCE = {"share": 25, "step_at": NOW - 10}


def test_a_canary_begins_with_its_part_of_the_places() -> None:
    plan = plan_service(view(*old(4)), NOW)
    assert planned(view(*old(4))) == [f"create 1 of 2: {TRIED}"]
    assert plan.waits_for == "0 of 1 new replicas are ready and stayed so for 5 s (canary at 25 %)"


def test_no_old_one_goes_while_the_steps_last() -> None:
    assert planned(view(*old(4), replica(1, 2), **IN_FORCE)) == []
    new = [replica(n, 2) for n in range(1, 5)]
    assert planned(view(*old(4), *new, share=100, step=2, step_at=NOW - 10)) == []


def test_blue_green_has_all_new_ones_beside_the_old() -> None:
    specs = {1: spec("web:1"), 2: spec("web:2", BlueGreen())}
    assert planned(view(*old(2), wanted=2, specs=specs)) == [f"create 1 of 2: {TRIED}", f"create 2 of 2: {TRIED}"]


def test_scaled_up_in_a_canary_both_sides_grow() -> None:
    assert planned(view(*old(4), replica(1, 2), wanted=6, **IN_FORCE)) == [
        "create 5 of 1: 6 replicas of shop/web are wanted",
        "create 6 of 1: 6 replicas of shop/web are wanted",
        f"create 2 of 2: {TRIED}",
    ]


def test_scaled_down_in_a_canary_the_places_go_with_all_that_is_in_them() -> None:
    assert planned(view(*old(4), replica(1, 2), wanted=3, **IN_FORCE)) == ["drain r4v1: 3 replicas of shop/web are wanted, not 4"]


def test_a_drained_node_is_left_by_both_sides_start_first() -> None:
    drained = {"n1": NodeBrief(id=NodeId("n1"), name="n1", availability=Availability.DRAINED)}
    assert planned(view(*old(4), replica(1, 2), nodes=drained, **IN_FORCE)) == [
        "create 1 of 1: takes the place of shop/web.1: node n1 is drained",
        "create 1 of 2: takes the place of shop/web.1: node n1 is drained",
    ]


def test_an_old_one_that_is_lost_is_made_again_until_no_requests_go_to_it() -> None:
    lost = replica(1, 1, ready=False, state=ReplicaState.LOST, why="node n1 was lost: silent for 3.1 s")
    rest = old(4)[1:]
    why = "takes the place of one that ended: node n1 was lost: silent for 3.1 s"
    assert planned(view(lost, *rest, replica(1, 2, ready=False), step=0)) == [f"create 1 of 1: {why}"]
    new = [replica(n, 2) for n in range(1, 5)]
    assert planned(view(lost, *rest, *new, share=100, step=2, step_at=NOW - 10)) == []


def test_with_no_room_a_canary_takes_the_place_of_an_old_one() -> None:
    pending = replica(1, 2, ready=False, state=ReplicaState.PENDING, node_id=NodeId(""), why="no node fits: …")
    tight = replace(view(*old(4), pending), in_the_way=frozenset({ReplicaId("r1v1")}))
    assert planned(tight) == ["drain r1v1: revision 1 of shop/web is replaced by 2, and no node has room for both"]
    going = replica(1, 1, ready=False, state=ReplicaState.DRAINING, desired=Desired.STOP)
    # No other one is made in its place.
    assert planned(replace(tight, replicas=(going, *old(4)[1:], pending))) == ["stop r1v1: "]
    waits = {1: spec("web:1"), 2: spec("web:2", update=UpdateConfig(waits_for_room=True))}
    assert planned(replace(tight, specs=waits)) == []


def test_blue_green_never_gives_up_an_old_one_for_room() -> None:
    pending = replica(1, 2, ready=False, state=ReplicaState.PENDING, node_id=NodeId(""), why="no node fits: …")
    specs = {1: spec("web:1"), 2: spec("web:2", BlueGreen())}
    tight = replace(view(*old(1), pending, wanted=1, specs=specs), in_the_way=frozenset({ReplicaId("r1v1")}))
    assert planned(tight) == []


def test_a_paused_canary_opens_no_place_and_keeps_up_what_is_there() -> None:
    paused = {"state": RolloutState.PAUSED, **IN_FORCE}
    lost = replica(2, 1, ready=False, state=ReplicaState.LOST, why="its node was lost")
    assert planned(view(*old(4), wanted=4, state=RolloutState.PAUSED)) == []
    assert planned(view(replica(1, 1), lost, replica(3, 1), replica(4, 1), replica(1, 2), **paused)) == [
        "create 2 of 1: takes the place of one that ended: its node was lost"
    ]


class TestHeld:
    """An update waits for what the service depends on."""

    @pytest.mark.parametrize("state", [RolloutState.ROLLING, RolloutState.PAUSED])
    @pytest.mark.parametrize("strategy", [Rolling(), BlueGreen()])
    def test_the_old_revision_is_kept_up_meanwhile(self, strategy: object, state: RolloutState) -> None:
        specs = {1: spec("web:1", strategy), 2: spec("web:2", strategy)}
        lost = replica(2, 1, ready=False, state=ReplicaState.LOST, why="its node was lost")
        held = replace(view(replica(1, 1), lost, specs=specs, wanted=2, state=state), unmet="shop/db to be healthy")
        assert planned(held) == ["create 2 of 1: takes the place of one that ended: its node was lost"]
        assert plan_service(held, NOW).waits_for


BACK_TO_1 = {"before": 1, "after": 3, "started_at": NOW - 5}


class TestOvertaken:
    """What a rollout left that another one overtook."""

    def specs(self) -> dict[int, object]:
        return {1: spec("web:1"), 2: spec("web:2", Rolling()), 3: spec("web:3")}

    def test_what_serves_alone_in_its_place_stays_until_the_old_revision_is_there_again(self) -> None:
        half = (replica(1, 2), replica(2, 2), replica(3, 1), replica(4, 1))
        of = view(*half, specs=self.specs(), revision=3, **BACK_TO_1)  # type: ignore[arg-type]
        assert planned(of) == ["create 1 of 1: revision 2 of shop/web is replaced by 1"]
        back = replica(1, 1, created_at=NOW - 10, ready_at=NOW - 2)
        assert planned(replace(of, replicas=(*half, back))) == ["create 2 of 1: revision 2 of shop/web is replaced by 1"]
        settled = replace(back, ready_at=NOW - 5)
        assert planned(replace(of, replicas=(*half, settled))) == [
            "drain r1v2: revision 2 of shop/web is replaced by 1",
            "create 2 of 1: revision 2 of shop/web is replaced by 1",
        ]

    def test_a_canary_beside_the_old_one_goes_at_once(self) -> None:
        of = view(*old(4), replica(1, 2), specs=self.specs(), revision=3, **BACK_TO_1)  # type: ignore[arg-type]
        assert planned(of) == ["drain r1v2: revision 2 of shop/web is replaced by 1"]

    def test_where_the_old_revision_fails_the_new_one_is_tried_beside_what_serves(self) -> None:
        failing = replica(1, 1, ready=False, restarts=3, created_at=NOW - 10)
        half = [replica(n, 2) for n in range(1, 5)]
        of = view(*half, failing, specs=self.specs(), revision=3, **BACK_TO_1)  # type: ignore[arg-type]
        assert planned(of) == ["create 1 of 3: revision 3 of shop/web is tried beside 1"]


def test_the_content_of_the_old_revision_again_takes_what_still_runs_of_it() -> None:
    specs = {1: spec("web:1"), 2: spec("web:2"), 3: spec("web:1")}
    of = view(*old(4), replica(1, 2), specs=specs, revision=3, before=1, after=3, started_at=NOW - 1)
    adopted = [f"adopt r{n}v1 into 3" for n in range(1, 5)]
    assert planned(of) == [*adopted, "drain r1v2: revision 2 of shop/web is replaced by 3"]
