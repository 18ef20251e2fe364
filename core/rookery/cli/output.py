"""Printing: tables as wide as the terminal, JSON, hints."""

import shutil
import sys
from collections.abc import Sequence
from typing import Any

import click

from rookery.cli.grid import Column, Row, render
from rookery.cli.jsonable import to_json

STATE_COLOURS = {
    "running": "green", "ready": "green", "active": "green", "yes": "green",
    "pending": "yellow", "assigned": "yellow", "preparing": "yellow", "starting": "yellow", "draining": "yellow",
    "stopping": "yellow", "drained": "yellow",
    "failed": "red", "lost": "red", "down": "red", "no": "red",
    "stopped": "bright_black", "left": "bright_black",
}  # fmt: skip


def width() -> int | None:
    """Columns of the terminal; None where the output is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def show_table(columns: Sequence[Column], rows: Sequence[Row]) -> None:
    click.echo("\n".join(render(columns, rows, width())))


def show_json(value: Any, *, one_line: bool = False) -> None:
    click.echo(to_json(value, one_line=one_line))


def say(text: str) -> None:
    """A remark that is no part of what was asked for."""
    click.echo(text, err=True)


def warn(text: str) -> None:
    click.echo(click.style("warning: ", fg="yellow") + text, err=True)
