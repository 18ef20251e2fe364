"""`x-rookery.autoscale`: what it stands for, and what it can't be."""

from collections.abc import Callable

import pytest
from rookery.model import Autoscale, Replicated, ScaleMetric, ScalePace, ScaleSchedule, ScaleTarget, ServiceSpec, UpdateOrder
from rookery_manager.planners.validate_autoscale import autoscale_faults

Findings = Callable[..., list[str]]
Service = Callable[..., ServiceSpec]

ALL = """\
ports: ["80:80"]
deploy: {replicas: 4, resources: {limits: {memory: 1g}}}
x-rookery:
  autoscale:
    min: 0
    max: 40
    target: {concurrency: 10, rps: 50.5, latency_p95: 200ms, cpu: 60%, memory: 70}
    tolerance: 5%
    up: {window: 3s, most: 4, per: 10s}
    down: {window: 5m, most: 25%, per: 1m}
    schedules:
      - {cron: "0 8 * * mon-fri", time_zone: Europe/Berlin, min: 5}
      - {cron: "0 20 * * *", max: 10}
    idle: 10m
    hold: {for: 30s, most: 100}
"""


def test_all_of_it(service: Service) -> None:
    spec = service(ALL)
    assert spec.mode == Replicated(replicas=4)
    assert spec.autoscale == Autoscale(
        minimum=0,
        maximum=40,
        targets=(
            ScaleTarget(metric=ScaleMetric.CONCURRENCY, value=10.0),
            ScaleTarget(metric=ScaleMetric.RPS, value=50.5),
            ScaleTarget(metric=ScaleMetric.LATENCY_P95, value=0.2),
            ScaleTarget(metric=ScaleMetric.CPU, value=60.0),
            ScaleTarget(metric=ScaleMetric.MEMORY, value=70.0),
        ),
        tolerance=0.05,
        up=ScalePace(window_s=3.0, most=4, per_s=10.0),
        down=ScalePace(window_s=300.0, most_percent=25, per_s=60.0),
        schedules=(
            ScaleSchedule(cron="0 8 * * mon-fri", time_zone="Europe/Berlin", minimum=5),
            ScaleSchedule(cron="0 20 * * *", maximum=10),
        ),
        idle_s=600.0,
        hold_s=30.0,
        hold_most=100,
    )
    assert list(autoscale_faults(spec, spec.autoscale, "web")) == []


