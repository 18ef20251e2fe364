"""A service whose dependency was updated is restarted, once, where the compose file asks for it."""

from dataclasses import replace

from rookery.model import ContainerSpec, Replica, ReplicaId, ReplicaState, Rollout, RolloutState, Service, ServiceKey, ServiceSpec
from rookery_manager.planners.actions import SetRollout
from rookery_manager.planners.following import plan_following
from rookery_manager.planners.view import ServiceView

DB = ServiceKey("shop/db")
REPLICA = Replica(
    id=ReplicaId("r"), app="shop", service="web", slot=1, revision=1, state=ReplicaState.RUNNING, ready=True, created_at=50.0
)
VIEW = ServiceView(
    service=Service(app="shop", name="web", revision=1),
    specs={1: ServiceSpec(name="web", container=ContainerSpec(image="web:1"))},
    replicas=(REPLICA,),
    updated_at={DB: 100.0},
)


def test_it_is_restarted_as_of_the_update() -> None:
    (action,) = plan_following(VIEW, 101.0).actions
    assert isinstance(action, SetRollout)
    assert (action.revision, action.restarted_at, action.rollout.is_restart) == (1, 100.0, True)
    assert action.why == "shop/web is restarted: shop/db, which it depends on, was updated"


def test_what_is_newer_than_the_update_is_left_alone() -> None:
    newer = replace(REPLICA, created_at=100.5)
    assert plan_following(replace(VIEW, replicas=(newer,)), 101.0).actions == ()
    assert plan_following(replace(VIEW, service=replace(VIEW.service, restarted_at=100.0)), 101.0).actions == ()
    assert plan_following(replace(VIEW, updated_at={}), 101.0).actions == ()


def test_a_rollout_that_is_open_comes_first() -> None:
    for state in (RolloutState.ROLLING, RolloutState.PAUSED, RolloutState.ROLLING_BACK):
        service = replace(VIEW.service, rollout=Rollout(before=1, after=2, state=state))
        assert plan_following(replace(VIEW, service=service), 101.0).actions == ()
    over = replace(VIEW.service, rollout=Rollout(before=1, after=2, state=RolloutState.DONE, number=4))
    (action,) = plan_following(replace(VIEW, service=over), 101.0).actions
    assert isinstance(action, SetRollout)
    assert action.rollout.number == 5


def test_a_service_that_is_removed_is_not_restarted() -> None:
    assert plan_following(replace(VIEW, service=replace(VIEW.service, removing=True)), 101.0).actions == ()
