"""What an applied spec changes: idempotent, immutable revisions, a revision only for what is one."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rookery.diff import diff_specs
from rookery.model import (
    App,
    AppSpec,
    BlueGreen,
    Canary,
    ChangeKind,
    ContainerSpec,
    FieldChange,
    FileContent,
    FileKind,
    FileMount,
    Global,
    Replicated,
    RestartPolicy,
    Revision,
    Service,
    ServiceSpec,
)
from rookery_manager.planners.apply import ApplyPlan, AppRecords, plan_apply, remove_app

WEB = ServiceSpec(name="web", container=ContainerSpec(image="web:1", environment={"A": "1"}), mode=Replicated(replicas=2))
DB = ServiceSpec(name="db", container=ContainerSpec(image="db:1"))


def app(*services: ServiceSpec, files: tuple[FileContent, ...] = ()) -> AppSpec:
    return AppSpec(name="shop", services=services, files=files)


def apply(records: AppRecords, spec: AppSpec, *, now: float = 1.0, prune: bool = False) -> tuple[ApplyPlan, AppRecords]:
    """The plan, and the records once it is written."""
    plan = plan_apply(spec, records, now=now, actor="ann", prune=prune)
    found = records.app
    services, revisions, files = dict(records.services), {k: dict(v) for k, v in records.revisions.items()}, set(records.files)
    for write in plan.writes:
        match write.record:
            case App():
                found = write.record
            case Service():
                services[write.record.name] = write.record
            case Revision():
                held = revisions.setdefault(write.record.service, {})
                assert write.record.number not in held, "a revision was changed"
                held[write.record.number] = write.record
    files |= {(content.kind, content.name, content.digest) for content in plan.contents}
    return plan, AppRecords(app=found, services=services, revisions=revisions, files=frozenset(files))


def kinds(plan: ApplyPlan) -> dict[str, tuple[ChangeKind, int, int]]:
    return {change.service: (change.kind, change.revision, change.replicas) for change in plan.changes}


def test_a_new_app() -> None:
    plan, records = apply(AppRecords(), app(WEB, DB))
    assert kinds(plan) == {"web": (ChangeKind.CREATE, 1, 2), "db": (ChangeKind.CREATE, 1, 1)}
    assert records.app == App(name="shop", services=("db", "web"), created_at=1.0, changed_at=1.0, revision=1)
    assert records.services["web"].replicas == 2
    assert records.revisions["web"][1].actor == "ann"
    assert [write.why for write in plan.writes if write.why] == [
        "created",
        "created",
        "created",
    ]


def test_the_same_again_writes_nothing() -> None:
    _, records = apply(AppRecords(), app(WEB, DB))
    plan, _ = apply(records, app(WEB, DB), now=2.0, prune=True)
    assert plan.writes == ()
    assert kinds(plan) == {"web": (ChangeKind.KEEP, 1, 2), "db": (ChangeKind.KEEP, 1, 1)}


def test_a_new_image_is_an_update_with_a_new_revision() -> None:
    _, records = apply(AppRecords(), app(WEB))
    newer = dataclasses.replace(WEB, container=dataclasses.replace(WEB.container, image="web:2"))
    plan, after = apply(records, app(newer), now=2.0)
    assert kinds(plan) == {"web": (ChangeKind.UPDATE, 2, 2)}
    assert plan.changes[0].fields == (FieldChange(path="container.image", before="web:1", after="web:2"),)
    assert after.services["web"].why == "revision 2: image web:1 -> web:2"
    assert after.services["web"].created_at == 1.0
    assert set(after.revisions["web"]) == {1, 2}


def test_settings_make_a_revision_and_replace_nothing() -> None:
    _, records = apply(AppRecords(), app(WEB))
    plan, after = apply(records, app(dataclasses.replace(WEB, restart=RestartPolicy(max_attempts=3))))
    assert kinds(plan) == {"web": (ChangeKind.SETTINGS, 2, 2)}
    assert after.services["web"].revision == 2
    assert after.services["web"].why == "revision 2: restart.max_attempts"


def test_another_count_alone_is_a_scale_without_a_revision() -> None:
    _, records = apply(AppRecords(), app(WEB))
    more = dataclasses.replace(WEB, mode=Replicated(replicas=5))
    plan, after = apply(records, app(more))
    assert kinds(plan) == {"web": (ChangeKind.SCALE, 1, 5)}
    assert plan.changes[0].fields == (FieldChange(path="replicas", before="2", after="5"),)
    assert set(after.revisions["web"]) == {1}
    again, _ = apply(after, app(more))
    assert again.writes == ()


def test_a_service_scaled_by_hand_goes_back_to_what_the_spec_says() -> None:
    _, records = apply(AppRecords(), app(WEB))
    by_hand = dataclasses.replace(records.services["web"], replicas=7)
    plan, after = apply(dataclasses.replace(records, services={"web": by_hand}), app(WEB))
    assert kinds(plan) == {"web": (ChangeKind.SCALE, 1, 2)}
    assert after.services["web"].replicas == 2


def test_going_back_to_an_older_spec_is_a_new_revision_again() -> None:
    _, records = apply(AppRecords(), app(WEB))
    _, records = apply(records, app(dataclasses.replace(WEB, container=ContainerSpec(image="web:2"))))
    plan, records = apply(records, app(WEB))
    assert kinds(plan) == {"web": (ChangeKind.UPDATE, 3, 2)}


def test_after_a_rollback_the_next_number_is_above_all() -> None:
    _, records = apply(AppRecords(), app(WEB))
    _, records = apply(records, app(dataclasses.replace(WEB, container=ContainerSpec(image="web:2"))))
    back = dataclasses.replace(records.services["web"], revision=1)
    plan, _ = apply(
        dataclasses.replace(records, services={"web": back}),
        app(dataclasses.replace(WEB, container=ContainerSpec(image="web:3"))),
    )
    assert kinds(plan) == {"web": (ChangeKind.UPDATE, 3, 2)}


def test_a_service_that_is_no_longer_named_is_removed_only_when_asked() -> None:
    _, records = apply(AppRecords(), app(WEB, DB))
    plan, kept = apply(records, app(WEB))
    assert plan.writes == ()
    assert kept.app is not None
    assert kept.app.services == ("db", "web")
    plan, pruned = apply(records, app(WEB), prune=True)
    assert kinds(plan) == {"web": (ChangeKind.KEEP, 1, 2), "db": (ChangeKind.REMOVE, 1, 0)}
    assert pruned.services["db"].removing
    assert pruned.app is not None
    assert pruned.app.services == ("web",)
    plan, _ = apply(pruned, app(WEB), prune=True)
    assert plan.writes == ()


def test_an_app_that_is_being_removed_can_be_had_again() -> None:
    _, records = apply(AppRecords(), app(WEB))
    leaving = AppRecords(
        app=dataclasses.replace(records.app, removing=True) if records.app else None,
        services={"web": dataclasses.replace(records.services["web"], removing=True)},
        revisions=records.revisions,
    )
    plan, after = apply(leaving, app(WEB), now=5.0)
    assert kinds(plan) == {"web": (ChangeKind.CREATE, 1, 2)}
    assert not after.services["web"].removing
    assert after.app is not None
    assert not after.app.removing


def test_removing_an_app_takes_its_services_with_it_and_is_done_once() -> None:
    _, records = apply(AppRecords(), app(WEB, DB))
    writes = remove_app(records, now=2.0)
    assert [getattr(write.record, "removing", None) for write in writes] == [True, True, True]
    assert {write.why for write in writes} == {"app shop is removed", "to be removed"}
    assert records.app is not None
    assert remove_app(AppRecords(app=dataclasses.replace(records.app, removing=True)), now=3.0) == ()


def test_contents_are_stored_once_and_only_when_mounted() -> None:
    secret = FileContent(kind=FileKind.SECRET, name="pw", content=b"hunter2", digest="d" * 64)
    unused = FileContent(kind=FileKind.CONFIG, name="other", content=b"", digest="e" * 64)
    mount = FileMount(kind=FileKind.SECRET, name="pw", target="/run/secrets/pw", digest="d" * 64)
    web = dataclasses.replace(WEB, container=ContainerSpec(image="web:1", files=(mount,)))
    plan, records = apply(AppRecords(), app(web, files=(secret, unused)))
    assert plan.contents == (secret,)
    plan, _ = apply(records, app(web, files=(secret,)))
    assert plan.writes == ()


def test_a_difference_shows_digests_and_never_contents() -> None:
    def mounting(digest: str) -> ServiceSpec:
        mount = FileMount(kind=FileKind.SECRET, name="pw", target="/run/secrets/pw", digest=digest)
        return dataclasses.replace(WEB, container=dataclasses.replace(WEB.container, files=(mount,)))

    assert diff_specs(mounting("a" * 64), mounting("b" * 64)) == (
        FieldChange(path="container.files[0].digest", before="a" * 12, after="b" * 12),
    )


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (dataclasses.replace(WEB, mode=Global()), [("mode", "Replicated", "Global")]),
        (
            dataclasses.replace(WEB, container=ContainerSpec(image="web:1", environment={"A": "2", "B": "x"})),
            [("container.environment.A", "1", "2"), ("container.environment.B", "", "x")],
        ),
        (dataclasses.replace(WEB, container=ContainerSpec(image="web:1")), [("container.environment.A", "1", "")]),
        (dataclasses.replace(WEB, mode=Replicated(replicas=9)), []),
        (dataclasses.replace(WEB, rebalance=False), [("rebalance", "true", "")]),
        (
            dataclasses.replace(WEB, strategy=Canary(steps=(5, 100), sticky_cookie="shop")),
            [
                ("strategy", "Rolling", "Canary"),
                ("strategy.steps", "", "5, 100"),
                ("strategy.interval_s", "", "30"),
                ("strategy.min_requests", "", "50"),
                ("strategy.sticky_cookie", "", "shop"),
            ],
        ),
    ],
)
def test_differences_by_path(after: ServiceSpec, expected: list[tuple[str, str, str]]) -> None:
    assert [(c.path, c.before, c.after) for c in diff_specs(WEB, after)] == expected


def test_a_difference_of_two_strategies() -> None:
    canary, blue_green = dataclasses.replace(WEB, strategy=Canary()), dataclasses.replace(WEB, strategy=BlueGreen())
    steps = diff_specs(canary, dataclasses.replace(WEB, strategy=Canary(steps=(10, 100))))
    assert steps == (FieldChange(path="strategy.steps", before="5, 25, 50, 100", after="10, 100"),)
    assert [(c.path, c.before, c.after) for c in diff_specs(canary, blue_green)] == [
        ("strategy", "Canary", "BlueGreen"),
        ("strategy.keep_s", "", "60"),
        ("strategy.steps", "5, 25, 50, 100", ""),
        ("strategy.interval_s", "30", ""),
        ("strategy.min_requests", "50", ""),
    ]


specs = st.builds(
    ServiceSpec,
    name=st.sampled_from(["a", "b", "c"]),
    container=st.builds(ContainerSpec, image=st.sampled_from(["x:1", "x:2"])),
    mode=st.one_of(st.builds(Replicated, replicas=st.integers(0, 4)), st.just(Global())),
    rebalance=st.booleans(),
)


@given(st.lists(st.tuples(st.lists(specs, max_size=3, unique_by=lambda s: s.name), st.booleans()), max_size=8))
def test_any_sequence_of_applies_is_idempotent_and_numbers_go_up(steps: list[tuple[list[ServiceSpec], bool]]) -> None:
    records = AppRecords()
    for wanted, prune in steps:
        before = {name: max(held) for name, held in records.revisions.items()}
        plan, records = apply(records, app(*wanted), prune=prune)
        for change in plan.changes:
            if change.kind in (ChangeKind.UPDATE, ChangeKind.SETTINGS):
                assert change.revision == before[change.service] + 1
        for spec in wanted:
            service = records.services[spec.name]
            assert not service.removing
            held = records.revisions[spec.name][service.revision].spec
            assert dataclasses.replace(held, mode=spec.mode) == spec
        again, _ = apply(records, app(*wanted), prune=prune)
        assert again.writes == ()
        assert {change.kind for change in again.changes} <= {ChangeKind.KEEP}
