"""A rollout in words, as `rookery rollout status` shows it. Pure: now is an argument."""

from collections.abc import Iterator

from rookery.cli.grid import Column, Row
from rookery.cli.text import clock_time, one_line, span
from rookery.model import OPEN, RevisionFigures, Rollout, RolloutState, RolloutStatus

_STATES = {
    RolloutState.ROLLING: "rolling out",
    RolloutState.DONE: "done",
    RolloutState.PAUSED: "paused",
    RolloutState.ROLLING_BACK: "rolling back",
    RolloutState.ROLLED_BACK: "rolled back",
    RolloutState.OVERTAKEN: "overtaken",
}


def status_lines(status: RolloutStatus, now: float) -> Iterator[str]:
    """What is told of a service's latest rollout, but for the figures that a canary compares."""
    key, rollout = f"{status.app}/{status.service}", status.rollout
    if rollout is None:
        yield f"{key} has had no rollout: none of its replicas was ever to be replaced"
        return
    yield f"{key}: {move(rollout)}, {_STATES[rollout.state]}"
    by = f" by {rollout.actor}" if rollout.actor else ""
    yield _told("begun", f"{clock_time(rollout.started_at, now)}{by}")
    if rollout.changed_at > rollout.started_at:
        yield _told("since", _since(rollout.changed_at, now))
    if rollout.why:
        yield _told("why", rollout.why)
    yield _told("strategy", _strategy(status, rollout))
    if status.steps and rollout.state in OPEN:
        since = f", since {_since(rollout.step_at, now)}" if rollout.step_at else ""
        yield _told("share", f"{rollout.share} % of the requests go to revision {rollout.after}{since}")
    yield _told("replicas", f"{status.updated} of {status.wanted} updated, {status.ready} ready")
    if status.waits_for:
        yield _told("waits for", status.waits_for)


def move(rollout: Rollout) -> str:
    """`revision 3 -> 4`, `restart of revision 4`."""
    return f"restart of revision {rollout.after}" if rollout.is_restart else f"revision {rollout.before} -> {rollout.after}"


def figures_table(status: RolloutStatus) -> tuple[list[Column], list[Row]] | None:
    """The new revision beside the old one, since the step began; None where nothing is compared."""
    rollout = status.rollout
    if rollout is None or status.new is None or status.old is None:
        return None
    columns = [Column("REVISION"), Column("REQUESTS", right=True), Column("ERRORS", right=True)]
    if status.slow_s:
        columns.append(Column(f"SLOWER THAN {status.slow_s * 1000:.0f} MS", right=True))
    sides = ((f"{rollout.after} (new)", status.new), (f"{rollout.before} (old)", status.old))
    return columns, [_figures(name, figures, bool(status.slow_s)) for name, figures in sides]


def _figures(name: str, figures: RevisionFigures, with_slow: bool) -> list[str]:
    counts = (figures.errors, figures.slow) if with_slow else (figures.errors,)
    return [name, str(figures.requests), *(_part(count, figures.requests) for count in counts)]


def _part(count: int, of: int) -> str:
    return f"{count} ({100 * count / of:.1f} %)" if of else str(count)


def _strategy(status: RolloutStatus, rollout: Rollout) -> str:
    """The steps with the one in brackets that the rollout is at: `canary: 5, [25], 50, 100 %`."""
    if not status.steps:
        return status.strategy
    is_there = rollout.state in (RolloutState.ROLLING, RolloutState.PAUSED)
    steps = [f"[{share}]" if is_there and number == rollout.step else str(share) for number, share in enumerate(status.steps)]
    preparing = " (this step is being prepared)" if rollout.state is RolloutState.ROLLING and not rollout.step_at else ""
    return f"{status.strategy}: {', '.join(steps)} %{preparing}"


def _since(at: float, now: float) -> str:
    return f"{clock_time(at, now)} ({span(now - at)})"


def _told(what: str, text: str) -> str:
    return f"  {what:<10}{one_line(text)}"
