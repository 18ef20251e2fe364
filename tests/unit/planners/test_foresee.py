"""What a change means for replicas and nodes, before anything is done."""

from rollout_views import replica, spec
from rookery.model import (
    BlueGreen,
    Canary,
    ChangeKind,
    Dependency,
    Global,
    PlannedReplica,
    Rolling,
    ServiceChange,
    ServicePlan,
    ServiceSpec,
    UpdateConfig,
    UpdateOrder,
)
from rookery_manager.planners.foresee import Foresight, foresee, how


def change(kind: ChangeKind, service: str = "web", replicas: int = 3) -> ServiceChange:
    return ServiceChange(service=service, kind=kind, revision=2, replicas=replicas)


def foreseen(
    kind: ChangeKind,
    *,
    there: int = 3,
    replicas: int = 3,
    spec_after: ServiceSpec | None = None,
    placed: tuple[str, ...] = (),
    images: dict[str, set[str]] | None = None,
) -> ServicePlan:
    known = Foresight(
        changes=(change(kind, replicas=replicas),),
        specs={"web": spec_after or spec("web:2", Rolling())},
        replicas={"web": tuple(replica(n, 1) for n in range(1, there + 1))},
        images=images or {},
    )
    placements = [PlannedReplica(service="web", slot=n, node_id=node, node_name=node) for n, node in enumerate(placed, 1)]
    (plan,) = foresee(known, placements)
    return plan


def counts(plan: ServicePlan) -> tuple[int, int, int, int]:
    return plan.created, plan.replaced, plan.kept, plan.removed


def test_how_many_come_go_and_stay() -> None:
    assert counts(foreseen(ChangeKind.CREATE, there=0)) == (3, 0, 0, 0)
    assert counts(foreseen(ChangeKind.UPDATE)) == (0, 3, 0, 0)
    assert counts(foreseen(ChangeKind.UPDATE, replicas=5)) == (2, 3, 0, 0)
    assert counts(foreseen(ChangeKind.UPDATE, replicas=2)) == (0, 2, 0, 1)
    assert counts(foreseen(ChangeKind.SCALE, replicas=5)) == (2, 0, 3, 0)
    assert counts(foreseen(ChangeKind.SETTINGS)) == (0, 0, 3, 0)
    assert counts(foreseen(ChangeKind.REMOVE)) == (0, 0, 0, 3)


def test_a_global_service_has_one_on_each_node_that_it_is_placed_on() -> None:
    everywhere = spec("web:2", Rolling(), mode=Global())
    assert counts(foreseen(ChangeKind.UPDATE, there=2, spec_after=everywhere, placed=("n1", "n2", "n3"))) == (1, 2, 0, 0)
    assert counts(foreseen(ChangeKind.SETTINGS, there=2, spec_after=everywhere)) == (0, 0, 2, 0)


def test_the_nodes_that_have_to_pull_the_image() -> None:
    plan = foreseen(ChangeKind.UPDATE, placed=("n1", "n2", "n2"), images={"n1": {"web:2"}, "n2": {"web:1"}})
    assert (plan.image, plan.pull_on) == ("web:2", ("n2",))


def test_how_it_goes_is_said_of_what_replaces() -> None:
    assert foreseen(ChangeKind.UPDATE).how == "1 at a time, the new one first"
    assert foreseen(ChangeKind.SCALE).how == ""
    at_once = UpdateConfig(parallelism=0, order=UpdateOrder.STOP_FIRST)
    assert how(spec("web:2", Rolling(), update=at_once)) == "all at once, the old one stops first"
    assert how(spec("web:2", BlueGreen(keep_s=20.0))) == (
        "blue-green: all new ones beside the old, which are kept for 20 s after that"
    )
    assert how(spec("web:2", Canary(steps=(5, 100)))) == "canary: 5, 100 % of the requests, each step 30 s or longer"


def test_waves_go_by_what_depends_on_what_and_moves() -> None:
    on_api = (Dependency(service="api"), Dependency(service="mail"))
    known = Foresight(
        changes=(change(ChangeKind.UPDATE), change(ChangeKind.UPDATE, "api"), change(ChangeKind.KEEP, "mail")),
        specs={"web": spec("web:2", depends_on=on_api), "api": spec("api:2"), "mail": spec("mail:1")},
    )
    plans = foresee(known, [])
    assert [(plan.service, plan.wave, plan.after) for plan in plans] == [("api", 1, ()), ("mail", 1, ()), ("web", 2, ("api",))]
