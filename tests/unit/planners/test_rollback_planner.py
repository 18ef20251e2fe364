"""Where a roll-back by hand goes, and what it writes."""

from dataclasses import replace

import pytest
from rookery.model import (
    AppRevision,
    AppSpec,
    ContainerSpec,
    Global,
    Replicated,
    Revision,
    Rollout,
    RolloutState,
    Service,
    ServiceSpec,
)
from rookery_manager.planners.apply import AppRecords, plan_apply
from rookery_manager.planners.rollback import app_revision_before, plan_restart, plan_rollback, revision_before

WEB = Service(app="shop", name="web", revision=1, replicas=3)


def spec(image: str, **fields: object) -> ServiceSpec:
    return ServiceSpec(name="web", container=ContainerSpec(image=image), **fields)  # type: ignore[arg-type]


def revisions(*specs: ServiceSpec) -> dict[int, Revision]:
    return {n: Revision(app="shop", service="web", number=n, spec=one) for n, one in enumerate(specs, 1)}


def returned(service: Service, found: dict[int, Revision], to: int) -> Service | None:
    changed = plan_rollback(service, found, to, now=9.0, actor="ann")
    return changed.service if changed else None


A_B_C = revisions(spec("web:a"), spec("web:b"), spec("web:c"))
ROLLING, DONE, PAUSED = RolloutState.ROLLING, RolloutState.DONE, RolloutState.PAUSED


@pytest.mark.parametrize(
    ("in_force", "latest", "expected"),
    [
        (3, None, 2),
        (1, None, None),
        (3, (2, 3, DONE), 2),
        (3, (1, 3, DONE), 1),  # 2 was left by hand, or rolled back: what ran before 3 is 1
        (3, (2, 3, ROLLING), 2),
        (3, (1, 3, ROLLING), 1),  # 2 never got done
        (3, (2, 3, PAUSED), 2),
        (2, (2, 3, RolloutState.ROLLING_BACK), 2),  # it is on the way already
        (2, (2, 3, RolloutState.ROLLED_BACK), 1),
        (2, (2, 3, PAUSED), 1),  # the roll-back failed
        (2, (3, 2, ROLLING), 2),  # by hand, on the way
        (2, (3, 2, DONE), 1),
        (2, (3, 2, PAUSED), 1),
        (1, (3, 1, DONE), None),
    ],
)
def test_what_ran_before(in_force: int, latest: tuple[int, int, RolloutState] | None, expected: int | None) -> None:
    rollout = Rollout(before=latest[0], after=latest[1], state=latest[2]) if latest else None
    assert revision_before(replace(WEB, revision=in_force, rollout=rollout), A_B_C) == expected


def test_revisions_that_differ_in_settings_alone_are_no_way_back() -> None:
    found = revisions(spec("web:a"), spec("web:b"), spec("web:b", labels={"x": "y"}))
    assert revision_before(replace(WEB, revision=3), found) == 1
    assert revision_before(replace(WEB, revision=3, rollout=Rollout(before=1, after=2, state=DONE)), found) == 1
    assert revision_before(replace(WEB, revision=2), revisions(spec("web:a", labels={"x": "y"}), spec("web:a"))) is None


def test_a_return_begins_a_rollout_and_keeps_the_number_of_replicas() -> None:
    planned = returned(replace(WEB, revision=3), A_B_C, 1)
    assert planned == replace(
        WEB,
        revision=1,
        changed_at=9.0,
        why="returned from revision 3 to 1 by hand",
        rollout=Rollout(before=3, after=1, started_at=9.0, changed_at=9.0, number=1, actor="ann"),
    )


def test_the_revision_in_force_writes_nothing() -> None:
    assert returned(replace(WEB, revision=2), A_B_C, 2) is None


def test_settings_alone_begin_no_rollout_and_leave_one_that_is_under_way() -> None:
    found = revisions(spec("web:a"), spec("web:b"), spec("web:b", labels={"x": "y"}))
    planned = returned(replace(WEB, revision=3), found, 2)
    assert planned is not None
    assert (planned.revision, planned.rollout) == (2, None)
    under_way = Rollout(before=1, after=2, started_at=8.0)
    planned = returned(replace(WEB, revision=3, rollout=under_way), found, 2)
    assert planned is not None
    assert planned.rollout == under_way


def test_a_later_revision_returns_to_the_last_one_that_was_done_if_it_fails() -> None:
    rolling = replace(WEB, revision=2, rollout=Rollout(before=1, after=2, number=4))
    planned = returned(rolling, A_B_C, 3)
    assert planned is not None
    assert planned.rollout == Rollout(before=1, after=3, started_at=9.0, changed_at=9.0, number=5, actor="ann")


def test_from_global_to_replicated_the_number_is_the_specs() -> None:
    found = revisions(spec("web:a", mode=Replicated(replicas=5)), spec("web:a", mode=Global()))
    planned = returned(replace(WEB, revision=2, replicas=1), found, 1)
    assert planned is not None
    assert planned.replicas == 5


def test_an_apply_in_the_middle_of_a_return_never_goes_back_to_the_revision_that_was_left() -> None:
    returning = replace(WEB, revision=2, rollout=Rollout(before=3, after=2))
    records = AppRecords(services={"web": returning}, revisions={"web": A_B_C})
    plan = plan_apply(AppSpec(name="shop", services=(spec("web:d"),)), records, now=9.0, actor="ann", prune=False)
    (service,) = [write.record for write in plan.writes if isinstance(write.record, Service)]
    assert service.rollout == Rollout(before=2, after=4, started_at=9.0, changed_at=9.0, number=1, actor="ann")


def test_a_restart_keeps_the_revision_and_leaves_an_update_its_way_back() -> None:
    restarted = plan_restart(replace(WEB, revision=2), now=9.0, actor="ann").service
    assert (restarted.revision, restarted.restarted_at) == (2, 9.0)
    assert restarted.rollout == Rollout(before=2, after=2, started_at=9.0, changed_at=9.0, number=1, actor="ann")
    updating = replace(WEB, revision=2, rollout=Rollout(before=1, after=2, number=7, started_at=5.0))
    changed = plan_restart(updating, now=9.0, actor="ann")
    assert changed.service.rollout == Rollout(before=1, after=2, started_at=9.0, changed_at=9.0, number=8, actor="ann")
    assert changed.overtaken is not None
    assert (changed.overtaken.number, changed.overtaken.rollout.state) == (7, RolloutState.OVERTAKEN)
    assert changed.overtaken.rollout.why == "it was rolling when revision 2 took its place"


def app_revisions(*services: dict[str, int]) -> dict[int, AppRevision]:
    return {n: AppRevision(app="shop", number=n, services=of) for n, of in enumerate(services, 1)}


def test_an_app_returns_to_where_no_service_goes_forward() -> None:
    known = app_revisions({"web": 1, "db": 1}, {"web": 2, "db": 2}, {"web": 3, "db": 2})
    assert app_revision_before({"web": 3, "db": 2}, known) == 2
    assert app_revision_before({"web": 2, "db": 2}, known) == 1  # web was rolled back meanwhile: 3 is what was left
    assert app_revision_before({"web": 1, "db": 1}, known) is None
    assert app_revision_before({"web": 1, "db": 1, "cache": 5}, known) is None
