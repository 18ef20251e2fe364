"""An incident's story as lines of text. Pure."""

from collections.abc import Iterator

import click

from rookery.cli.text import clock_time, one_line, span
from rookery.incidents import Outcome, Story


def story_lines(story: Story, now: float) -> Iterator[str]:
    one = story.incident
    match one.outcome:
        case Outcome.RECOVERED:
            ended = f"recovered in {after(one.recovered_in_s)}"
        case Outcome.OPEN:
            ended = f"open for {span(now - one.began_at)}"
        case Outcome.GAVE_UP:
            ended = "nothing more is done by itself"
    yield click.style(f"incident {one.id}: {one_line(one.what)}; {ended}", bold=True)
    yield ""
    offsets = [_offset(line.offset_s) for line in story.lines]
    wide = max((len(offset) for offset in offsets), default=0)
    for line, offset in zip(story.lines, offsets, strict=True):
        at = click.style(clock_time(line.at, now), fg="bright_black")
        yield f"  {at}  {offset:>{wide}}  {one_line(line.text)}"
    if story.took:
        yield f"\nTook: {', '.join(story.took)}"
    yield from _section("Still open:", story.still_open)
    yield from _section("Look at:", story.look_at)


def after(seconds: float | None) -> str:
    """`3.1 s`, `2m 5s`; `-` where it is nothing, or not known."""
    if not seconds:
        return "-"
    return f"{seconds:.1f} s" if seconds < 60 else span(seconds)


def _offset(seconds: float) -> str:
    if abs(seconds) < 120:
        return f"{seconds:+.1f} s"
    return f"{'+' if seconds > 0 else '-'}{span(abs(seconds))}"


def _section(title: str, lines: tuple[str, ...]) -> Iterator[str]:
    if lines:
        yield f"\n{title}"
    for line in lines:
        yield f"  {one_line(line)}"
