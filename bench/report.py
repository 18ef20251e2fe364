"""How the benchmarks print what they saw."""

import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

import psutil


def machine() -> str:
    """Where a figure was seen: it means little without."""
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}"


def cpu_s(folder: Path) -> float:
    """CPU time so far of all processes with a path in the folder on their command line, and of their children that have ended.

    On a machine that does other things too, this compares better than the clock.
    """
    total = 0.0
    for process in psutil.process_iter(["cmdline", "cpu_times"]):
        if any(f"{folder}/" in word for word in process.info["cmdline"] or ()):
            times = process.info["cpu_times"]
            total += times.user + times.system + times.children_user + times.children_system
    return total


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def seconds(values: Sequence[float]) -> str:
    """The median, and the range where there is more than one."""
    if len(values) == 1:
        return f"{values[0]:.2f} s"
    return f"{statistics.median(values):.2f} s ({min(values):.2f}–{max(values):.2f})"


def median(values: Sequence[float]) -> float:
    return statistics.median(values)