def test_what_is_left_out(service: Service) -> None:
    spec = service("ports: [80]\nx-rookery: {autoscale: {max: 3, target: {rps: 5}}}")
    target = ScaleTarget(metric=ScaleMetric.RPS, value=5.0)
    assert spec.autoscale == Autoscale(minimum=1, maximum=3, targets=(target,))
    assert service("deploy: {replicas: 3}").autoscale is None


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ("max: 2, min: 3, target: {rps: 1}", "autoscale.min: at least 3 replicas, but at most 2"),
        ("max: 2, target: {rps: 0}", "autoscale.target.rps: expected 0.001 or more, got 0"),
        ("max: 2, target: {latency_p95: 0s}", "autoscale.target.latency_p95: no answer takes no time (such as 200ms)"),
        ("max: 2, target: {cpu: 0%}", "autoscale.target.cpu: expected 1 to 1000 percent, got 0"),
        ("max: 2, target: {qps: 1}", "autoscale.target.qps: unknown key"),
        ("max: 2, target: {}", "autoscale.target: is empty (name one at least of concurrency"),
        ("max: 2", "autoscale: 'target' is missing"),
        ("target: {rps: 1}", "autoscale: 'max' is missing"),
        ("max: 2, target: {memory: 50%}", "autoscale.target.memory: percent of what?"),
        ("max: 2, target: {rps: 1}, up: {most: 3}", "autoscale.up.most: says nothing without 'per'"),
        ("max: 2, target: {rps: 1}, up: {most: none, per: 3s}", "autoscale.up.most: expected a number of replicas such as 4"),
        ("max: 2, target: {rps: 1}, tolerance: 100%", "autoscale.tolerance: expected 0 to 99 percent, got 100"),
        ("max: 2, target: {rps: 1}, schedules: {cron: '0 25 * * *', max: 1}", "schedules[0].cron: '0 25 * * *' is no cron"),
        ("max: 2, target: {rps: 1}, schedules: {cron: '* * * * *'}", "schedules[0]: has neither 'min' nor 'max'"),
        ("max: 2, target: {rps: 1}, schedules: {cron: '* * * * *', min: 3}", "schedules[0].min: at least 3 replicas, but at"),
        (
            "max: 2, target: {rps: 1}, schedules: {cron: '* * * * *', max: 1, time_zone: Mars/Base}",
            "schedules[0].time_zone: 'Mars/Base' is no time zone",
        ),
        ("max: 2, min: 0, idle: 0s, target: {rps: 1}", "autoscale.idle: is less than 1s"),
        ("max: 2, min: 0, hold: {for: 2h}, target: {rps: 1}", "autoscale.hold.for: is not more than 0s"),
    ],
)
def test_what_is_refused_with_its_place(errors: Findings, keys: str, found: str) -> None:
    document = f"services: {{web: {{image: i, ports: [80], x-rookery: {{autoscale: {{{keys}}}}}}}}}"
    assert any(
        f"services.web.x-rookery.{'autoscale.' if found.startswith('schedules') else ''}{found}" in e for e in errors(document)
    )


@pytest.mark.parametrize(
    ("service", "found"),
    [
        ("deploy: {mode: global}, ports: [80]", "x-rookery.autoscale: a global service is not scaled"),
        ("deploy: {mode: replicated-job}, ports: [80]", "x-rookery.autoscale: a replicated-job service is not scaled"),
        ("deploy: {replicas: 9}, ports: [80]", "deploy.replicas: starts with 9, but x-rookery.autoscale allows 1 to 4"),
        ("container_name: x, ports: [80]", "container_name: can't be the name of several replicas"),
        ("init: true", "x-rookery.autoscale.target.rps: nobody reports it"),
    ],
)
def test_what_does_not_go_with_it(errors: Findings, service: str, found: str) -> None:
    document = f"services: {{web: {{image: i, {service}, x-rookery: {{autoscale: {{max: 4, target: {{rps: 1}}}}}}}}}}"
    assert any(f"services.web.{found}" in error for error in errors(document))


def test_zero_needs_someone_who_wakes_it(errors: Findings) -> None:
    document = "services: {web: {image: i, x-rookery: {autoscale: {min: 0, max: 4, target: {cpu: 60%}}}}}"
    assert [error.partition(": services.web.")[2] for error in errors(document)] == [
        "x-rookery.autoscale.min: no request could wake it from 0, as none passes the proxies (publish a TCP port under `ports:`,"
        " add x-rookery.http, or use 1)"
    ]


def test_what_is_for_zero_has_no_effect_above_it(warnings: Findings) -> None:
    keys = "ports: [80]\nx-rookery: {autoscale: {max: 3, target: {rps: 5}, idle: 5s}}"
    assert [warning.partition("autoscale.")[2] for warning in warnings(keys)] == [
        "idle: has no effect: there is always a replica (use `min: 0`, or leave it out)"
    ]


def test_a_volume_that_several_replicas_will_write_to_is_a_shared_one(service: Service) -> None:
    keys = "volumes: ['data:/d']\nports: [80]\nx-rookery: {autoscale: {max: MAX, target: {rps: 5}}}"
    assert service(keys.replace("MAX", "3"), "volumes: {data: }\n").update.order is UpdateOrder.START_FIRST
    assert service(keys.replace("MAX", "1"), "volumes: {data: }\n").update.order is UpdateOrder.STOP_FIRST
