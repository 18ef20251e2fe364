"""Every fault of a strategy is found, with its path."""

import math

import pytest
from rookery.model import (
    AppSpec,
    BlueGreen,
    Canary,
    ContainerSpec,
    Global,
    GlobalJob,
    HttpRoute,
    Port,
    PortMode,
    PortProtocol,
    ReplicatedJob,
    ServiceSpec,
    Strategy,
    UpdateConfig,
    UpdateOrder,
)
from rookery_manager.planners.validate import app_faults

STOP_FIRST = UpdateConfig(order=UpdateOrder.STOP_FIRST)
NOT_BALANCED = (Port(target=80, published=80, mode=PortMode.HOST), Port(target=53, protocol=PortProtocol.UDP))


def faults(service: ServiceSpec) -> list[str]:
    return list(app_faults(AppSpec(name="shop", services=(service,)), others=(), stored=()))


def web(**fields: object) -> ServiceSpec:
    return ServiceSpec(**{"name": "web", "container": ContainerSpec(image="web:1"), **fields})  # type: ignore[arg-type]


def routed(strategy: Strategy, **fields: object) -> ServiceSpec:
    return web(**{"ports": (Port(target=80),), "strategy": strategy, **fields})


@pytest.mark.parametrize(
    "service",
    [
        routed(Canary()),
        routed(Canary(steps=(100,), interval_s=0.0, min_requests=0, sticky_cookie="__Host-shop")),
        routed(Canary(sticky_header="X-User"), ports=(), routes=(HttpRoute(target=80),)),
        routed(BlueGreen(keep_s=0.0), mode=Global()),
        routed(BlueGreen(), rollback=UpdateConfig(order=UpdateOrder.STOP_FIRST)),
        web(update=UpdateConfig(order=UpdateOrder.STOP_FIRST)),
        web(mode=ReplicatedJob()),
    ],
)
def test_strategies_that_work(service: ServiceSpec) -> None:
    assert faults(service) == []


@pytest.mark.parametrize(
    ("service", "fault"),
    [
        (routed(Canary(steps=())), "steps: missing; they are the shares of the requests in percent, the last of them 100"),
        (routed(Canary(steps=(0, 100))), "steps: 0 is not between 1 and 100"),
        (routed(Canary(steps=(5, 101))), "steps: 101 is not between 1 and 100"),
        (routed(Canary(steps=(5, 50, 25, 100))), "steps: 25 is not larger than the step before it"),
        (routed(Canary(steps=(5, 5, 100))), "steps: 5 is not larger than the step before it"),
        (routed(Canary(steps=(5, 50))), "steps: the last is 50, so the rollout would never end; it has to be 100"),
        (routed(Canary(interval_s=-1.0)), "interval_s: -1 is negative"),
        (routed(Canary(interval_s=math.nan)), "interval_s: nan is no number to work with"),
        (routed(Canary(interval_s=1e10)), "interval_s: 1e+10 s are too many; the most is 1e+09"),
        (routed(Canary(min_requests=-1)), "min_requests: -1 is negative"),
        (routed(BlueGreen(keep_s=math.inf)), "keep_s: inf is no number to work with"),
        (routed(Canary(sticky_cookie="a;b")), "sticky_cookie: 'a;b' is no name of a cookie"),
        (routed(Canary(sticky_header="X-User\n")), "sticky_header: 'X-User\\n' is no name of a header"),
        (routed(Canary(sticky_header="x" * 129)), f"sticky_header: '{'x' * 80}' is no name of a header"),
        (
            routed(Canary(sticky_cookie="a", sticky_header="b")),
            "sticky_header: there is a sticky cookie already; leave one of them out",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_faults_within_a_strategy(service: ServiceSpec, fault: str) -> None:
    assert faults(service) == [f"services.web.strategy.{fault}"]


@pytest.mark.parametrize("strategy", [Canary(), BlueGreen()], ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        (
            {"update": STOP_FIRST},
            "needs old and new replicas side by side, but update.order is stop-first; use start-first, or rolling",
        ),
        ({"mode": ReplicatedJob()}, "jobs run to their end and serve no requests; use rolling"),
        ({"mode": GlobalJob(), "update": STOP_FIRST}, "jobs run to their end and serve no requests; use rolling"),
        (
            {"ports": NOT_BALANCED},
            "no requests pass the proxies, as the service has neither an ingress TCP port nor a route; use rolling",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_strategies_that_contradict_the_rest(strategy: Strategy, fields: dict[str, object], fault: str) -> None:
    assert faults(routed(strategy, **fields)) == [f"services.web.strategy: {fault}"]


def test_a_step_below_nothing_is_refused() -> None:
    assert {fault.partition(": ")[0] for fault in faults(routed(Canary(steps=(-5, 100))))} == {
        "services.web.strategy.steps",
        "services.web.strategy.steps[0]",
    }
