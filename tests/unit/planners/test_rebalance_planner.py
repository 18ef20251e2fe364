"""When a replica is moved to a node that came back, and when it is left alone."""

from dataclasses import replace

import pytest
from rookery.model import (
    ContainerSpec,
    Global,
    Node,
    NodeId,
    NodeInfo,
    Placement,
    Replica,
    ReplicaId,
    ReplicaState,
    Rollout,
    RuntimeKind,
    Service,
    ServiceSpec,
    UpdateConfig,
    UpdateOrder,
    VolumeMount,
)
from rookery_manager import scheduler
from rookery_manager.planners.actions import Move
from rookery_manager.planners.rebalance import LOOK_AGAIN_S, BalanceView, plan_rebalance

NOW = 1_000.0
SPEC = ServiceSpec(name="web", container=ContainerSpec(image="web:1"))


def node(name: str, *, changed_at: float = 0.0, zone: str = "a") -> Node:
    info = NodeInfo(hostname=name, runtimes=(RuntimeKind.DOCKER,), labels={"zone": zone})
    return Node(id=NodeId(name), info=info, changed_at=changed_at)


def replica(slot: int, on: str, **changes: object) -> Replica:
    made = Replica(
        id=ReplicaId(f"r{slot}"),
        app="shop",
        service="web",
        slot=slot,
        revision=1,
        node_id=NodeId(on),
        state=ReplicaState.RUNNING,
        ready=True,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def view(*replicas: Replica, nodes: tuple[Node, ...], spec: ServiceSpec = SPEC, wanted: int | None = None) -> BalanceView:
    specs = {r.id: spec for r in replicas}
    return BalanceView(
        service=Service(app="shop", name="web", revision=1, replicas=len(replicas) if wanted is None else wanted),
        spec=spec,
        replicas=replicas,
        nodes={n.id: scheduler.view(n, [r for r in replicas if r.node_id == n.id], specs) for n in nodes},
    )


N1, N2, N3 = node("n1"), node("n2"), node("n3")
UNEVEN = (replica(1, "n1"), replica(2, "n2"), replica(3, "n1"), replica(4, "n2"))


def moves(of: BalanceView) -> list[str]:
    return [f"{a.replica.name}: {a.why}" for a in plan_rebalance(of, NOW).actions if isinstance(a, Move)]


def test_one_replica_at_a_time_goes_to_the_node_that_has_two_fewer() -> None:
    plan = plan_rebalance(view(*UNEVEN, nodes=(N1, N2, N3)), NOW)
    (move,) = plan.actions
    assert isinstance(move, Move)
    assert (move.replica.name, move.why) == ("shop/web.4", "node n3 has 0 of shop/web and node n2 has 2")
    assert plan.wake_at == NOW + LOOK_AGAIN_S


def test_a_difference_of_one_is_even() -> None:
    plan = plan_rebalance(view(replica(1, "n1"), replica(2, "n2"), nodes=(N1, N2, N3)), NOW)
    assert (plan.actions, plan.wake_at) == ((), None)


def test_a_node_that_has_only_just_come_waits() -> None:
    plan = plan_rebalance(view(*UNEVEN, nodes=(N1, N2, node("n3", changed_at=NOW - 1))), NOW)
    assert (plan.actions, plan.wake_at) == ((), NOW + 4)


@pytest.mark.parametrize(
    "odd",
    [
        {"ready": False},
        {"state": ReplicaState.DRAINING},
        {"move_why": "node n3 has 0"},
        {"revision": 2},
    ],
)
def test_a_service_in_the_middle_of_something_waits(odd: dict[str, object]) -> None:
    plan = plan_rebalance(view(*UNEVEN[:3], replica(4, "n2", **odd), nodes=(N1, N2, N3)), NOW)
    assert (plan.actions, plan.wake_at) == ((), NOW + LOOK_AGAIN_S)


def test_a_rollout_comes_first() -> None:
    uneven = view(*UNEVEN, nodes=(N1, N2, N3))
    rolling = replace(uneven, service=replace(uneven.service, rollout=Rollout(before=1, after=2)))
    assert plan_rebalance(rolling, NOW).actions == ()


@pytest.mark.parametrize(
    "spec",
    [
        replace(SPEC, rebalance=False),
        replace(SPEC, mode=Global()),
        replace(SPEC, update=UpdateConfig(order=UpdateOrder.STOP_FIRST)),
        replace(SPEC, container=ContainerSpec(image="db", mounts=(VolumeMount(volume="shop_data", target="/data"),))),
    ],
    ids=["switched off", "global", "stop-first", "with data"],
)
def test_some_services_are_never_moved(spec: ServiceSpec) -> None:
    plan = plan_rebalance(view(*UNEVEN, nodes=(N1, N2, N3), spec=spec), NOW)
    assert (plan.actions, plan.wake_at) == ((), None)


def test_what_the_scheduler_would_put_back_stays() -> None:
    only_two = replace(SPEC, placement=Placement(constraints=("node.hostname != n3",)))
    assert moves(view(*UNEVEN, nodes=(N1, N2, N3), spec=only_two)) == []
    by_zone = replace(SPEC, placement=Placement(preferences=("node.labels.zone",)))
    alone = node("n2", zone="b")
    even_by_zone = (replica(1, "n1"), replica(2, "n2"), replica(3, "n3"), replica(4, "n2"))
    assert moves(view(*even_by_zone, nodes=(N1, alone, N3), spec=by_zone)) == []


def test_moves_come_to_an_end() -> None:
    replicas = [replica(n, "n1") for n in range(1, 8)]
    for _ in range(20):
        plan = plan_rebalance(view(*replicas, nodes=(N1, N2, N3)), NOW)
        if not plan.actions:
            break
        (move,) = plan.actions
        assert isinstance(move, Move)
        target = scheduler.place(
            [scheduler.Request(replica_id=move.replica.id, key=move.replica.key, slot=move.replica.slot, spec=SPEC)],
            view(*replicas, nodes=(N1, N2, N3)).nodes,
        )[0]
        assert isinstance(target, scheduler.Placed)
        replicas = [replace(r, node_id=target.node_id) if r.id == move.replica.id else r for r in replicas]
    counts = sorted(sum(r.node_id == n.id for r in replicas) for n in (N1, N2, N3))
    assert counts == [2, 2, 3]
