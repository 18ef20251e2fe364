"""Autoscaling in words and tables. Pure: now is an argument."""

from collections.abc import Iterator, Sequence

from rookery.cli.grid import Column, Row
from rookery.cli.text import clock_time, plural, span
from rookery.compose import units
from rookery.model import Autoscale, AutoscaleStatus, ScaleDecision, ScaleFigure, ScaleMetric, ScalePace, ScaleTarget


def status_lines(status: AutoscaleStatus) -> Iterator[str]:
    key, policy = f"{status.app}/{status.service}", status.policy
    if policy is None:
        how = "autoscaling was switched off" if status.by_hand else "its spec has no x-rookery.autoscale"
        yield f"{key} is not scaled by what is asked of it: {how}"
        return
    by_hand = ", as set by hand until the next deploy" if status.by_hand else ""
    allowed = f"{status.minimum} to {status.maximum} allowed{by_hand}"
    yield f"{key}: {plural(status.replicas, 'replica')} wanted, {status.ready} ready, {allowed}"
    yield _told("targets", ", ".join(f"{target.metric} {amount(target.metric, target.value)}" for target in policy.targets))
    yield _told("up", _pace(policy.up, "at once"))
    yield _told("down", _pace(policy.down, "at once"))
    if policy.may_be_zero:
        yield _told("zero", f"after {span(policy.idle_s)} without a request; then requests wait up to {span(policy.hold_s)}")
    for schedule in policy.schedules:
        yield _told("schedule", f"{schedule.cron} {schedule.time_zone}: {_bounds(policy, schedule.minimum, schedule.maximum)}")
    if status.held:
        yield _told("held", f"{status.held} requests wait for a replica")
    if status.latest is not None:
        yield _told("now", status.latest.why)


def figures_table(decision: ScaleDecision) -> tuple[Sequence[Column], Sequence[Row]]:
    columns = (
        Column("METRIC"), Column("NOW", right=True), Column("PER REPLICA", right=True), Column("WANTS", right=True),
        Column("NOT KNOWN", flexible=True, rank=1),
    )  # fmt: skip
    rows = [
        (
            figure.metric,
            "?" if figure.missing else amount(figure.metric, figure.value),
            amount(figure.metric, figure.target),
            "?" if figure.missing else str(figure.wants),
            figure.missing,
        )
        for figure in decision.figures
    ]
    return columns, rows


def decisions_table(decisions: Sequence[ScaleDecision], now: float) -> tuple[Sequence[Column], Sequence[Row]]:
    """Newest first, as they are given."""
    columns = (
        Column("AT"), Column("REPLICAS", right=True), Column("READY", right=True), Column("FIGURES"),
        Column("WHY", flexible=True),
    )  # fmt: skip
    rows = [
        (
            clock_time(decision.at, now),
            f"{decision.before} -> {decision.after}",
            str(decision.ready),
            ", ".join(map(_figure, decision.figures)),
            decision.why,
        )
        for decision in decisions
    ]
    return columns, rows


def parse_target(text: str) -> ScaleTarget | str:
    """`rps=50`; or what is wrong with it."""
    name, _, value = text.partition("=")
    known = ", ".join(ScaleMetric)
    if name not in set(ScaleMetric):
        return f"--target: no metric {name!r}; there are {known}"
    metric = ScaleMetric(name)
    match metric:
        case ScaleMetric.LATENCY_P95:
            found, example = units.duration_s(value), "200ms"
        case ScaleMetric.CPU | ScaleMetric.MEMORY:
            found, example = units.percent(value), "60%"
        case _:
            found, example = units.number(value), "50"
    if not found or found < 0:
        return f"--target: expected {metric}=VALUE with a value above 0, such as {metric}={example}, got {text!r}"
    return ScaleTarget(metric=metric, value=float(found))


def amount(metric: ScaleMetric, value: float) -> str:
    """With its unit."""
    match metric:
        case ScaleMetric.LATENCY_P95:
            return f"{1000 * value:.0f}ms"
        case ScaleMetric.CPU | ScaleMetric.MEMORY:
            return f"{value:.0f}%"
        case _:
            return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _figure(figure: ScaleFigure) -> str:
    return f"{figure.metric} {'?' if figure.missing else amount(figure.metric, figure.value)}"


def _pace(pace: ScalePace, at_once: str) -> str:
    when = f"after {span(pace.window_s)}" if pace.window_s else at_once
    steps = [f"{pace.most}"] if pace.most else []
    steps += [f"{pace.most_percent}%"] if pace.most_percent else []
    return f"{when}, {' or '.join(steps)} per {span(pace.per_s)} at most" if steps else when


def _bounds(policy: Autoscale, minimum: int | None, maximum: int | None) -> str:
    least = policy.minimum if minimum is None else minimum
    most = policy.maximum if maximum is None else maximum
    return f"{least} to {most}"


def _told(what: str, text: str) -> str:
    return f"  {what:<10} {text}"
