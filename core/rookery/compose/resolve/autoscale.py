"""How the number of replicas follows what is asked of them: `x-rookery.autoscale`.

Invariant: what passes here the manager's `validate_autoscale` takes too.
"""

from collections.abc import Iterator, Sequence

from rookery.compose import units
from rookery.compose.view import View
from rookery.model import (
    Autoscale,
    HttpRoute,
    Mode,
    Port,
    PortMode,
    PortProtocol,
    Replicated,
    Resources,
    ScaleMetric,
    ScalePace,
    ScaleSchedule,
    ScaleTarget,
)

_LONGEST_WINDOW_S = 3600.0
_OF_TRAFFIC = (ScaleMetric.CONCURRENCY, ScaleMetric.RPS, ScaleMetric.LATENCY_P95)


def autoscale(
    service: View, kind: Mode, ports: Sequence[Port], routes: Sequence[HttpRoute], resources: tuple[Resources, Resources]
) -> Autoscale | None:
    """The policy; what contradicts it is reported. `resources` are reservations and limits."""
    if not service.child("x-rookery").has("autoscale"):
        return None
    view = service.child("x-rookery").child("autoscale")
    if not isinstance(kind, Replicated):
        mode = service.child("deploy").text("mode") or "replicated-job"
        view.error("", f"a {mode} service is not scaled: only replicated ones are", "leave it out, or use mode replicated")
        return None
    default = Autoscale()
    least, most = view.whole("min"), view.whole("max")
    tolerance, hold = units.percent(view.text("tolerance")), view.child("hold")
    idle, wait, waiting = view.seconds("idle"), hold.seconds("for"), hold.whole("most")
    policy = Autoscale(
        minimum=default.minimum if least is None else least,
        maximum=default.maximum if most is None else most,
        targets=tuple(_targets(view.child("target"))) if view.has("target") else (),
        tolerance=default.tolerance if tolerance is None else tolerance / 100,
        up=_pace(view.child("up"), default.up),
        down=_pace(view.child("down"), default.down),
        schedules=tuple(_schedules(view)),
        idle_s=default.idle_s if idle is None else idle,
        hold_s=default.hold_s if wait is None else wait,
        hold_most=default.hold_most if waiting is None else waiting,
    )
    is_balanced = bool(routes) or any(p.mode is PortMode.INGRESS and p.protocol is PortProtocol.TCP for p in ports)
    _check_bounds(view, policy.minimum, policy.maximum)
    _check_start(service, policy)
    _check_targets(view.child("target"), policy, is_balanced, resources)
    _check_zero(view, policy, is_balanced)
    return policy


def _targets(view: View) -> Iterator[ScaleTarget]:
    if not view.node.entries:
        view.error("", "is empty", f"name one at least of {', '.join(ScaleMetric)}")
    for metric in ScaleMetric:
        match metric:
            case ScaleMetric.LATENCY_P95:
                value = view.seconds(metric)
            case ScaleMetric.CPU | ScaleMetric.MEMORY:
                value = units.percent(view.text(metric))
            case _:
                value = view.number(metric)
        if value:
            yield ScaleTarget(metric=metric, value=float(value))
        elif value is not None and metric is ScaleMetric.LATENCY_P95:
            view.error(metric, "no answer takes no time", "such as 200ms")


def _pace(view: View, default: ScalePace) -> ScalePace:
    window, per, most = view.seconds("window"), view.seconds("per"), view.text("most")
    if view.has("most") != view.has("per"):
        lone, other = ("most", "per") if view.has("most") else ("per", "most")
        view.error(lone, f"says nothing without '{other}'", "such as `most: 50%` and `per: 30s`")
    for key in ("window", "per"):
        if (view.seconds(key) or 0.0) > _LONGEST_WINDOW_S:
            view.error(key, f"is longer than {_LONGEST_WINDOW_S / 3600:g} h")
    if view.has("per") and per == 0:
        view.error("per", "in no time there is no change", "leave 'most' and 'per' out for no limit")
    window_s = default.window_s if window is None else window
    number = units.percent(most)
    if number is None or not per:
        return ScalePace(window_s=window_s, most=default.most, most_percent=default.most_percent, per_s=default.per_s)
    is_percent = most.endswith("%")
    return ScalePace(window_s=window_s, most=0 if is_percent else number, most_percent=number if is_percent else 0, per_s=per)


def _schedules(view: View) -> Iterator[ScaleSchedule]:
    least, most = view.whole("min"), view.whole("max")
    for schedule in view.items("schedules"):
        minimum, maximum = schedule.whole("min"), schedule.whole("max")
        if minimum is None and maximum is None:
            schedule.error("", "has neither 'min' nor 'max', so it changes nothing")
        low, high = (
            next((n for n in (minimum, least) if n is not None), 1),
            next((n for n in (maximum, most) if n is not None), 1),
        )
        _check_bounds(schedule, low, high)
        zone = schedule.text("time_zone") or "UTC"
        yield ScaleSchedule(cron=schedule.text("cron"), time_zone=zone, minimum=minimum, maximum=maximum)


def _check_bounds(view: View, least: int, most: int) -> None:
    if least > most:
        key = "min" if view.has("min") else "max"
        view.error(key, f"at least {least} replicas, but at most {most}")


def _check_start(service: View, policy: Autoscale) -> None:
    """`deploy.replicas` is where it starts, so it is within the bounds; left out it is moved there."""
    for view, key in ((service.child("deploy"), "replicas"), (service, "scale")):
        start = view.whole(key)
        if start is not None and not policy.minimum <= start <= policy.maximum:
            between = f"{policy.minimum} to {policy.maximum}"
            view.error(key, f"starts with {start}, but x-rookery.autoscale allows {between}", "leave it out, or move the bounds")
    if service.has("container_name") and policy.maximum > 1:
        service.error("container_name", "can't be the name of several replicas", "leave it out: x-rookery.autoscale makes more")


def _check_targets(view: View, policy: Autoscale, is_balanced: bool, resources: tuple[Resources, Resources]) -> None:
    for target in policy.targets:
        if target.metric in _OF_TRAFFIC and not is_balanced:
            hint = "publish a TCP port under `ports:`, add x-rookery.http, or use cpu or memory"
            view.error(target.metric, "nobody reports it: no traffic of this service passes the proxies", hint)
        if target.metric is ScaleMetric.MEMORY and not any(part.memory_bytes for part in resources):
            view.error(target.metric, "percent of what?", "set deploy.resources.limits.memory or reservations.memory")


def _check_zero(view: View, policy: Autoscale, is_balanced: bool) -> None:
    if not policy.may_be_zero:
        for key in ("idle", "hold"):
            if view.has(key):
                view.warn(key, "has no effect: there is always a replica", "use `min: 0`, or leave it out")
        return
    if not is_balanced:
        hint = "publish a TCP port under `ports:`, add x-rookery.http, or use 1"
        view.error("min", "no request could wake it from 0, as none passes the proxies", hint)
    if policy.idle_s < 1:
        view.error("idle", "is less than 1s: it would stop between two requests")
    if not 0 < policy.hold_s <= _LONGEST_WINDOW_S:
        view.child("hold").error("for", "is not more than 0s and at most 1h")
