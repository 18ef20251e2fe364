"""What is told of a service's revisions."""

import pytest
from rookery.cli.history import app_history, departures, history, told
from rookery.model import (
    App,
    AppRevision,
    AppStatus,
    ContainerSpec,
    FileKind,
    FileMount,
    Revision,
    Rollout,
    RolloutState,
    Service,
    ServiceSpec,
    ServiceStatus,
)

WHY = "revision 3 is rolled back to 2: 1 of 2 new replicas failed: shop/web.1 exited with status 1"
PAUSED = "the rollout of revision 3 is paused: it crashed"


def revision(number: int, **container: object) -> Revision:
    spec = ServiceSpec(name="web", container=ContainerSpec(image=f"web:{number}", **container))  # type: ignore[arg-type]
    return Revision(app="shop", service="web", number=number, spec=spec, created_at=float(number), actor="ann")


THREE = tuple(revision(n) for n in (3, 2, 1))


def rollout(before: int, after: int, state: RolloutState, why: str = "", number: int = 9) -> Rollout:
    return Rollout(before=before, after=after, state=state, started_at=10.0, changed_at=17.5, why=why, number=number)


@pytest.mark.parametrize(
    ("in_force", "latest", "newest_first"),
    [
        (3, None, ["in force", "left", "left"]),
        (3, rollout(2, 3, RolloutState.ROLLING), ["rolling out", "left", "left"]),
        (3, rollout(2, 3, RolloutState.DONE), ["in force, rolled out in 7.5 s", "left", "left"]),
        (3, rollout(2, 3, RolloutState.PAUSED, PAUSED), [f"in force, {PAUSED}", "left", "left"]),
        (2, rollout(2, 3, RolloutState.ROLLING_BACK, WHY), [WHY, "coming back", "left"]),
        (2, rollout(2, 3, RolloutState.ROLLED_BACK, WHY), [WHY, "in force again", "left"]),
        (2, rollout(2, 3, RolloutState.PAUSED, PAUSED), ["left", PAUSED, "left"]),
        (1, rollout(3, 1, RolloutState.ROLLING), ["left for 1 by hand", "left", "on the way back"]),
        (1, rollout(3, 1, RolloutState.DONE), ["left for 1 by hand", "left", "in force, back in 7.5 s"]),
        (3, rollout(1, 2, RolloutState.DONE), ["in force", "rolled out in 7.5 s", "left"]),  # 3 changed settings alone
        (3, rollout(3, 3, RolloutState.DONE), ["in force, restarted in 7.5 s", "left", "left"]),
        (3, rollout(3, 3, RolloutState.ROLLING), ["in force, restarting", "left", "left"]),
        (2, rollout(2, 3, RolloutState.ROLLED_BACK, "aborted by ann"), ["rolled back: aborted by ann", "in force again", "left"]),
    ],
)
def test_what_became_of_each(in_force: int, latest: Rollout | None, newest_first: list[str]) -> None:
    steps = history(Service(app="shop", name="web", revision=in_force, rollout=latest), THREE)
    assert [step.outcome for step in steps] == newest_first
    assert [step.revision for step in steps if step.in_force] == [in_force]


@pytest.mark.parametrize(
    ("in_force", "newest_first", "outcomes"),
    [
        (
            3,
            [rollout(1, 3, RolloutState.DONE, number=2), rollout(1, 2, RolloutState.OVERTAKEN, number=1)],
            ["in force, rolled out in 7.5 s", "overtaken by 3", "left"],
        ),
        (
            2,
            [rollout(3, 2, RolloutState.DONE, number=3), rollout(2, 3, RolloutState.DONE, number=2),
             rollout(1, 2, RolloutState.DONE, number=1)],
            ["rolled out in 7.5 s, left for 2 by hand", "in force, back in 7.5 s (the latest of 2 rollouts)", "left"],
        ),
        (
            3,
            [rollout(2, 3, RolloutState.ROLLING, number=3), rollout(2, 3, RolloutState.ROLLED_BACK, WHY, number=2),
             rollout(1, 2, RolloutState.DONE, number=1)],
            ["rolling out (the latest of 2 rollouts)", "rolled out in 7.5 s", "left"],
        ),
        (
            3,
            [rollout(3, 3, RolloutState.ROLLING, number=2), rollout(2, 3, RolloutState.OVERTAKEN, number=1)],
            ["in force, overtaken by a restart, restarting", "left", "left"],
        ),
        (
            3,
            [rollout(2, 3, RolloutState.DONE, number=3), rollout(2, 2, RolloutState.DONE, number=2),
             rollout(1, 2, RolloutState.DONE, number=1)],
            ["in force, rolled out in 7.5 s", "rolled out in 7.5 s", "left"],
        ),
    ],
    ids=["overtaken", "there and back", "again", "restarted in the middle", "restarted before"],
)  # fmt: skip
def test_every_rollout_of_the_past_is_told(in_force: int, newest_first: list[Rollout], outcomes: list[str]) -> None:
    latest, *past = newest_first
    steps = history(Service(app="shop", name="web", revision=in_force, rollout=latest), THREE, past)
    assert [step.outcome for step in steps] == outcomes


def test_an_app_says_which_services_were_at_which_revision() -> None:
    revisions = (
        AppRevision(app="shop", number=2, services={"web": 3, "api": 1}, created_at=2.0, actor="ann", why="web: image"),
        AppRevision(app="shop", number=1, services={"web": 2}, created_at=1.0),
    )
    newest, first = app_history(App(name="shop", revision=2), revisions)
    assert (newest.revision, newest.in_force, newest.services, newest.why) == (2, True, "api 1, web 3", "web: image")
    assert (first.in_force, first.services) == (False, "web 2")


def test_a_service_that_went_back_by_itself_is_named_beside_its_app() -> None:
    revisions = (AppRevision(app="shop", number=2, services={"web": 3, "api": 1}),)
    web = Service(app="shop", name="web", revision=2, rollout=rollout(2, 3, RolloutState.ROLLED_BACK, WHY))
    services = tuple(ServiceStatus(service=s) for s in (web, Service(app="shop", name="api", revision=1)))
    status = AppStatus(app=App(name="shop", revision=2), services=services)
    assert list(departures(status, revisions)) == [f"shop/web is at revision 2, not 3: {WHY}"]


def test_what_each_changed_and_no_value_that_may_be_secret() -> None:
    mount = FileMount(kind=FileKind.SECRET, name="key", target="/run/secrets/key", digest="ab" * 32)
    made = (
        revision(3, environment={"PASSWORD": "hunter2", "A": "1", "B": "2", "C": "3"}),
        revision(2, files=(mount,)),
        revision(1, files=(mount,)),
    )
    newest, middle, first = history(Service(app="shop", name="web", revision=3), made)
    assert told(first) == "created"
    assert told(middle) == "image web:1 -> web:2"
    assert told(newest) == "image web:2 -> web:3, environment.A, environment.B and 7 more"
    assert "hunter2" not in told(newest)
    assert "ab" * 32 not in repr(newest)


def test_the_oldest_that_is_shown_need_not_be_the_first() -> None:
    (step,) = history(Service(app="shop", name="web", revision=2), (revision(2),))
    assert told(step) == ""
