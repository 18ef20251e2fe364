"""`x-rookery.rollout`, and which replica goes first. Its errors and warnings are in `files/`, with the others."""

from collections.abc import Callable

import pytest
from rookery.compose.loader import Loaded
from rookery.model import BlueGreen, Canary, Global, Rolling, ServiceSpec, Strategy, UpdateOrder

Findings = Callable[..., list[str]]
Load = Callable[..., Loaded]
Service = Callable[..., ServiceSpec]

DATA = "volumes:\n  data:\n"


@pytest.mark.parametrize(
    ("keys", "order"),
    [
        ("volumes: ['data:/d']", UpdateOrder.STOP_FIRST),
        ("volumes: ['data:/d']\ndeploy: {replicas: 1}", UpdateOrder.STOP_FIRST),
        ("volumes: [/anonymous, 'data:/d:ro', '/a:/b']\ntmpfs: /t", UpdateOrder.START_FIRST),
        ("volumes: ['data:/d']\ndeploy: {replicas: 2}", UpdateOrder.START_FIRST),
        ("volumes: ['data:/d']\nscale: 2", UpdateOrder.START_FIRST),
        ("volumes: ['data:/d']\ndeploy: {mode: global}", UpdateOrder.START_FIRST),
        ("volumes: ['data:/d']\ncommand: x\nx-rookery: {runtime: process}", UpdateOrder.START_FIRST),
    ],
)
def test_the_only_replica_on_a_volume_goes_before_its_replacement(service: Service, keys: str, order: UpdateOrder) -> None:
    spec = service(keys, DATA)
    assert (spec.update.order, spec.rollback.order) == (order, order)


def test_start_first_on_a_volume_is_as_written(service: Service, warnings: Findings) -> None:
    keys = "volumes: ['data:/d']\ndeploy:\n  update_config: {order: start-first}"
    spec = service(keys, DATA)
    assert (spec.update.order, spec.rollback.order) == (UpdateOrder.START_FIRST, UpdateOrder.STOP_FIRST)
    assert warnings(keys, DATA) == [
        "compose.yml:6: services.web.deploy.update_config.order: start-first lets two replicas use the volume at /d at once"
        " for a moment (use stop-first)"
    ]


def test_canary_and_an_exclusive_volume_contradict_each_other(errors: Findings, service: Service) -> None:
    document = f"{DATA}services: {{web: {{image: i, volumes: ['data:/d'], ports: [80], x-rookery: {{rollout: canary}}}}}}"
    assert errors(document) == [
        "compose.yml:3: services.web.x-rookery.rollout.strategy: canary needs old and new replicas side by side, but its only"
        " replica writes to the volume at /d (write `order: start-first` if two replicas may use it at once, or use rolling)"
    ]
    keys = "volumes: ['data:/d']\nports: [80]\nx-rookery: {rollout: canary}\ndeploy: {update_config: {order: start-first}}"
    assert service(keys, DATA).strategy == Canary()


@pytest.mark.parametrize(
    ("written", "strategy"),
    [
        ("rolling", Rolling()),
        ("{}", Rolling()),
        ("{strategy: rolling, no_room: fall-back}", Rolling()),
        ("blue-green", BlueGreen()),
        ("{strategy: blue-green, keep: 5m}", BlueGreen(keep_s=300.0)),
        ("{strategy: blue-green, keep: 0s}", BlueGreen(keep_s=0.0)),
        ("canary", Canary()),
        ("{strategy: canary}", Canary()),
        ("{strategy: canary, steps: [5, 25%, '50', 100]}", Canary()),
        ("{strategy: canary, steps: [10%]}", Canary(steps=(10, 100))),
        ("{strategy: canary, steps: [1, 99]}", Canary(steps=(1, 99, 100))),
        ("{strategy: canary, steps: [100]}", Canary(steps=(100,))),
        ("{strategy: canary, interval: 1m, min_requests: 0}", Canary(interval_s=60.0, min_requests=0)),
        ("{strategy: canary, sticky: {cookie: shop_id}}", Canary(sticky_cookie="shop_id")),
        ("{strategy: canary, sticky: {header: X-User}}", Canary(sticky_header="X-User")),
    ],
)
@pytest.mark.parametrize("routed", ["ports: [80]\nx-rookery:\n  rollout: ", "x-rookery:\n  http: {port: 80}\n  rollout: "])
def test_rollouts(service: Service, routed: str, written: str, strategy: Strategy) -> None:
    assert service(routed + written).strategy == strategy


def test_a_rollout_of_a_global_service(service: Service) -> None:
    spec = service("ports: [80]\ndeploy: {mode: global}\nx-rookery: {rollout: blue-green}")
    assert (spec.mode, spec.strategy) == (Global(), BlueGreen())


def test_deadline_and_room_are_for_updates_and_roll_backs(service: Service) -> None:
    spec = service("x-rookery: {rollout: {progress_deadline: 90s, no_room: wait}}")
    for config in (spec.update, spec.rollback):
        assert (config.progress_deadline_s, config.waits_for_room) == (90.0, True)
    spec = service("x-rookery: {rollout: {no_room: fall-back}}")
    assert (spec.update.progress_deadline_s, spec.update.waits_for_room) == (600.0, False)


@pytest.mark.parametrize(
    ("base", "over", "strategy"),
    [
        ("canary", "{steps: [10]}", Canary(steps=(10, 100))),
        ("{strategy: canary, steps: [1, 2, 3]}", "{steps: [10]}", Canary(steps=(10, 100))),
        ("{strategy: canary, steps: [10]}", "{strategy: canary, interval: 1m}", Canary(steps=(10, 100), interval_s=60.0)),
        ("{strategy: canary, steps: [10]}", "rolling", Rolling()),
        ("{strategy: canary, steps: [10]}", "{strategy: blue-green, keep: 0s}", BlueGreen(keep_s=0.0)),
    ],
)
def test_a_rollout_over_another(loaded: Load, base: str, over: str, strategy: Strategy) -> None:
    text = f"services: {{web: {{image: i, ports: [80], x-rookery: {{rollout: {base}}}}}}}"
    (spec,) = loaded(text, f"services: {{web: {{x-rookery: {{rollout: {over}}}}}}}").app.services
    assert spec.strategy == strategy
