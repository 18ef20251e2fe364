"""What a pool wants, and the sentences that say why."""

from dataclasses import replace

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from pool_world import STEP_S, PoolWorld
from rookery.model import Availability, MemberState, NodeId, NodeState, PoolSpec, ProviderKind, Resources
from rookery_manager.planners import pool_room
from rookery_manager.planners.pool import DRAIN_TIMEOUT_S, plan_pool
from rookery_manager.planners.pool_room import Load, removable

SPEC = PoolSpec(provider=ProviderKind.COMMAND, min=1, max=6, size=Resources(cpus=4.0), command=("/x",), shrink_after_s=60.0)
ENOUGH = 60  # turns in which anything comes to its end


def world(**changes: object) -> PoolWorld:
    made = PoolWorld(replace(SPEC, **changes))  # type: ignore[arg-type]
    made.turns(10)
    return made


def states(world: PoolWorld) -> list[MemberState]:
    assert world.pool is not None
    return [member.state for member in world.pool.members]


def test_it_begins_with_its_least() -> None:
    made = world(min=2)
    assert states(made) == [MemberState.JOINED] * 2
    assert made.whys == ["0 -> 2: min is 2"]


def test_it_grows_by_as_many_nodes_as_the_waiting_need() -> None:
    made = world()
    made.run(*[1.0] * 20)
    made.turns(10)
    assert made.whys[-1] == "1 -> 5: 16 replicas wait for room, about 4 fit a node"
    assert (states(made), made.pending) == ([MemberState.JOINED] * 5, 0)


def test_what_is_on_its_way_is_not_asked_for_again() -> None:
    made = world()
    made.run(*[1.0] * 8)
    made.turns(3)
    assert states(made) == [MemberState.JOINED, MemberState.JOINING]
    made.turns(1)
    assert made.counted == 2


def test_what_no_node_of_it_would_take_makes_it_no_bigger() -> None:
    made = world()
    made.run(5.0)
    made.turns(ENOUGH)
    assert (made.counted, made.pending) == (1, 1)


def test_at_its_max_it_says_so_once() -> None:
    made = world(max=2)
    made.run(*[1.0] * 20)
    made.turns(ENOUGH)
    assert made.counted == 2
    assert [w for w in made.whys if "max" in w] == ["stays at 2, which is its max, while replicas wait for room or for a spare"]


def test_it_shrinks_one_by_one_once_nodes_could_have_been_spared_for_long_enough() -> None:
    made = world()
    made.run(*[1.0] * 12)
    made.turns(10)
    assert made.counted == 3
    made.end(9)
    begun = made.now
    while not made.drained:
        made.turn()
    assert made.now - begun >= SPEC.shrink_after_s
    made.turns(ENOUGH)
    assert made.counted == 1
    assert made.whys[-2].startswith("2 -> 1: small-")


def test_a_node_with_data_stays() -> None:
    made = world()
    made.run(*[1.0] * 8)
    made.turns(10)
    view = made.view()
    node_id = NodeId("small-2")
    made.end(6)
    view = made.view()
    assert removable(view, node_id)
    assert not removable(replace(view, loads={**view.loads, node_id: Load(staying="shop/db.1 has data on it")}), node_id)


def test_a_spare_is_kept() -> None:
    made = world(spare=1)
    made.run(*[1.0] * 4)
    made.turns(ENOUGH)
    assert made.counted == 2
    assert "small-1 would have no room if that were lost (spare 1)" in made.whys[-1]
    made.end(4)
    made.turns(ENOUGH)
    assert made.counted == 1


def test_one_that_does_not_join_is_removed_and_counts() -> None:
    made = PoolWorld(replace(SPEC, join_timeout_s=10.0))
    while not made.pool or not made.pool.failures:
        made.turn()
    assert made.pool.trouble == "small-1 did not join within 10 s"
    gaps = []
    while len(gaps) < 4:
        before = made.pool.failures
        began = made.now
        while made.pool.failures == before:
            made.turn()
        gaps.append(made.now - began)
    assert gaps == sorted(gaps)
    assert gaps[-1] > 2 * gaps[0]


