"""What is wrong with how a service is to be scaled.

Invariant: a policy that passes here has bounds at any time, and targets that can be measured of this service, if by anyone.
"""

from collections.abc import Iterator

from rookery.cron import cron_fault, zone_fault
from rookery.model import Autoscale, Replicated, ScaleMetric, ScalePace, ServiceSpec, is_balanced

MAX_REPLICAS = 10_000
MAX_TARGETS = len(ScaleMetric)
MAX_SCHEDULES = 100
MAX_WINDOW_S = 3600.0
SHORTEST_IDLE_S = 1.0
MAX_HOLD_S = 3600.0
MAX_HELD = 100_000

OF_TRAFFIC = frozenset({ScaleMetric.CONCURRENCY, ScaleMetric.RPS, ScaleMetric.LATENCY_P95})


def autoscale_faults(spec: ServiceSpec, policy: Autoscale, path: str) -> Iterator[str]:
    if not isinstance(spec.mode, Replicated):
        what = "global: it runs on every node that fits" if "Global" in type(spec.mode).__name__ else "a job: it runs to its end"
        yield f"{path}: the service is {what}; only replicated services are scaled"
        return
    if policy.maximum < 1:
        yield f"{path}.maximum: {policy.maximum} leaves no replica at any time; at least 1 is needed"
    yield from _bounds_faults(policy.minimum, policy.maximum, path)
    yield from _target_faults(spec, policy, path)
    if not 0 <= policy.tolerance < 1:
        yield f"{path}.tolerance: {policy.tolerance:g} is not a share below 1"
    for name in ("up", "down"):
        yield from _pace_faults(getattr(policy, name), f"{path}.{name}")
    if len(policy.schedules) > MAX_SCHEDULES:
        yield f"{path}.schedules: {len(policy.schedules)} are too many; the most is {MAX_SCHEDULES}"
        return
    for index, schedule in enumerate(policy.schedules):
        at = f"{path}.schedules[{index}]"
        if fault := cron_fault(schedule.cron):
            yield f"{at}.cron: {fault}"
        if fault := zone_fault(schedule.time_zone):
            yield f"{at}.time_zone: {fault}"
        least = policy.minimum if schedule.minimum is None else schedule.minimum
        most = policy.maximum if schedule.maximum is None else schedule.maximum
        yield from _bounds_faults(least, most, at)
    if policy.may_be_zero:
        yield from _zero_faults(spec, policy, path)


def _bounds_faults(least: int, most: int, path: str) -> Iterator[str]:
    if least > most:
        yield f"{path}.minimum: {least} is more than the maximum, {most}"
    if most > MAX_REPLICAS:
        yield f"{path}.maximum: {most} are too many; the most is {MAX_REPLICAS}"


def _target_faults(spec: ServiceSpec, policy: Autoscale, path: str) -> Iterator[str]:
    if not policy.targets:
        yield f"{path}.targets: missing; say what one replica is to have: {', '.join(ScaleMetric)}"
    metrics = [target.metric for target in policy.targets]
    for index, target in enumerate(policy.targets[: MAX_TARGETS + 1]):
        at = f"{path}.targets[{index}]"
        if metrics.index(target.metric) != index:
            yield f"{at}: {target.metric} is there twice"
        if target.value <= 0:
            yield f"{at}.value: {target.value:g} {target.metric} per replica can't be had; it has to be more than 0"
        if target.metric in OF_TRAFFIC and not is_balanced(spec):
            yield f"{at}: no traffic of this service passes the proxies, so nobody reports {target.metric}; publish a TCP port"
        if target.metric is ScaleMetric.MEMORY and not (spec.limits.memory_bytes or spec.reservations.memory_bytes):
            yield f"{at}: percent of what? Give the service a limit or a reservation of memory"


def _pace_faults(pace: ScalePace, path: str) -> Iterator[str]:
    for name in ("window_s", "per_s"):
        if getattr(pace, name) > MAX_WINDOW_S:
            yield f"{path}.{name}: {getattr(pace, name):g} s are too many; the most is {MAX_WINDOW_S:g}"
    if (pace.most or pace.most_percent) and not pace.per_s:
        yield f"{path}.per_s: missing; say within which time that many may change"


def _zero_faults(spec: ServiceSpec, policy: Autoscale, path: str) -> Iterator[str]:
    if not is_balanced(spec):
        yield f"{path}.minimum: no request could wake it from 0, as none passes the proxies; publish a TCP port, or use 1"
    if policy.idle_s < SHORTEST_IDLE_S:
        yield f"{path}.idle_s: {policy.idle_s:g} s are too few; the least is {SHORTEST_IDLE_S:g}"
    if not 0 < policy.hold_s <= MAX_HOLD_S:
        yield f"{path}.hold_s: {policy.hold_s:g} s are not more than 0 and at most {MAX_HOLD_S:g}"
    if not 0 < policy.hold_most <= MAX_HELD:
        yield f"{path}.hold_most: {policy.hold_most} is not between 1 and {MAX_HELD}"
