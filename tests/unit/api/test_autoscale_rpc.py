"""GetAutoscale and SetAutoscale, and what Apply and Scale make of an autoscaled service."""

import dataclasses

import grpc
import pytest
from api_cluster import Cluster, refused, with_cluster
from rookery.model import (
    AppSpec,
    Autoscale,
    AutoscaleStatus,
    ContainerSpec,
    Global,
    Mode,
    Port,
    Replicated,
    ScaleDecision,
    ScaleMetric,
    ScaleSchedule,
    ScaleTarget,
    ServiceKey,
    ServiceSpec,
)
from rookery.v1 import control_pb2
from rookery.wire import decode, encode
from rookery_manager.demand import Seen

BY_RPS = (ScaleTarget(metric=ScaleMetric.RPS, value=50.0),)
POLICY = Autoscale(minimum=2, maximum=9, targets=BY_RPS)
PORTS = (Port(target=80, published=8080),)


def web(policy: Autoscale | None = POLICY, *, mode: Mode | None = None, ports: tuple[Port, ...] = PORTS) -> AppSpec:
    container = ContainerSpec(image="web:1")
    spec = ServiceSpec(name="web", container=container, mode=mode or Replicated(), ports=ports, autoscale=policy)
    return AppSpec(name="shop", services=(spec,))


async def apply(c: Cluster, spec: AppSpec) -> control_pb2.ApplyResponse:
    return await c.stub.Apply(control_pb2.ApplyRequest(app=encode(spec), actor="ann"))


async def get(c: Cluster) -> AutoscaleStatus:
    return decode(AutoscaleStatus, await c.stub.GetAutoscale(control_pb2.GetAutoscaleRequest(app="shop", service="web")))


def request(policy: Autoscale | None) -> control_pb2.SetAutoscaleRequest:
    return control_pb2.SetAutoscaleRequest(app="shop", service="web", policy=encode(policy) if policy else None, actor="bob")


def test_what_is_told() -> None:
    async def scene(c: Cluster) -> None:
        await apply(c, web())
        c.scaling.seen = Seen(held=4)
        c.scaling.made = (ScaleDecision(at=5.0, before=2, after=3, why="more"),)
        found = await get(c)
        assert found == AutoscaleStatus(
            app="shop", service="web", policy=POLICY, minimum=2, maximum=9, replicas=2, held=4, latest=c.scaling.made[0]
        )

    with_cluster(scene)


def test_the_latest_decisions_are_those_of_this_life_of_the_service_newest_first() -> None:
    async def scene(c: Cluster) -> None:
        await apply(c, web())
        service = c.state.services[ServiceKey("shop/web")]
        made = [ScaleDecision(at=float(at), before=at, after=at + 1, why="more") for at in range(1, 61)]
        other = dataclasses.replace(service, name="web2", scaled=made[0])
        await c.write(dataclasses.replace(service, created_at=1.0, scaled=ScaleDecision(at=0.5, why="of a life before")))
        for decision in made:
            await c.write(dataclasses.replace(service, scaled=decision), why="scale: more")
            await c.write(dataclasses.replace(service, scaled=decision, why="something else"), other)
        assert (await get(c)).decisions == tuple(reversed(made[-50:]))

    with_cluster(scene)


def test_a_deploy_starts_it_and_then_leaves_its_number_alone() -> None:
    async def scene(c: Cluster) -> None:
        (change,) = (await apply(c, web(mode=Replicated(replicas=5)))).changes
        assert change.replicas == 5
        (change,) = (await apply(c, web(mode=Replicated(replicas=3)))).changes
        assert (change.kind, change.replicas) == (control_pb2.CHANGE_KIND_KEEP, 5)
        (change,) = (await apply(c, web(None, mode=Replicated(replicas=3)))).changes  # no longer autoscaled
        assert (change.kind, change.replicas) == (control_pb2.CHANGE_KIND_SETTINGS, 3)

    with_cluster(scene)


