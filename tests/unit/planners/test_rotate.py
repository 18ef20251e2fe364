"""A new version of a secret: what it changes, and what it leaves alone."""

from dataclasses import replace

from rookery.model import (
    App,
    AppRevision,
    Autoscale,
    ContainerSpec,
    FileKind,
    FileMount,
    PastRollout,
    Revision,
    Rollout,
    RolloutState,
    ScaleByHand,
    Service,
    ServiceSpec,
    StoredFile,
)
from rookery_manager.planners.rotate import plan_rotation

FILE = StoredFile(app="shop", kind=FileKind.SECRET, name="pw", version=2)
MOUNT = FileMount(kind=FileKind.SECRET, name="key", target="/run/secrets/key", source="pw", version=1)
APP = App(name="shop", services=("api", "db", "web"), revision=4)


def revision(service: str, *mounts: FileMount, number: int = 1) -> Revision:
    spec = ServiceSpec(name=service, container=ContainerSpec(image=f"{service}:1", files=mounts))
    return Revision(app="shop", service=service, number=number, spec=spec, actor="ann", why="created", created_at=1.0)


def test_who_has_it_gets_a_revision_and_a_rollout_and_nobody_else() -> None:
    others = (
        replace(MOUNT, target="/other", source="other"),
        replace(MOUNT, target="/config", kind=FileKind.CONFIG),
        replace(MOUNT, target="/own", source="", digest="d" * 64, version=0),
    )
    by_hand = ScaleByHand(policy=Autoscale(minimum=1, maximum=9))
    web = Service(app="shop", name="web", revision=3, replicas=7, by_hand=by_hand, created_at=1.0)
    services = (web, Service(app="shop", name="db", revision=1), Service(app="shop", name="api", revision=1, removing=True))
    revisions = {
        "web": {n: revision("web", MOUNT, *others, number=n) for n in (3, 5)},
        "db": {1: revision("db", *others)},
        "api": {1: revision("api", MOUNT)},
    }
    plan = plan_rotation(FILE, APP, services, revisions, now=9.0, actor="bob")
    assert plan.services == ("web",)
    made, service, app, app_revision = [write.record for write in plan.writes]
    assert isinstance(made, Revision)
    assert (made.number, made.actor, made.created_at) == (6, "bob", 9.0), "5 is taken by what was rolled back"
    assert made.spec.container.files == (replace(MOUNT, version=2), *others)
    assert service == replace(
        web,
        revision=6,
        changed_at=9.0,
        why="revision 6: secret pw at version 2",
        rollout=Rollout(before=3, after=6, started_at=9.0, changed_at=9.0, number=1, actor="bob"),
    )
    assert app == replace(APP, revision=5, changed_at=9.0)
    assert isinstance(app_revision, AppRevision)
    assert (app_revision.services, app_revision.why) == ({"web": 6, "db": 1}, "secret pw at version 2")


def test_a_rollout_under_way_is_overtaken() -> None:
    rollout = Rollout(before=1, after=2, number=4, state=RolloutState.ROLLING)
    web = Service(app="shop", name="web", revision=2, rollout=rollout)
    revisions = {"web": {n: revision("web", MOUNT, number=n) for n in (1, 2)}}
    plan = plan_rotation(FILE, APP, (web,), revisions, now=9.0, actor="bob")
    (overtaken,) = [write.record for write in plan.writes if isinstance(write.record, PastRollout)]
    assert overtaken.rollout.state is RolloutState.OVERTAKEN
    (after,) = [write.record for write in plan.writes if isinstance(write.record, Service)]
    assert after.rollout is not None
    assert (after.rollout.before, after.rollout.after) == (1, 3)


def test_nobody_has_it() -> None:
    web = Service(app="shop", name="web", revision=1)
    assert plan_rotation(FILE, APP, (web,), {"web": {1: revision("web")}}, now=9.0, actor="bob").writes == ()
    assert plan_rotation(FILE, None, (), {}, now=9.0, actor="bob").writes == ()
