"""Which changes of a spec replace replicas."""

import dataclasses

import pytest
from rookery.model import (
    Canary,
    ContainerSpec,
    Dependency,
    Global,
    HttpRoute,
    OnDisconnect,
    Placement,
    Port,
    PortMode,
    Replicated,
    Resources,
    RestartPolicy,
    RuntimeKind,
    ServiceSpec,
    TcpProbe,
    UpdateConfig,
)
from rookery_manager.planners.template import NEEDS_NEW_CONTAINER, same_template

BASE = ServiceSpec(name="web", container=ContainerSpec(image="web:1"), ports=(Port(target=80, published=8080),))


def test_every_field_of_a_spec_is_decided() -> None:
    assert list(NEEDS_NEW_CONTAINER) == [field.name for field in dataclasses.fields(ServiceSpec)]


@pytest.mark.parametrize(
    "changes",
    [
        {"container": ContainerSpec(image="web:2")},
        {"container": ContainerSpec(image="web:1", environment={"A": "1"})},
        {"mode": Global()},
        {"reservations": Resources(cpus=1)},
        {"limits": Resources(memory_bytes=1)},
        {"placement": Placement(constraints=("node.hostname == n1",))},
        {"placement": Placement(max_replicas_per_node=1)},
        {"ports": (Port(target=81, published=8080),)},
        {"ports": (Port(target=80, published=8080, mode=PortMode.HOST),)},
        {"expose": (81,)},
        {"routes": (HttpRoute(target=81),)},
        {"probe": TcpProbe(port=80)},
        {"runtime": RuntimeKind.PROCESS},
    ],
    ids=str,
)
def test_needs_new_containers(changes: dict[str, object]) -> None:
    assert not same_template(BASE, dataclasses.replace(BASE, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"container": ContainerSpec(image="web:1", stop_grace_period_s=60, stop_signal="SIGQUIT")},
        {"mode": Replicated(replicas=7)},
        {"placement": Placement(preferences=("node.labels.zone",))},
        {"restart": RestartPolicy(max_attempts=3)},
        {"update": UpdateConfig(parallelism=2)},
        {"rollback": UpdateConfig(parallelism=2)},
        {"ports": (Port(target=80, published=9090, app_protocol="http"),)},
        {"routes": (HttpRoute(target=80, host="shop.example"),)},
        {"expose": (80,)},
        {"depends_on": (Dependency(service="db"),)},
        {"labels": {"a": "b"}},
        {"drain_timeout_s": 5.0},
        {"on_disconnect": OnDisconnect.STOP, "on_disconnect_after_s": 3.0},
        {"rebalance": False},
        {"strategy": Canary()},
    ],
    ids=str,
)
def test_needs_no_new_container(changes: dict[str, object]) -> None:
    assert same_template(BASE, dataclasses.replace(BASE, **changes))  # type: ignore[arg-type]
