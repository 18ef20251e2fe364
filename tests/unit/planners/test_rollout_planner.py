"""When a rollout is done, when it failed, and what follows: as tables."""

from dataclasses import replace

from rookery.model import (
    ContainerSpec,
    Desired,
    FailureAction,
    NodeId,
    Port,
    Replica,
    ReplicaId,
    ReplicaState,
    Rollout,
    RolloutState,
    Service,
    ServiceSpec,
    UpdateConfig,
)
from rookery_manager.planners.actions import SetRollout
from rookery_manager.planners.rollout import plan_rollout
from rookery_manager.planners.service import plan_service
from rookery_manager.planners.view import NodeBrief, ServiceView

NOW = 1_000.0
STARTED = 990.0


def spec(image: str, **update: object) -> ServiceSpec:
    config = UpdateConfig(monitor_s=5.0, progress_deadline_s=60.0, **update)  # type: ignore[arg-type]
    back = UpdateConfig(monitor_s=1.0, failure_action=FailureAction.PAUSE)
    return ServiceSpec(name="web", container=ContainerSpec(image=image), ports=(Port(target=80),), update=config, rollback=back)


def replica(slot: int, revision: int, *, ready: bool = True, **changes: object) -> Replica:
    made = Replica(
        id=ReplicaId(f"r{slot}v{revision}"),
        app="shop",
        service="web",
        slot=slot,
        revision=revision,
        node_id=NodeId("n1"),
        node_name="n1",
        state=ReplicaState.RUNNING,
        ready=ready,
        ready_at=(STARTED + 1 if ready else 0.0),
        created_at=STARTED + 0.5 if revision == 2 else 100.0,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def view(*replicas: Replica, state: RolloutState = RolloutState.ROLLING, wanted: int = 2, **update: object) -> ServiceView:
    back = state in (RolloutState.ROLLING_BACK, RolloutState.ROLLED_BACK)
    return ServiceView(
        service=Service(
            app="shop",
            name="web",
            revision=1 if back else 2,
            replicas=wanted,
            rollout=Rollout(before=1, after=2, state=state, started_at=STARTED, changed_at=STARTED, why="why it was"),
        ),
        specs={1: spec("web:1"), 2: spec("web:2", **update)},
        replicas=replicas,
        nodes={NodeId("n1"): NodeBrief(id=NodeId("n1"), name="n1")},
    )


def verdict(of: ServiceView, now: float = NOW) -> tuple[str, int, str] | None:
    actions = plan_rollout(of, of.service.replicas, now).actions
    if not actions:
        return None
    (action,) = actions
    assert isinstance(action, SetRollout)
    return action.rollout.state.value, action.revision, action.why


def test_a_crash_rolls_back_and_says_why() -> None:
    crashed = replica(1, 2, ready=False, restarts=1, why="restarting: exited with status 1")
    told = "revision 2 is rolled back to 1: 1 of 2 new replicas failed: shop/web.1 restarting: exited with status 1"
    assert verdict(view(replica(1, 1), replica(2, 1), crashed)) == ("rolling-back", 1, told)


def test_one_that_can_not_run_rolls_back() -> None:
    failed = replica(1, 2, ready=False, state=ReplicaState.FAILED, why="exited with status 3")
    found = verdict(view(replica(1, 1), replica(2, 1), failed))
    assert found is not None
    assert found[:2] == ("rolling-back", 1)


def test_one_that_never_gets_ready_rolls_back_at_the_deadline() -> None:
    slow = replica(1, 2, ready=False, why="not yet healthy")
    waiting = plan_rollout(view(replica(1, 1), slow), 2, NOW)
    assert waiting.actions == ()
    assert waiting.wake_at is not None
    found = verdict(view(replica(1, 1), slow), waiting.wake_at)
    assert found is not None
    assert found[2].endswith("shop/web.1 was not ready within 60 s: not yet healthy")


def test_a_lost_node_is_not_the_revisions_fault() -> None:
    lost = replica(1, 2, ready=False, state=ReplicaState.LOST, why="node n1 was lost")
    assert verdict(view(replica(1, 1), replica(2, 1), lost)) is None


def test_failures_of_the_old_revision_do_not_count() -> None:
    assert verdict(view(replica(1, 1, restarts=3), replica(2, 1), replica(1, 2))) is None


def test_the_failure_ratio_is_kept() -> None:
    crashed = replica(1, 2, ready=False, restarts=1, why="exited")
    olds = [replica(n, 1) for n in range(1, 5)]
    assert verdict(view(*olds, crashed, wanted=4, max_failure_ratio=0.25)) is None
    assert verdict(view(*olds, crashed, wanted=4, max_failure_ratio=0.2)) is not None


def test_pause_and_continue_as_the_spec_asks() -> None:
    crashed = replica(1, 2, ready=False, restarts=1, why="exited")
    paused = verdict(view(replica(1, 1), crashed, failure_action=FailureAction.PAUSE))
    assert paused is not None
    assert paused[:2] == ("paused", 2)
    assert verdict(view(replica(1, 1), crashed, failure_action=FailureAction.CONTINUE)) is None


def test_a_paused_rollout_replaces_nothing_more() -> None:
    crashed = replica(1, 2, ready=False, restarts=1, why="exited")
    plan = plan_service(view(replica(1, 1), replica(2, 1), crashed, state=RolloutState.PAUSED), NOW)
    assert plan.actions == ()


def test_a_paused_rollout_begins_no_replacement_where_all_is_well() -> None:
    half = (replica(1, 2), replica(2, 1))
    assert len(plan_service(view(*half), NOW).actions) == 1
    paused = plan_service(view(*half, state=RolloutState.PAUSED), NOW)
    assert paused.actions == ()
    assert paused.waits_for == "shop/web.2 to be replaced"


def test_it_is_done_when_all_stayed_ready() -> None:
    new = (replica(1, 2), replica(2, 2))
    assert verdict(view(*new)) == ("done", 2, "revision 2 is rolled out in 10.0 s")
    assert verdict(view(*new), STARTED + 3) is None  # not yet for as long as it is monitored
    assert verdict(view(*new, replica(2, 1))) is None  # an old one is left


def test_a_roll_back_is_done_when_the_old_ones_are_all_there_again() -> None:
    olds = (replica(1, 1), replica(2, 1))
    assert verdict(view(*olds, state=RolloutState.ROLLING_BACK)) == ("rolled-back", 1, "why it was")
    assert verdict(view(*olds, replica(1, 2), state=RolloutState.ROLLING_BACK)) is None


def test_a_roll_back_keeps_what_still_runs_of_the_old_revision() -> None:
    crashed = replica(1, 2, ready=False, restarts=1, why="exited")
    plan = plan_service(view(replica(1, 1), replica(2, 1), crashed, state=RolloutState.ROLLING_BACK), NOW)
    assert [type(action).__name__ for action in plan.actions] == ["Drain"]
    assert plan.actions[0].replica is crashed  # type: ignore[union-attr]


def by_hand(*replicas: Replica, before: int, after: int) -> ServiceView:
    """An operator's way to revision `after`, from `before`."""
    service = Service(
        app="shop",
        name="web",
        revision=after,
        replicas=2,
        rollout=Rollout(before=before, after=after, started_at=STARTED, changed_at=STARTED),
    )
    return replace(view(*replicas), service=service)


def test_a_return_by_hand_that_fails_is_paused_and_never_goes_to_the_revision_that_was_left() -> None:
    crashed = replica(1, 1, ready=False, restarts=1, created_at=STARTED + 2, why="exited")
    rolls_back = replace(spec("web:1"), rollback=UpdateConfig(failure_action=FailureAction.ROLLBACK))
    back = by_hand(crashed, replica(2, 2, created_at=100.0), before=2, after=1)
    told = "the rollout of revision 1 is paused: 1 of 2 new replicas failed: shop/web.1 exited"
    assert verdict(back) == ("paused", 1, told)
    assert verdict(replace(back, specs={**back.specs, 1: rolls_back})) == ("paused", 1, told)


def test_a_later_revision_by_hand_that_fails_is_rolled_back_like_an_update() -> None:
    crashed = replica(1, 2, ready=False, restarts=1, why="exited")
    found = verdict(by_hand(crashed, replica(2, 1), before=1, after=2))
    assert found is not None
    assert found[:2] == ("rolling-back", 1)


def test_a_return_by_hand_takes_the_settings_of_a_roll_back() -> None:
    olds = (replica(1, 1, ready_at=NOW - 0.5), replica(2, 1))
    assert verdict(by_hand(*olds, before=2, after=1)) is None  # rollback.monitor_s is 1 s
    assert verdict(by_hand(*olds, before=2, after=1), NOW + 0.5) == ("done", 1, "revision 1 is back in 10.5 s")


def test_a_roll_back_that_fails_is_paused() -> None:
    crashed = replica(1, 1, ready=False, restarts=1, created_at=STARTED + 2, why="exited")
    found = verdict(view(crashed, replica(2, 1), state=RolloutState.ROLLING_BACK))
    assert found is not None
    assert found[0] == "paused"


def test_a_jobs_rollout_is_done_when_its_places_have_completed() -> None:
    done = replica(1, 2, ready=False, state=ReplicaState.STOPPED, exit_code=0)
    still_runs = replica(2, 2, ready=False)
    assert verdict(view(done, still_runs)) is None
    assert verdict(view(done, replace(still_runs, state=ReplicaState.STOPPED, exit_code=0))) == (
        "done",
        2,
        "revision 2 is rolled out in 10.0 s",
    )
    stopped = replace(still_runs, state=ReplicaState.STOPPED, exit_code=143, desired=Desired.STOP)
    assert verdict(view(done, stopped)) is None


def test_a_roll_back_takes_a_restart_of_the_update_with_it() -> None:
    """The replicas of the revision before were created before that restart: it would replace them all."""
    crashed = replica(1, 2, ready=False, restarts=1, why="exited")
    of = view(replica(1, 1), replica(2, 1), crashed)

    def kept(restarted_at: float) -> float | None:
        service = replace(of.service, restarted_at=restarted_at)
        (action,) = plan_rollout(replace(of, service=service), 2, NOW).actions
        assert isinstance(action, SetRollout)
        return action.restarted_at

    assert kept(STARTED) == 0.0
    assert kept(50.0) == 50.0
