"""What the service planner decides, as tables: a view in, actions with their whys out."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from rookery.model import (
    Availability,
    ContainerSpec,
    Desired,
    Global,
    NodeId,
    NodeState,
    Port,
    Replica,
    ReplicaId,
    ReplicaState,
    Replicated,
    ReplicatedJob,
    Service,
    ServiceSpec,
    UpdateConfig,
    UpdateOrder,
)
from rookery_manager.planners.actions import Action, Adopt, Create, Drain, Forget, ForgetService, Launch, Stop
from rookery_manager.planners.places import MOVE_AFTER_RESTARTS
from rookery_manager.planners.service import KEEP_ENDED_ELSEWHERE, plan_service
from rookery_manager.planners.view import NodeBrief, ServiceView

NOW = 1_000.0


def spec(image: str = "web:1", **changes: object) -> ServiceSpec:
    base = ServiceSpec(name="web", container=ContainerSpec(image=image), ports=(Port(target=80, published=8080),))
    return replace(base, **changes)  # type: ignore[arg-type]


def running(slot: int, *, revision: int = 1, ready: bool = True, node: str = "n1", **changes: object) -> Replica:
    made = Replica(
        id=ReplicaId(f"r{slot}v{revision}{node}"),
        app="shop",
        service="web",
        slot=slot,
        revision=revision,
        node_id=NodeId(node),
        node_name=node,
        state=ReplicaState.RUNNING,
        ready=ready,
        ready_at=NOW - 60 if ready else 0.0,
        created_at=NOW - 100 + revision,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def view(
    *replicas: Replica,
    wanted: int = 3,
    revision: int = 1,
    specs: Mapping[int, ServiceSpec] | None = None,
    removing: bool = False,
    nodes: Mapping[str, NodeBrief] | None = None,
    **changes: object,
) -> ServiceView:
    briefs = {NodeId(n): NodeBrief(id=NodeId(n), name=n) for n in ("n1", "n2", "n3")}
    briefs.update({NodeId(n): brief for n, brief in (nodes or {}).items()})
    made = ServiceView(
        service=Service(app="shop", name="web", revision=revision, replicas=wanted, removing=removing),
        specs=specs or {1: spec()},
        replicas=replicas,
        nodes=briefs,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def show(action: Action) -> str:
    """An action as a line: what is done, to what, why."""
    match action:
        case Create():
            where = f" on {action.node_name}" if action.node_name else ""
            verb = "prepare" if action.desired is Desired.PREPARE else "create"
            return f"{verb} {action.service}.{action.slot} revision {action.revision}{where}: {action.why}"
        case Launch():
            return f"launch {action.replica.name}: {action.why}"
        case Drain():
            return f"drain {action.replica.name} until {action.deadline_at:g}: {action.why}"
        case Stop():
            return f"stop {action.replica.name}: {action.why}"
        case Adopt():
            return f"adopt {action.replica.name} into {action.revision}"
        case Forget():
            return f"forget {action.replica.id}"
        case ForgetService():
            return f"forget service {action.service.key}"
        case _:
            return repr(action)


def planned(of: ServiceView, now: float = NOW) -> list[str]:
    return [show(action) for action in plan_service(of, now).actions]


def test_nothing_is_done_where_all_is_as_wanted() -> None:
    plan = plan_service(view(running(1), running(2), running(3)), NOW)
    assert plan.actions == ()
    assert plan.wake_at is None
    assert plan.waits_for == ""


def test_what_is_missing_is_created() -> None:
    assert planned(view(running(2))) == [
        "create web.1 revision 1: 3 replicas of shop/web are wanted",
        "create web.3 revision 1: 3 replicas of shop/web are wanted",
    ]


def test_one_that_was_lost_is_replaced_at_once_and_says_why() -> None:
    lost = running(2, state=ReplicaState.LOST, ready=False, why="node n1 was lost: silent for 3.1 s")
    assert planned(view(running(1), lost, running(3))) == [
        "create web.2 revision 1: takes the place of one that ended: node n1 was lost: silent for 3.1 s"
    ]


def test_surplus_drains_the_highest_slots_and_first_those_that_are_not_ready() -> None:
    assert planned(view(running(1), running(2, ready=False), running(3), running(4), wanted=2)) == [
        "drain shop/web.2 until 1030: 2 replicas of shop/web are wanted, not 4",
        "drain shop/web.4 until 1030: 2 replicas of shop/web are wanted, not 4",
    ]


def test_a_service_without_routes_needs_no_drain() -> None:
    specs = {1: spec(ports=())}
    assert planned(view(running(1), running(2), wanted=1, specs=specs)) == [
        "stop shop/web.2: 1 replica of shop/web is wanted, not 2"
    ]


def test_a_draining_replica_stops_when_nothing_is_in_flight_on_it() -> None:
    draining = running(2, state=ReplicaState.DRAINING, ready=False, drain_deadline_at=NOW + 20, why="surplus")
    waiting = view(running(1), draining, wanted=1, undrained={draining.id: "1 requests are in flight on it at proxy p1"})
    plan = plan_service(waiting, NOW)
    assert plan.actions == ()
    assert plan.wake_at == NOW + 20
    assert planned(replace(waiting, undrained={})) == ["stop shop/web.2: surplus"]
    assert planned(waiting, NOW + 20) == [
        "stop shop/web.2: surplus; its drain timeout passed although 1 requests are in flight on it at proxy p1"
    ]


TWO_IMAGES = {1: spec("web:1"), 2: spec("web:2")}


class TestUpdate:
    def test_start_first_creates_as_many_as_parallelism_allows(self) -> None:
        plan = plan_service(view(running(1), running(2), running(3), revision=2, specs=TWO_IMAGES), NOW)
        assert [show(a) for a in plan.actions] == ["create web.1 revision 2: revision 1 of shop/web is replaced by 2"]
        assert plan.waits_for == "shop/web.2 to be replaced"

    def test_the_old_one_goes_only_when_the_new_one_stayed_ready(self) -> None:
        old = (running(1), running(2), running(3))
        new = running(1, revision=2, ready=False, why="starting")
        assert planned(view(*old, new, revision=2, specs=TWO_IMAGES)) == []
        just_ready = replace(new, ready=True, ready_at=NOW - 1)
        plan = plan_service(view(*old, just_ready, revision=2, specs=TWO_IMAGES), NOW)
        assert plan.actions == ()
        assert plan.wake_at == NOW - 1 + 5  # monitor
        settled = replace(new, ready=True, ready_at=NOW - 5)
        assert planned(view(*old, settled, revision=2, specs=TWO_IMAGES)) == [
            "drain shop/web.1 until 1030: revision 1 of shop/web is replaced by 2",
            "create web.2 revision 2: revision 1 of shop/web is replaced by 2",
        ]

    def test_once_one_is_proven_the_next_does_not_wait_for_the_monitor_time_of_the_one_before(self) -> None:
        proven, just_ready = running(1, revision=2, ready_at=NOW - 5), running(2, revision=2, ready_at=NOW - 1)
        old = (running(2), running(3), running(4))
        assert planned(view(proven, just_ready, *old, wanted=4, revision=2, specs=TWO_IMAGES)) == [
            "create web.3 revision 2: revision 1 of shop/web is replaced by 2"
        ]
        starting = running(3, revision=2, ready=False, why="starting")
        assert planned(view(proven, just_ready, starting, *old, wanted=4, revision=2, specs=TWO_IMAGES)) == []

    @pytest.mark.parametrize(("places", "watched", "begun"), [(6, 1, 1), (6, 2, 0), (12, 2, 1), (12, 3, 0), (13, 3, 1)])
    def test_what_is_watched_at_once_is_twice_the_parallelism_or_a_quarter(self, places: int, watched: int, begun: int) -> None:
        new = [running(n, revision=2, ready_at=NOW - 1) for n in range(2, 2 + watched)]
        old = [running(n) for n in range(2, places + 1)]
        proven = running(1, revision=2, ready_at=NOW - 5)
        plan = plan_service(view(proven, *new, *old, wanted=places, revision=2, specs=TWO_IMAGES), NOW)
        assert len([action for action in plan.actions if isinstance(action, Create)]) == begun

    def test_stop_first_prepares_stops_and_then_launches(self) -> None:
        update = UpdateConfig(order=UpdateOrder.STOP_FIRST)
        specs = {1: spec("web:1", ports=()), 2: spec("web:2", ports=(), update=update)}

        def plan(*replicas: Replica) -> list[str]:
            return planned(view(*replicas, running(2), wanted=2, revision=2, specs=specs))

        assert plan(running(1)) == ["prepare web.1 revision 2: revision 1 of shop/web is replaced by 2"]
        pulling = running(1, revision=2, state=ReplicaState.PREPARING, ready=False, desired=Desired.PREPARE)
        assert plan(running(1), pulling) == []  # the old one is not touched while the image is pulled
        prepared = replace(pulling, state=ReplicaState.STARTING)
        assert plan(running(1), prepared) == ["stop shop/web.1: revision 1 of shop/web is replaced by 2"]
        stopping = running(1, state=ReplicaState.STOPPING, ready=False)
        assert plan(stopping, prepared) == []
        stopped = replace(stopping, state=ReplicaState.STOPPED, desired=Desired.STOP)
        assert plan(stopped, prepared) == ["launch shop/web.1: nothing is left in its place that has to stop first"]
        assert plan(stopped, pulling) == ["launch shop/web.1: nothing is left in its place that has to stop first"]
        refused = replace(pulling, state=ReplicaState.PENDING, node_id=NodeId(""), why="no node fits: …")
        assert plan(running(1), refused) == []
        in_the_way = view(running(1), refused, running(2), wanted=2, revision=2, specs=specs, in_the_way={running(1).id})
        assert planned(in_the_way) == ["stop shop/web.1: revision 1 of shop/web is replaced by 2"]

    def test_a_job_that_is_changed_stops_at_once(self) -> None:
        specs = {1: spec("web:1", ports=(), mode=ReplicatedJob()), 2: spec("web:2", ports=(), mode=ReplicatedJob())}
        assert planned(view(running(1), wanted=1, revision=2, specs=specs)) == [
            "stop shop/web.1: revision 1 of shop/web is replaced by 2"
        ]

    def test_a_revision_that_needs_no_new_container_replaces_nothing(self) -> None:
        specs = {1: spec(), 2: spec(drain_timeout_s=5.0)}
        assert planned(view(running(1), wanted=1, revision=2, specs=specs)) == ["adopt shop/web.1 into 2"]

    def test_a_delay_between_batches_is_kept(self) -> None:
        specs = {1: spec("web:1"), 2: spec("web:2", update=UpdateConfig(delay_s=10.0))}
        new = running(1, revision=2, ready_at=NOW - 6)
        plan = plan_service(view(new, running(2), wanted=2, revision=2, specs=specs), NOW)
        assert plan.actions == ()
        assert plan.wake_at == NOW + 4


N1_DRAINED = {"n1": NodeBrief(id=NodeId("n1"), name="n1", availability=Availability.DRAINED)}


class TestNodes:
    def test_a_drained_node_is_emptied_start_first(self) -> None:
        assert planned(view(running(1), running(2, node="n2"), wanted=2, nodes=N1_DRAINED)) == [
            "create web.1 revision 1: takes the place of shop/web.1: node n1 is drained"
        ]
        new = running(1, node="n2", id=ReplicaId("new"), ready=False)
        assert planned(view(running(1), new, wanted=1, nodes=N1_DRAINED)) == []
        ready = replace(new, ready=True, ready_at=NOW)
        assert planned(view(running(1), ready, wanted=1, nodes=N1_DRAINED)) == ["drain shop/web.1 until 1030: node n1 is drained"]

    def test_a_leaving_node_does_not_wait_for_room_that_is_not_there(self) -> None:
        leaves = {"n1": NodeBrief(id=NodeId("n1"), name="n1", state=NodeState.LEFT, why="its agent stops")}
        new = Replica(id=ReplicaId("new"), app="shop", service="web", slot=1, revision=1, why="no node fits", created_at=NOW)
        assert planned(view(running(1), new, wanted=1, nodes=leaves)) == [
            "drain shop/web.1 until 1030: node n1 leaves: its agent stops"
        ]

    def test_one_that_keeps_failing_is_tried_elsewhere(self) -> None:
        failing = running(1, ready=False, restarts=MOVE_AFTER_RESTARTS)
        assert planned(view(failing, wanted=1)) == [
            "create web.1 revision 1: takes the place of shop/web.1: it failed 5 times on node n1"
        ]

    def test_a_global_service_has_one_on_every_node_that_fits(self) -> None:
        specs = {1: spec(mode=Global(), ports=())}
        refuses = {"n3": NodeBrief(id=NodeId("n3"), name="n3", refusal="node.labels.zone is not a")}
        on_three = running(0, node="n3")
        assert planned(view(running(0), on_three, specs=specs, nodes=refuses)) == [
            "stop shop/web.n3: shop/web does not run on n3: node.labels.zone is not a",
            "create web.0 revision 1 on n2: shop/web is wanted on every node",
        ]


class TestEnds:
    def test_one_that_completed_is_not_started_again(self) -> None:
        done = running(1, state=ReplicaState.STOPPED, ready=False, exit_code=0)
        assert planned(view(done, wanted=1)) == []

    def test_one_that_was_stopped_on_purpose_leaves_its_place_free(self) -> None:
        done = running(1, state=ReplicaState.STOPPED, ready=False, desired=Desired.STOP)
        assert planned(view(done, wanted=1)) == ["create web.1 revision 1: 1 replica of shop/web is wanted"]

    def test_a_removed_service_drains_and_is_then_forgotten(self) -> None:
        assert planned(view(running(1), removing=True, wanted=1)) == ["drain shop/web.1 until 1030: shop/web is removed"]
        ended = running(1, state=ReplicaState.STOPPED, ready=False, desired=Desired.STOP)
        assert planned(view(ended, removing=True)) == ["forget service shop/web"]

    def test_only_the_last_ended_ones_are_kept(self) -> None:
        old = [
            running(1, id=ReplicaId(f"old{i}"), state=ReplicaState.LOST, ready=False, created_at=NOW - 200 + i) for i in range(5)
        ]
        assert planned(view(running(1), *old, wanted=1)) == ["forget old0", "forget old1"]


@pytest.mark.parametrize("state", [ReplicaState.ASSIGNED, ReplicaState.PREPARING, ReplicaState.STARTING])
def test_one_that_never_ran_is_stopped_without_a_drain(state: ReplicaState) -> None:
    surplus = running(2, state=state, ready=False)
    assert planned(view(running(1), surplus, wanted=1)) == ["stop shop/web.2: 1 replica of shop/web is wanted, not 2"]


def test_a_dependency_that_is_not_met_holds_starts_back() -> None:
    plan = plan_service(view(unmet="shop/db to be healthy", wanted=1), NOW)
    assert plan.actions == ()
    assert plan.waits_for == "shop/db to be healthy"


def test_a_scaled_service_keeps_its_replicas() -> None:
    mode = {1: spec(mode=Replicated(replicas=1))}
    assert planned(view(running(1), wanted=2, specs=mode)) == ["create web.2 revision 1: 2 replicas of shop/web are wanted"]


class TestWhatNeverGetsReady:
    def test_of_several_older_revisions_in_one_place_one_stays_until_the_new_one_is_ready(self) -> None:
        waiting = Replica(
            id=ReplicaId("p"), app="shop", service="web", slot=1, revision=2, why="no node fits", created_at=NOW - 9
        )
        failing = running(1, revision=3, ready=False, restarts=3)
        new = running(1, revision=4, ready=False)
        specs = {n: spec(f"web:{n}") for n in (1, 2, 3, 4)}
        assert planned(view(running(1), waiting, failing, new, wanted=1, revision=4, specs=specs)) == [
            "drain shop/web.1 until 1030: revision 3 of shop/web is replaced by 4",
            "stop shop/web.1: revision 2 of shop/web is replaced by 4",
        ]

    def test_an_update_whose_replica_gave_up_holds_and_keeps_the_old_one(self) -> None:
        gave_up = running(1, revision=2, state=ReplicaState.FAILED, ready=False, why="exited with status 1")
        plan = plan_service(view(running(1), running(2), gave_up, wanted=2, revision=2, specs=TWO_IMAGES), NOW)
        assert plan.actions == ()
        assert plan.waits_for == "shop/web.1 failed: exited with status 1"

    def test_the_next_revision_is_tried_again(self) -> None:
        gave_up = running(1, revision=2, state=ReplicaState.FAILED, ready=False, why="exited with status 1")
        specs = {**TWO_IMAGES, 3: spec("web:3")}
        assert planned(view(running(1), gave_up, wanted=1, revision=3, specs=specs)) == [
            "create web.1 revision 3: revision 1 of shop/web is replaced by 3"
        ]

    def test_no_more_than_two_that_keep_failing_are_in_one_place(self) -> None:
        first = running(1, ready=False, restarts=MOVE_AFTER_RESTARTS, created_at=NOW - 50)
        second = running(1, ready=False, restarts=2 * MOVE_AFTER_RESTARTS, node="n2", created_at=NOW - 30)
        assert planned(view(first, second, wanted=1)) == [
            "drain shop/web.1 until 1030: it failed 5 times on node n1",
            "create web.1 revision 1: takes the place of shop/web.1: it failed 5 times on node n1",
        ]

    def test_each_move_takes_twice_as_many_failures_as_the_one_before(self) -> None:
        gone = running(1, state=ReplicaState.STOPPED, ready=False, restarts=5, desired=Desired.STOP, created_at=NOW - 90)
        again = running(1, ready=False, restarts=9, node="n2", created_at=NOW - 30)
        assert planned(view(gone, again, wanted=1)) == []
        assert len(planned(view(gone, replace(again, restarts=10), wanted=1))) == 1

    def test_where_there_is_no_room_for_both_the_old_one_makes_way(self) -> None:
        new = Replica(id=ReplicaId("new"), app="shop", service="web", slot=1, revision=2, why="no node fits: …", created_at=NOW)
        both = view(running(1), running(2), new, wanted=2, revision=2, specs=TWO_IMAGES)
        assert planned(both) == []
        assert planned(replace(both, in_the_way=frozenset({running(1).id}))) == [
            "drain shop/web.1 until 1030: revision 1 of shop/web is replaced by 2, and no node has room for both"
        ]


JOB = {1: spec("job:1", mode=ReplicatedJob(), ports=()), 2: spec("job:2", mode=ReplicatedJob(), ports=())}


class TestJobs:
    def test_a_new_revision_stops_the_old_run_before_it_runs(self) -> None:
        assert planned(view(running(1), wanted=1, revision=2, specs=JOB)) == [
            "stop shop/web.1: revision 1 of shop/web is replaced by 2"
        ]

    def test_a_place_that_is_done_is_not_run_again_beside_an_old_run(self) -> None:
        done = running(1, revision=2, state=ReplicaState.STOPPED, ready=False, exit_code=0)
        assert planned(view(running(1), done, wanted=1, revision=2, specs=JOB)) == [
            "stop shop/web.1: revision 1 of shop/web is replaced by 2"
        ]

    def test_more_completions_run_in_new_places_and_fewer_undo_none(self) -> None:
        done = [running(n, state=ReplicaState.STOPPED, ready=False, exit_code=0) for n in (1, 2)]
        assert planned(view(*done, wanted=3, specs=JOB)) == ["create web.3 revision 1: 3 replicas of shop/web are wanted"]
        assert planned(view(*done, wanted=1, specs=JOB)) == []


class TestDependencies:
    def test_an_update_waits_for_what_it_depends_on(self) -> None:
        plan = plan_service(view(running(1), wanted=1, revision=2, specs=TWO_IMAGES, unmet="shop/migrate to complete"), NOW)
        assert plan.actions == ()
        assert plan.waits_for == "shop/migrate to complete"

    def test_what_was_started_once_is_repaired_whatever_became_of_the_dependency(self) -> None:
        lost = running(1, state=ReplicaState.LOST, ready=False, why="node n1 was lost: silent for 3.1 s")
        assert len(planned(view(lost, wanted=1, unmet="shop/db to be healthy"))) == 1


def test_places_that_are_no_longer_wanted_keep_a_few_records_together() -> None:
    ended = [
        running(n, state=ReplicaState.STOPPED, ready=False, desired=Desired.STOP, created_at=NOW - 100 + n) for n in range(1, 41)
    ]
    assert planned(view(running(1, id=ReplicaId("r")), *ended, wanted=1)) == [
        f"forget r{n}v1n1" for n in range(2, 41 - KEEP_ENDED_ELSEWHERE)
    ]


def test_records_of_nodes_that_are_gone_do_not_pile_up() -> None:
    specs = {1: spec(mode=Global(), ports=())}
    ended = [running(0, node=f"gone{n}", state=ReplicaState.LOST, ready=False, created_at=NOW - 100 + n) for n in range(1, 41)]
    here = [running(0, node=n) for n in ("n1", "n2", "n3")]
    assert len(planned(view(*here, *ended, specs=specs))) == 40 - KEEP_ENDED_ELSEWHERE


def test_scaled_up_in_an_update_the_number_grows_at_once_and_the_updates_surge_comes_on_top() -> None:
    assert planned(view(running(1), running(2), wanted=4, revision=2, specs=TWO_IMAGES)) == [
        "create web.3 revision 2: 4 replicas of shop/web are wanted",
        "create web.4 revision 2: 4 replicas of shop/web are wanted",
    ]
    grown = view(running(1), running(2), running(3, revision=2), running(4, revision=2), wanted=4, revision=2, specs=TWO_IMAGES)
    assert planned(grown) == ["create web.1 revision 2: revision 1 of shop/web is replaced by 2"]  # the fifth of four