def test_what_is_set_by_hand_is_in_force_until_the_next_deploy() -> None:
    async def scene(c: Cluster) -> None:
        await apply(c, web())
        other = Autoscale(minimum=1, maximum=3, targets=BY_RPS)
        found = decode(AutoscaleStatus, await c.stub.SetAutoscale(request(other)))
        assert (found.policy, found.by_hand) == (other, True)
        found = decode(AutoscaleStatus, await c.stub.SetAutoscale(request(POLICY)))  # as the spec says
        assert (found.policy, found.by_hand) == (POLICY, False)
        found = decode(AutoscaleStatus, await c.stub.SetAutoscale(request(None)))
        assert (found.policy, found.by_hand) == (None, True)
        assert c.state.services["shop/web"].why == "autoscaling is off: the number of replicas stays as it is"  # type: ignore[index]
        await c.stub.Scale(control_pb2.ScaleRequest(app="shop", service="web", replicas=7, actor="bob"))
        (change,) = (await apply(c, web())).changes
        assert (change.kind, change.revision, change.replicas) == (control_pb2.CHANGE_KIND_SETTINGS, 1, 7)
        assert [(field.path, field.before, field.after) for field in change.fields] == [
            ("autoscale", "off by hand", "by the spec")
        ]
        assert (await get(c)).by_hand is False
        (change,) = (await apply(c, web())).changes
        assert change.kind == control_pb2.CHANGE_KIND_KEEP

    with_cluster(scene)


def test_the_number_is_not_set_by_hand_meanwhile() -> None:
    async def scene(c: Cluster) -> None:
        await apply(c, web())
        scale = c.stub.Scale(control_pb2.ScaleRequest(app="shop", service="web", replicas=7, actor="bob"))
        told = await refused(scale, grpc.StatusCode.FAILED_PRECONDITION)
        assert "between 2 and 9" in told
        assert "'rookery autoscale off shop/web'" in told

    with_cluster(scene)


@pytest.mark.parametrize(
    ("spec", "policy", "told"),
    [
        (web(None, mode=Global()), POLICY, "policy: the service is global: it runs on every node that fits"),
        (web(None), Autoscale(minimum=3, maximum=2, targets=BY_RPS), "policy.minimum: 3 is more than the maximum, 2"),
        (web(None), Autoscale(maximum=0, minimum=0, targets=BY_RPS), "policy.maximum: 0 leaves no replica at any time"),
        (web(None), Autoscale(), "policy.targets: missing"),
        (web(None), Autoscale(targets=(ScaleTarget(metric=ScaleMetric.RPS, value=0.0),)), "policy.targets[0].value: 0 rps"),
        (web(None), Autoscale(targets=BY_RPS * 2), "policy.targets[1]: rps is there twice"),
        (web(None), Autoscale(targets=(ScaleTarget(metric=ScaleMetric.MEMORY, value=5.0),)), "targets[0]: percent of what?"),
        (web(None, ports=()), POLICY, "policy.targets[0]: no traffic of this service passes the proxies"),
        (web(None), Autoscale(targets=BY_RPS, tolerance=1.0), "policy.tolerance: 1 is not a share below 1"),
        (web(None), Autoscale(targets=BY_RPS, schedules=(ScaleSchedule(cron="x"),)), "policy.schedules[0].cron: 'x' is no cron"),
        (
            web(None),
            Autoscale(targets=BY_RPS, schedules=(ScaleSchedule(cron="* * * * *", time_zone="../../etc/passwd"),)),
            "policy.schedules[0].time_zone: '../../etc/passwd' is no time zone",
        ),
        (web(None), Autoscale(minimum=0, targets=BY_RPS, hold_most=0), "policy.hold_most: 0 is not between 1 and"),
    ],
)
def test_what_is_refused_with_its_place(spec: AppSpec, policy: Autoscale, told: str) -> None:
    async def scene(c: Cluster) -> None:
        await apply(c, spec)
        assert told in await refused(c.stub.SetAutoscale(request(policy)), grpc.StatusCode.INVALID_ARGUMENT)

    with_cluster(scene)


def test_an_unknown_metric_is_refused() -> None:
    async def scene(c: Cluster) -> None:
        await apply(c, web())
        wrong = request(POLICY)
        wrong.policy.targets[0].metric = 77  # type: ignore[assignment]
        told = await refused(c.stub.SetAutoscale(wrong), grpc.StatusCode.INVALID_ARGUMENT)
        assert told == "policy: ScaleMetric: no value has the number 77"
        wrong.policy.targets[0].ClearField("metric")
        await refused(c.stub.SetAutoscale(wrong), grpc.StatusCode.INVALID_ARGUMENT)

    with_cluster(scene)
