"""Progress on the screen: lines that change in place at a terminal, one line for each change where the output is piped."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from rookery.cli.look import Line, Look, Outcome
from rookery.cli.waiting import Display

if TYPE_CHECKING:
    from rich.text import Text

_MARKS = {Outcome.DONE: ("✓", "green"), Outcome.FAILED: ("✗", "red"), Outcome.TIMED_OUT: ("!", "yellow")}
_WAITS_EVERY_S = 3.0
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Silent:
    """Shows nothing."""

    def show(self, look: Look) -> None: ...


class Lines:
    """Prints what changed since the last look: progress at once, what is waited for only now and then."""

    def __init__(self) -> None:
        self._shown: dict[str, tuple[Line, float]] = {}

    def show(self, look: Look) -> None:
        now = time.monotonic()
        for line in look.lines:
            before, at = self._shown.get(line.subject, (None, 0.0))
            moved = before is None or before.text != line.text
            if moved or (before != line and now - at >= _WAITS_EVERY_S):
                self._shown[line.subject] = (line, now)
                click.echo(f"{line.subject}  {line.whole}")


class Live:
    """Keeps the last look, which is drawn in place again and again."""

    def __init__(self) -> None:
        self._look = Look([])

    def show(self, look: Look) -> None:
        self._look = look

    def draw(self) -> "Text":
        return _text(self._look)


@contextlib.contextmanager
def progress(*, silent: bool = False) -> Iterator[Display]:
    """The display for where the output goes."""
    if silent:
        yield Silent()
    elif not sys.stdout.isatty():
        yield Lines()
    else:
        from rich.console import Console  # lazy: rich takes longer to load than most commands to run
        from rich.live import Live as RichLive

        ctx = click.get_current_context(silent=True)
        console = Console(no_color=ctx is not None and ctx.color is False, highlight=False)
        live = Live()
        with RichLive(
            get_renderable=live.draw, console=console, refresh_per_second=8, redirect_stdout=False, redirect_stderr=False
        ):
            yield live


def _text(look: Look) -> "Text":
    from rich.text import Text  # lazy: see above

    wide = max((len(line.subject) for line in look.lines), default=0)
    text = Text(no_wrap=True, overflow="ellipsis")
    for number, line in enumerate(look.lines):
        mark, colour = _MARKS[line.outcome] if line.outcome else (_SPINNER[int(time.monotonic() * 10) % len(_SPINNER)], "cyan")
        text.append("\n" if number else "")
        text.append(f"{mark} ", style=colour)
        text.append(f"{line.subject:<{wide}}  ", style="bold")
        text.append(line.whole)
    return text