def test_a_node_that_stays_down_is_replaced() -> None:
    made = world(join_timeout_s=30.0)
    node = made.nodes[NodeId("small-1")]
    made.nodes[node.id] = replace(node, state=NodeState.DOWN, changed_at=made.now)
    made.turns(ENOUGH)
    assert list(made.nodes) == ["small-2"]
    assert any(why.startswith("removes small-1: its node is down for 3") for why in made.whys)


def test_a_drain_that_does_not_end_is_taken_back() -> None:
    made = world()
    made.run(*[1.0] * 8)
    made.turns(10)
    made.end(6)
    while not made.drained:
        made.turn()
    view = made.view()
    stuck = replace(view, loads={n: replace(load, left=1) for n, load in view.loads.items()})
    plan = plan_pool(stuck, made.now + DRAIN_TIMEOUT_S)
    made.act(plan.actions)
    assert made.pool is not None
    assert made.pool.regrets == 1
    assert {node.availability for node in made.nodes.values()} == {Availability.ACTIVE}


def test_a_node_that_is_drained_is_the_quickest_new_one() -> None:
    made = world()
    made.run(*[1.0] * 8)
    made.turns(10)
    made.end(6)
    while not made.drained:
        made.turn()
    made.run(*[1.0] * 6)
    view = made.view()
    full = replace(view, loads={n: replace(load, left=1) for n, load in view.loads.items()})
    made.act(plan_pool(full, made.now).actions)
    assert made.whys[-1].startswith("keeps small-")
    assert states(made) == [MemberState.JOINED] * 2


def test_what_is_over_a_lower_max_goes() -> None:
    made = world(min=3, max=3)
    assert made.pool is not None
    made.pool = replace(made.pool, spec=replace(made.pool.spec, min=1, max=1))
    made.turns(ENOUGH)
    assert made.counted == 1
    assert any(why.endswith("max is 1") for why in made.whys)


def test_a_removed_pool_drains_its_nodes_and_goes() -> None:
    made = world(min=2)
    assert made.pool is not None
    made.pool = replace(made.pool, removing=True)
    made.turns(10)
    assert (made.pool, made.nodes) == (None, {})
    assert len(made.drained) == 2


@pytest.mark.parametrize(("sizes", "count"), [([1.0] * 9, 3), ([3.0, 1.0] * 3, 3), ([2.5] * 4, 4)])
def test_how_many_nodes_replicas_fill(sizes: list[float], count: int) -> None:
    made = PoolWorld(SPEC)
    made.run(*sizes)
    assert pool_room.need(made.view(), []).nodes == count


demands = st.lists(st.tuples(st.sampled_from([0.5, 1.0, 1.5, 3.0]), st.integers(1, 8)), max_size=4)


@settings(max_examples=12, deadline=None)
@given(least=st.integers(0, 3), more=st.integers(0, 6), spare=st.integers(0, 1), phases=st.lists(demands, min_size=1, max_size=3))
def test_any_demand(least: int, more: int, spare: int, phases: list[list[tuple[float, int]]]) -> None:
    """Never outside min and max; nothing waits that another node would help; it comes to rest, and stays so."""
    made = PoolWorld(replace(SPEC, min=least, max=max(1, least + more), spare=spare))
    assert made.pool is not None
    most = made.pool.spec.max
    for phase in phases:
        made.end(len(made.at) // 2)
        for cpus, count in phase:
            made.run(*[cpus] * count)
        at_rest = 0
        for _ in range(5 * ENOUGH):
            said = len(made.whys)
            made.turn()
            assert made.counted <= most
            at_rest = at_rest + 1 if len(made.whys) == said else 0
            if at_rest == ENOUGH:
                break
        assert at_rest == ENOUGH, f"no rest: {made.whys[-4:]}"
        assert made.counted >= least
        if made.counted < most:
            assert not made.pending
            if spare:
                assert pool_room.need(made.view(), []).nodes == 0
        event(f"{made.counted} of {most} nodes")


def test_a_plan_is_asked_for_again_when_time_alone_changes_it() -> None:
    made = PoolWorld(SPEC)
    made.turn()
    assert made.pool is not None
    plan = plan_pool(made.view(), made.now)
    assert plan.wake_at == pytest.approx(made.now - STEP_S + SPEC.join_timeout_s)
